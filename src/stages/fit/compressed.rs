//! Compressed images. Their first bytes decide, whatever the message calls them.

use super::encoding::Pixels;
use super::error::FitError;
use super::raster::MaxPixels;
use super::{jpeg, png};
use crate::runtime::scratch::Scratch;
use crate::runtime::thread::contained;

const JPEG_START: &[u8] = &[0xff, 0xd8, 0xff];

/// Decodes a file into `pixels`.
pub(super) fn decode<'a>(
    file: &[u8],
    max_pixels: MaxPixels,
    pixels: &'a mut Scratch,
) -> Result<Pixels<'a>, FitError> {
    let (size, channels) = if file.starts_with(JPEG_START) {
        jpeg::decode(file, max_pixels, pixels)?
    } else if file.starts_with(png::SIGNATURE) {
        let decoded = contained(|| png::decode(file, max_pixels, pixels));
        decoded.unwrap_or_else(|panic| {
            Err(FitError::Png { message: format!("its decoder panicked: {panic}") })
        })?
    } else {
        return Err(FitError::CompressedFormat { start: file[..file.len().min(8)].to_vec() });
    };
    Ok(Pixels { size, channels, bytes: pixels.bytes() })
}
