//! JPEG files. A file that breaks off is refused rather than half served.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::encoding::Channels;
use super::error::FitError;
use super::raster::check_size;
use crate::geometry::Size;

/// The marker that ends a file. It cannot occur inside coded data.
const END: &[u8] = &[0xff, 0xd9];
const HUFFMAN_TABLES: u8 = 0xc4;
const BASELINE: u8 = 0xc0;
const SCAN: u8 = 0xda;

/// What the decoder takes for leave to use the standard's example Huffman tables.
const MOTION_JPEG: &[u8] = b"\xff\xe0\x00\x07AVI1\0";

/// From this width on, a row of blocks takes more bytes than the decoder reads ahead.
const MIN_WIDTH_TO_CUT: u32 = 256;

/// Decodes `file` into `pixels`, grey ones to [`Channels::Mono`], others to [`Channels::Rgb`].
pub(super) fn decode(
    file: &[u8],
    scratch: &mut Vec<u8>,
    pixels: &mut Vec<u8>,
) -> Result<(Size, Channels), FitError> {
    let Some(end) = file.windows(END.len()).rposition(|bytes| bytes == END) else {
        return Err(broken("it has no end"));
    };
    // The decoder takes an end marker that comes too early for a picture whose rest is grey, but
    // complains when the bytes run out; so it gets the bytes without the marker.
    let coded = &file[..end];
    let has = |wanted| segments(file).any(|marker| marker == wanted);
    // Webcams leave out the Huffman tables.
    let whole = if has(HUFFMAN_TABLES) {
        file
    } else {
        scratch.clear();
        scratch.extend_from_slice(&file[..2]);
        scratch.extend_from_slice(MOTION_JPEG);
        scratch.extend_from_slice(&file[2..]);
        scratch
    };
    let end = whole.len() - (file.len() - coded.len());
    let (size, channels, wanted) = header(whole)?;
    let cut = has(BASELINE) && size.width >= MIN_WIDTH_TO_CUT;
    let bytes = if cut { &whole[..end] } else { whole };
    pixels.resize(size.width as usize * size.height as usize * channels.count(), 0);
    let options = options().jpeg_set_out_colorspace(wanted);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode_into(pixels).map_err(broken)?;
    Ok((size, channels))
}

/// What the file says of itself, checked, and the colours to ask for.
fn header(file: &[u8]) -> Result<(Size, Channels, ColorSpace), FitError> {
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options());
    decoder.decode_headers().map_err(broken)?;
    let (Some(info), Some(coded)) = (decoder.info(), decoder.input_colorspace()) else {
        return Err(broken("it has no header"));
    };
    let size = Size { width: info.width.into(), height: info.height.into() };
    check_size(size)?;
    match coded {
        ColorSpace::Luma => Ok((size, Channels::Mono, ColorSpace::Luma)),
        ColorSpace::YCbCr | ColorSpace::RGB => Ok((size, Channels::Rgb, ColorSpace::RGB)),
        other => Err(broken(format!("its colours are {other:?}, not RGB, YCbCr or grey"))),
    }
}

/// Strict, or broken data would come out as a picture.
fn options() -> DecoderOptions {
    let longest = usize::from(u16::MAX);
    DecoderOptions::default().set_strict_mode(true).set_max_width(longest).set_max_height(longest)
}

/// Markers of the segments before the coded data.
fn segments(file: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = file.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (&[0xff, marker, high, low], _) = rest.split_first_chunk()? else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        rest = rest.get(2 + length..).filter(|_| marker != SCAN).unwrap_or_default();
        Some(marker)
    })
}

fn broken(message: impl ToString) -> FitError {
    FitError::Jpeg { message: message.to_string() }
}
