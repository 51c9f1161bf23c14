//! What a JPEG file is made of, found without decoding it: its frame, its scans, whether they are complete,
//! and whether there are bytes enough for what they claim.

use super::frame::FrameHeader;
use super::{MAX_SCANS, broken, markers, unsupported};
use crate::ffi::jpeg::Ending;
use crate::geometry::Size;
use crate::stages::fit::encoding::Channels;
use crate::stages::fit::error::FitError;
use crate::stages::fit::raster::MaxPixels;

/// Memory beside the pixels that any file may take, in bytes; the rest is in proportion to the pixels.
const SMALL: u64 = 12 << 20;

/// A file that has been found complete and plausible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Structure<'a> {
    pub(super) size: Size,
    pub(super) channels: Channels,
    /// The file from its beginning to the end of its last scan, without the end marker.
    pub(super) coded: &'a [u8],
    pub(super) ending: Ending,
}

/// Reads the structure of `file`, which begins with the start marker.
pub(super) fn read(file: &[u8], max_pixels: MaxPixels) -> Result<Structure<'_>, FitError> {
    let mut frame: Option<FrameHeader> = None;
    let (mut n_scans, mut at, mut end) = (0, 2, 0);
    while let Some(marker) = markers::next(file, at) {
        // Behind a complete image anything may stand: a second image, half a segment, padding.
        let is_complete = || frame.as_ref().is_some_and(FrameHeader::is_complete);
        match marker.code {
            markers::END => break,
            markers::START if is_complete() => break,
            markers::START => return Err(broken("it begins twice")),
            0x02..=0xbf | 0xf0..=0xfd if is_complete() => break,
            code @ (0x02..=0xbf | 0xf0..=0xfd) => {
                return Err(broken(format!("the marker ff{code:02x} has no meaning")));
            }
            _ => (),
        }
        let (segment, behind) = match markers::segment(file, marker) {
            Ok(marker) => marker,
            Err(_) if is_complete() => break,
            Err(err) => return Err(err),
        };
        at = behind;
        match marker.code {
            markers::HUFFMAN_TABLES | markers::ARITHMETIC_CONDITIONS => (),
            markers::EXTENSION => return Err(unsupported("an extension (marker ffc8)")),
            0xde | 0xdf => return Err(unsupported("hierarchical coding")),
            code @ 0xc0..=0xcf if frame.is_none() => {
                frame = Some(FrameHeader::read(code, segment, max_pixels)?);
            }
            0xc0..=0xcf => return Err(broken("it has two frame headers")),
            markers::SCAN => {
                let frame = frame.as_mut().ok_or_else(|| broken("a scan comes before the frame header"))?;
                n_scans += 1;
                if n_scans > MAX_SCANS {
                    return Err(broken(format!("it has more than {MAX_SCANS} scans")));
                }
                end = markers::next(file, behind).map_or(file.len(), |next| next.at);
                at = end;
                frame.add_scan(segment, (end - behind) as u64)?;
            }
            _ => (),
        }
    }
    let frame = frame.ok_or_else(|| broken("it has no frame header"))?;
    if n_scans == 0 {
        return Err(broken("it has no scan"));
    }
    if !frame.is_complete() {
        return Err(broken("scans are missing: it may have been cut short"));
    }
    let channels = if frame.n_components() == 1 { Channels::Mono } else { Channels::Rgb };
    let size = frame.size;
    let decoded = u64::from(size.width) * u64::from(size.height) * channels.count() as u64;
    let working_bytes = frame.working_bytes();
    if working_bytes > SMALL + 2 * decoded {
        let text = format!("{working_bytes} bytes of memory are needed for {decoded} bytes of pixels");
        return Err(broken(text));
    }
    let ending = if end < file.len() { Ending::Marker } else { Ending::Cut };
    Ok(Structure { size, channels, coded: &file[..end], ending })
}
