//! Compressed pictures. Their first bytes decide, whatever the message calls them.

use super::decode::Pixels;
use super::error::FitError;
use super::{jpeg, png};

const JPEG_START: &[u8] = &[0xff, 0xd8, 0xff];
const PNG_START: &[u8] = &[0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a];

/// Decodes a file into `pixels`; `scratch` holds bytes on the way.
pub(super) fn decode<'a>(
    file: &[u8],
    scratch: &mut Vec<u8>,
    pixels: &'a mut Vec<u8>,
) -> Result<Pixels<'a>, FitError> {
    let (size, channels) = if file.starts_with(JPEG_START) {
        jpeg::decode(file, scratch, pixels)?
    } else if file.starts_with(PNG_START) {
        png::decode(file, scratch, pixels)?
    } else {
        return Err(FitError::CompressedFormat { start: file[..file.len().min(8)].to_vec() });
    };
    Ok(Pixels { size, channels, bytes: pixels })
}
