//! Colours: to RGB at the camera's size where channels share samples, else on the small image.

use opencv::core::{Mat, VecN};
use opencv::imgproc;

use super::encoding::{Channels, Encoding, Mosaic};
use super::error::FitError;
use crate::geometry::{PADDING, Placement, Size};
use crate::runtime::scratch::{NoMemory, Scratch};

/// Scales 16-bit samples by 255/65535, rounded.
pub(super) fn narrow(rows: &[u8], big_endian: bool, into: &mut Scratch) -> Result<(), NoMemory> {
    let into = into.take(rows.len() / 2)?;
    if big_endian {
        narrow_each(rows, u16::from_be_bytes, into);
    } else {
        narrow_each(rows, u16::from_le_bytes, into);
    }
    Ok(())
}

/// One copy of this loop per byte order, or the compiler does not vectorise it.
fn narrow_each(rows: &[u8], sample: impl Fn([u8; 2]) -> u16, into: &mut [u8]) {
    for (into, &bytes) in into.iter_mut().zip(rows.as_chunks().0) {
        *into = narrow_sample(sample(bytes));
    }
}

/// Equal to rounding `sample / 257`, without the division.
pub(super) fn narrow_sample(sample: u16) -> u8 {
    ((u32::from(sample) * 255 + 32_895) >> 16) as u8
}

/// 4:2:2, 4:2:0 and mosaics of 8 bits to RGB: `rows` of a mosaic have been narrowed, and `size` has been
/// checked.
pub(super) fn rgb_by_opencv(
    rows: &[u8],
    encoding: Encoding,
    size: Size,
    into: &mut Scratch,
) -> Result<(), FitError> {
    // OpenCV names a mosaic by the pixels of its second row and column; the four-letter names are ROS's.
    let code = match encoding {
        Encoding::Uyvy => imgproc::COLOR_YUV2RGB_UYVY,
        Encoding::Yuyv => imgproc::COLOR_YUV2RGB_YUYV,
        Encoding::Nv12 => imgproc::COLOR_YUV2RGB_NV12,
        Encoding::Nv21 => imgproc::COLOR_YUV2RGB_NV21,
        Encoding::Bayer8(mosaic) | Encoding::Bayer16(mosaic) => match mosaic {
            Mosaic::Rggb => imgproc::COLOR_BayerRGGB2RGB,
            Mosaic::Bggr => imgproc::COLOR_BayerBGGR2RGB,
            Mosaic::Gbrg => imgproc::COLOR_BayerGBRG2RGB,
            Mosaic::Grbg => imgproc::COLOR_BayerGRBG2RGB,
        },
        Encoding::Bits8(_) | Encoding::Bits16(_) | Encoding::Nv24 => {
            return Err(FitError::conversion("not a conversion of OpenCV's"));
        }
    };
    let (n_cols, n_rows) = (size.width as i32, size.height as i32);
    let into = into.take(size.width as usize * size.height as usize * 3)?;
    let mut convert = || -> opencv::Result<()> {
        let mut rgb = Mat::new_rows_cols_with_bytes_mut::<VecN<u8, 3>>(n_rows, n_cols, into)?;
        let source = match encoding {
            Encoding::Uyvy | Encoding::Yuyv => {
                Mat::new_rows_cols_with_bytes::<VecN<u8, 2>>(n_rows, n_cols, rows)
            }
            Encoding::Nv12 | Encoding::Nv21 => {
                Mat::new_rows_cols_with_bytes::<u8>(n_rows / 2 * 3, n_cols, rows)
            }
            _ => Mat::new_rows_cols_with_bytes::<u8>(n_rows, n_cols, rows),
        }?;
        imgproc::cvt_color_def(&source, &mut rgb, code)
    };
    convert().map_err(FitError::conversion)
}

/// 4:4:4 in two planes to RGB, with the numbers of the other YUV encodings: BT.601, Y from 16 to 235.
pub(super) fn rgb_from_nv24(rows: &[u8], size: Size, into: &mut Scratch) -> Result<(), NoMemory> {
    let n_pixels = size.width as usize * size.height as usize;
    let (luma, chroma) = rows.split_at(n_pixels);
    let pixels = into.take(n_pixels * 3)?.as_chunks_mut::<3>().0.iter_mut();
    for ((rgb, &y), &[u, v]) in pixels.zip(luma).zip(chroma.as_chunks().0) {
        // Fixed point with 16 fraction bits: 255/219, and 255/112 times 1 - kr, kb and their shares of green.
        let y = (i32::from(y) - 16).max(0) * 76_309 + 32_768;
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        let byte = |value: i32| (value >> 16).clamp(0, 255) as u8;
        *rgb = [byte(y + 104_597 * v), byte(y - 25_675 * u - 53_279 * v), byte(y + 132_201 * u)];
    }
    Ok(())
}

/// Writes the resized image into its place in the model input, as RGB, and pads the rest. `into` holds as
/// many bytes as the model input has.
pub(super) fn paint(small: &[u8], channels: Channels, placement: &Placement, into: &mut [u8]) {
    let (model, target) = (placement.model, placement.target);
    if target.size != model {
        into.as_chunks_mut::<3>().0.fill(PADDING);
    }
    let n_cols = target.size.width as usize;
    let rows = into.chunks_exact_mut(model.width as usize * 3).skip(target.top as usize);
    for (row, small) in rows.zip(small.chunks_exact(n_cols * channels.count())) {
        let row = &mut row[target.left as usize * 3..][..n_cols * 3];
        copy_as_rgb(small, channels, row);
    }
}

fn copy_as_rgb(source: &[u8], channels: Channels, rgb: &mut [u8]) {
    let pixels = rgb.as_chunks_mut::<3>().0.iter_mut();
    match channels {
        Channels::Rgb => rgb.copy_from_slice(source),
        Channels::Bgr => pixels.zip(source.as_chunks().0).for_each(|(rgb, &[b, g, r])| *rgb = [r, g, b]),
        Channels::Rgba => pixels.zip(source.as_chunks().0).for_each(|(rgb, &[r, g, b, _])| *rgb = [r, g, b]),
        Channels::Bgra => pixels.zip(source.as_chunks().0).for_each(|(rgb, &[b, g, r, _])| *rgb = [r, g, b]),
        Channels::Mono => pixels.zip(source).for_each(|(rgb, &grey)| *rgb = [grey; 3]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_are_rounded_to_eight() {
        for sample in 0..=u16::MAX {
            let expect = (f64::from(sample) * 255.0 / 65_535.0).round();
            assert_eq!(f64::from(narrow_sample(sample)), expect, "{sample}");
        }
    }
}
