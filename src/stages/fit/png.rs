//! PNG files. Transparency is dropped: the colours are taken as they are stored.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::{ColorType, ImageDecoder};

use super::colour;
use super::encoding::Channels;
use super::error::FitError;
use super::raster::check_size;
use crate::geometry::Size;

/// Most bytes that one byte of a PNG file can unpack to.
const DEFLATE_RATIO: u64 = 1032;

/// Decodes `file` into `pixels`; `scratch` holds samples of 16 bits.
pub(super) fn decode(
    file: &[u8],
    scratch: &mut Vec<u8>,
    pixels: &mut Vec<u8>,
) -> Result<(Size, Channels), FitError> {
    let decoder = PngDecoder::new(Cursor::new(file)).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let size = Size { width, height };
    check_size(size)?;
    let n_bytes = decoder.total_bytes();
    let (expected, found) = (n_bytes / DEFLATE_RATIO, file.len() as u64);
    if found < expected {
        return Err(FitError::ShortData { expected, found });
    }
    let kind = decoder.color_type();
    let channels = match kind {
        ColorType::L8 | ColorType::L16 | ColorType::La8 | ColorType::La16 => Channels::Mono,
        ColorType::Rgb8 | ColorType::Rgb16 => Channels::Rgb,
        ColorType::Rgba8 | ColorType::Rgba16 => Channels::Rgba,
        other => return Err(broken(format!("its pixels are {other:?}"))),
    };
    let is_wide = kind.bytes_per_pixel() > kind.channel_count();
    let samples = if is_wide { &mut *scratch } else { &mut *pixels };
    samples.resize(n_bytes as usize, 0);
    decoder.read_image(samples).map_err(broken)?;
    if is_wide {
        colour::narrow(scratch, cfg!(target_endian = "big"), pixels);
    }
    if channels == Channels::Mono && kind.has_alpha() {
        drop_alpha_of_grey(pixels);
    }
    Ok((size, channels))
}

fn drop_alpha_of_grey(pixels: &mut Vec<u8>) {
    let n_pixels = pixels.len() / 2;
    (0..n_pixels).for_each(|i| pixels[i] = pixels[2 * i]);
    pixels.truncate(n_pixels);
}

fn broken(message: impl ToString) -> FitError {
    FitError::Png { message: message.to_string() }
}
