//! PNG files, packed fast rather than small.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageError};

use crate::geometry::Size;

/// Of `[height, width, 3]` bytes, RGB.
///
/// # Errors
/// The encoder's own; the bytes are not of this size, here and below.
pub fn rgb8(bytes: &[u8], size: Size) -> Result<Vec<u8>, ImageError> {
    file(bytes, size, ExtendedColorType::Rgb8)
}

/// Of `[height, width]` bytes.
///
/// # Errors
/// As [`rgb8`].
pub fn gray8(bytes: &[u8], size: Size) -> Result<Vec<u8>, ImageError> {
    file(bytes, size, ExtendedColorType::L8)
}

/// Of `[height, width]` samples.
///
/// # Errors
/// As [`rgb8`].
pub fn gray16(samples: &[u16], size: Size) -> Result<Vec<u8>, ImageError> {
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect();
    file(&bytes, size, ExtendedColorType::L16)
}

fn file(bytes: &[u8], Size { width, height }: Size, color: ExtendedColorType) -> Result<Vec<u8>, ImageError> {
    let n_bytes = u64::from(width) * u64::from(height) * u64::from(color.bits_per_pixel()) / 8;
    if bytes.len() as u64 != n_bytes {
        let kind = image::error::ParameterErrorKind::DimensionMismatch;
        return Err(ImageError::Parameter(image::error::ParameterError::from_kind(kind)));
    }
    let mut file = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive);
    encoder.write_image(bytes, width, height, color)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 5, height: 3 };

    #[test]
    fn files_hold_what_was_given() {
        let bytes: Vec<u8> = (0..45).map(|i| i * 5).collect();
        let open = |file: Vec<u8>| image::load_from_memory(&file).unwrap();
        assert_eq!(open(rgb8(&bytes, SIZE).unwrap()).into_rgb8().into_raw(), bytes);
        assert_eq!(open(gray8(&bytes[..15], SIZE).unwrap()).into_luma8().into_raw(), bytes[..15]);
        let samples: Vec<u16> = (0..15).map(|i| i * 4321).collect();
        assert_eq!(open(gray16(&samples, SIZE).unwrap()).into_luma16().into_raw(), samples);
    }

    #[test]
    fn bytes_of_another_size_are_an_error() {
        assert!(
            rgb8(&[0; 44], SIZE).is_err() && gray8(&[], SIZE).is_err() && gray16(&[0; 16], SIZE).is_err()
        );
    }
}
