//! JPEG files. [`structure`] holds a file's claims against its bytes, then libjpeg decodes it. A file is
//! served whole or not at all.

mod frame;
mod markers;
mod structure;

use super::encoding::Channels;
use super::error::FitError;
use super::raster::MaxPixels;
use crate::ffi;
use crate::geometry::Size;
use crate::runtime::scratch::Scratch;
use structure::Structure;

/// Most scans of a file. Files have one to ten; each one more costs time, whatever it holds.
const MAX_SCANS: u32 = 100;

/// Decodes `file` into `pixels`, grey ones to [`Channels::Mono`], others to [`Channels::Rgb`].
pub(super) fn decode(
    file: &[u8],
    max_pixels: MaxPixels,
    pixels: &mut Scratch,
) -> Result<(Size, Channels), FitError> {
    let Structure { size, channels, coded, ending } = structure::read(file, max_pixels)?;
    let (width, height, n_channels) = (size.width, size.height, channels.count());
    let into = pixels.take(width as usize * height as usize * n_channels)?;
    let n_channels = n_channels as u32;
    let shape = ffi::jpeg::Shape { width, height, n_channels, max_scans: MAX_SCANS, ending };
    ffi::jpeg::read(coded, shape, into).map_err(broken)?;
    Ok((size, channels))
}

fn broken(message: impl ToString) -> FitError {
    FitError::Jpeg { message: message.to_string() }
}

fn unsupported(kind: impl ToString) -> FitError {
    FitError::JpegKind { kind: kind.to_string() }
}
