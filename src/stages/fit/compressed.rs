//! JPEG and PNG files. Their first bytes decide, whatever the message calls them.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::{ColorType, ImageDecoder};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::colour;
use super::decode::Pixels;
use super::encoding::Channels;
use super::error::FitError;
use super::raster::check_size;
use crate::geometry::Size;

const JPEG_START: &[u8] = &[0xff, 0xd8, 0xff];
const JPEG_END: &[u8] = &[0xff, 0xd9];
const PNG_START: &[u8] = &[0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a];

/// Most bytes that one byte of a PNG file can unpack to.
const DEFLATE_RATIO: u64 = 1032;

/// Decodes a file into `pixels`; `scratch` holds samples on the way.
pub(super) fn decode<'a>(
    file: &[u8],
    scratch: &mut Vec<u8>,
    pixels: &'a mut Vec<u8>,
) -> Result<Pixels<'a>, FitError> {
    let (size, channels) = if file.starts_with(JPEG_START) {
        decode_jpeg(file, pixels)?
    } else if file.starts_with(PNG_START) {
        decode_png(file, scratch, pixels)?
    } else {
        return Err(FitError::CompressedFormat {
            start: file[..file.len().min(8)].to_vec(),
        });
    };
    Ok(Pixels {
        size,
        channels,
        bytes: pixels,
    })
}

fn decode_jpeg(file: &[u8], pixels: &mut Vec<u8>) -> Result<(Size, Channels), FitError> {
    let broken = |message: String| FitError::Jpeg { message };
    // The decoder notices the end of the data only between two rows of blocks, so the last row is
    // covered by this: the end marker cannot occur inside coded data.
    if !file.windows(JPEG_END.len()).rev().any(|bytes| bytes == JPEG_END) {
        return Err(broken("it has no end".into()));
    }
    // Strict, or a file that breaks off would come out as half a picture and half grey.
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(|err| broken(err.to_string()))?;
    let (Some((width, height)), Some(coded)) = (decoder.dimensions(), decoder.input_colorspace()) else {
        return Err(broken("it has no size".into()));
    };
    let size = Size {
        width: width as u32,
        height: height as u32,
    };
    check_size(size)?;
    let (channels, wanted) = match coded {
        ColorSpace::Luma => (Channels::Mono, ColorSpace::Luma),
        ColorSpace::YCbCr | ColorSpace::RGB => (Channels::Rgb, ColorSpace::RGB),
        other => {
            return Err(broken(format!(
                "its colours are {other:?}, not RGB, YCbCr or grey"
            )));
        }
    };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    pixels.resize(width * height * channels.count(), 0);
    decoder
        .decode_into(pixels)
        .map_err(|err| broken(err.to_string()))?;
    Ok((size, channels))
}

fn decode_png(
    file: &[u8],
    scratch: &mut Vec<u8>,
    pixels: &mut Vec<u8>,
) -> Result<(Size, Channels), FitError> {
    let broken = |err: image::ImageError| FitError::Png {
        message: err.to_string(),
    };
    let decoder = PngDecoder::new(Cursor::new(file)).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let size = Size { width, height };
    check_size(size)?;
    let (expected, found) = (decoder.total_bytes(), file.len() as u64);
    if expected / DEFLATE_RATIO > found {
        return Err(FitError::ShortData {
            expected: expected / DEFLATE_RATIO,
            found,
        });
    }
    let kind = decoder.color_type();
    let is_wide = kind.bytes_per_pixel() > kind.channel_count();
    let samples = if is_wide { &mut *scratch } else { &mut *pixels };
    samples.resize(expected as usize, 0);
    decoder.read_image(samples).map_err(broken)?;
    if is_wide {
        colour::narrow(scratch, cfg!(target_endian = "big"), pixels);
    }
    let channels = match kind {
        ColorType::L8 | ColorType::L16 => Channels::Mono,
        ColorType::La8 | ColorType::La16 => {
            drop_alpha_of_grey(pixels);
            Channels::Mono
        }
        ColorType::Rgb8 | ColorType::Rgb16 => Channels::Rgb,
        ColorType::Rgba8 | ColorType::Rgba16 => Channels::Rgba,
        other => {
            return Err(FitError::Png {
                message: format!("its pixels are {other:?}"),
            });
        }
    };
    Ok((size, channels))
}

fn drop_alpha_of_grey(pixels: &mut Vec<u8>) {
    let n_pixels = pixels.len() / 2;
    (0..n_pixels).for_each(|i| pixels[i] = pixels[2 * i]);
    pixels.truncate(n_pixels);
}
