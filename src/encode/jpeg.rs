//! JPEG files for eyes; measurements travel as PNG.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageError};

use crate::geometry::Size;

/// Fine enough that blocks do not show.
const QUALITY: u8 = 90;

/// `rgb` `[h, w, 3]` as a JPEG file.
///
/// # Errors
/// The encoder's own.
pub fn jpeg(rgb: &[u8], size: Size) -> Result<Vec<u8>, ImageError> {
    let mut file = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut file, QUALITY);
    encoder.encode(rgb, size.width, size.height, ExtendedColorType::Rgb8)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jpeg_looks_like_the_image() {
        let size = Size { width: 16, height: 8 };
        let rgb: Vec<u8> = (0..128u8).flat_map(|i| [i, i, 127 - i]).collect();
        let back = image::load_from_memory(&jpeg(&rgb, size).unwrap()).unwrap().into_rgb8();
        assert_eq!(back.dimensions(), (16, 8));
        assert!(back.as_raw().iter().zip(&rgb).all(|(a, b)| a.abs_diff(*b) < 40));
    }
}
