//! PNG files, row by row. Transparency is dropped: the colours are taken as they are stored. Of an animation
//! the default image is taken.

mod chunks;
mod rows;

use png::{BitDepth, ColorType, Decoder, Transformations};

pub(super) use self::chunks::SIGNATURE;
use self::chunks::{ChunkReader, chunks};
use self::rows::{Row, RowKind};
use super::encoding::Channels;
use super::error::FitError;
use super::raster::MaxPixels;
use crate::geometry::Size;
use crate::runtime::scratch::Scratch;

/// Most bytes that one byte of a PNG file can unpack to.
const DEFLATE_RATIO: u64 = 1032;

/// Decodes `file` into `pixels`, grey ones to [`Channels::Mono`], others to [`Channels::Rgb`].
pub(super) fn decode(
    file: &[u8],
    max_pixels: MaxPixels,
    pixels: &mut Scratch,
) -> Result<(Size, Channels), FitError> {
    check(file, max_pixels)?;
    let mut decoder = Decoder::new(ChunkReader::new(file));
    // To samples of 8 or 16 bits, palettes to colours. The checksums have been compared.
    decoder.set_transformations(Transformations::EXPAND);
    decoder.ignore_checksums(true);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = reader.info().size();
    let (size, is_interlaced) = (Size { width, height }, reader.info().interlaced);
    let (color, depth) = reader.output_color_type();
    let (channels, has_alpha) = match color {
        ColorType::Grayscale => (Channels::Mono, false),
        ColorType::GrayscaleAlpha => (Channels::Mono, true),
        ColorType::Rgb => (Channels::Rgb, false),
        ColorType::Rgba => (Channels::Rgb, true),
        ColorType::Indexed => return Err(broken("it has no palette")),
    };
    let kind = RowKind { n_colors: channels.count(), has_alpha, is_wide: depth == BitDepth::Sixteen };
    let n_pixels = width as usize * height as usize;
    let into = pixels.take(n_pixels * channels.count())?;
    let mut samples = vec![0; reader.output_line_size(width).ok_or_else(|| broken("a row is too long"))?];
    let rows = if is_interlaced { rows::interlaced(size) } else { rows::in_order(size) };
    for Row { first_pixel, step, n_pixels } in rows {
        if reader.read_row(&mut samples).map_err(broken)?.is_none() {
            return Err(broken("rows are missing"));
        }
        let row = samples.get(..n_pixels * kind.bytes_per_pixel());
        let row = row.ok_or_else(|| broken("a row is short"))?;
        kind.put(row, step, &mut into[first_pixel * kind.n_colors..]);
    }
    Ok((size, channels))
}

/// Compares what the file claims with what it holds.
fn check(file: &[u8], max_pixels: MaxPixels) -> Result<(), FitError> {
    let (mut header, mut n_packed) = (None, 0);
    for chunk in chunks(file).filter(chunks::Chunk::is_critical) {
        match (chunk.name, header) {
            _ if !chunk.is_intact() => {
                return Err(broken(format!("the checksum of {} is wrong", chunk.name.escape_ascii())));
            }
            (chunks::HEADER, None) => header = Some(chunk.data),
            (chunks::HEADER, Some(_)) => return Err(broken("it has two headers")),
            (_, None) => return Err(broken("it does not begin with its header")),
            (chunks::PALETTE, _) if !matches!(chunk.data.len(), 3..=768) || chunk.data.len() % 3 != 0 => {
                return Err(broken(format!("its palette has {} bytes", chunk.data.len())));
            }
            (chunks::PALETTE, _) => (),
            (chunks::PIXELS, _) => n_packed += chunk.data.len() as u64,
            _ => return Err(broken(format!("{} is no chunk of PNG", chunk.name.escape_ascii()))),
        }
    }
    let header = header.ok_or_else(|| broken("it breaks off in its header"))?;
    let Some((&[w3, w2, w1, w0, h3, h2, h1, h0, depth, color], _)) = header.split_first_chunk() else {
        return Err(broken("its header is too short"));
    };
    let [width, height] = [[w3, w2, w1, w0], [h3, h2, h1, h0]].map(u32::from_be_bytes);
    max_pixels.check(Size { width, height })?;
    let n_samples = match color {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    let n_bytes = (u64::from(width) * n_samples * u64::from(depth)).div_ceil(8) * u64::from(height);
    if n_packed == 0 {
        return Err(broken("it has no pixels"));
    }
    let (expected, found) = (n_bytes / DEFLATE_RATIO, n_packed);
    if found < expected {
        return Err(FitError::ShortData { expected, found });
    }
    Ok(())
}

fn broken(message: impl ToString) -> FitError {
    FitError::Png { message: message.to_string() }
}
