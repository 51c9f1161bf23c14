//! Depth as image_transport's `compressedDepth` carries it: 12 bytes of parameters, then a PNG file of 16-bit
//! inverse depth.
//!
//! A sample is q = a / depth + b, rounded; zero is invalid. One step of q at depth z is z^2 / a metres. The
//! receiver reads a and b from the parameters: depth = a / (q - b).

use image::ImageError;

use super::png::gray16;
use crate::geometry::Size;

/// The format word of such messages.
pub const COMPRESSED_DEPTH: &str = "32FC1; compressedDepth png";

/// The transport's default of its `depth_quantization`: the steps are as fine as the square of it.
const QUANTIZATION: f32 = 100.0;

/// `a` for [`QUANTIZATION`], metres.
const A: f32 = QUANTIZATION * (QUANTIZATION + 1.0);

/// Depth nearer than this does not fit 16 bits.
const NEAREST: f32 = A / 65_534.0;

/// Encodes `[height, width]` metres; what is not a depth up to `max_depth` becomes invalid, depths under
/// 0.155 m become the nearest that fits.
///
/// # Errors
/// The PNG encoder's own.
pub fn compressed_depth(meters: &[f32], size: Size, max_depth: f32) -> Result<Vec<u8>, ImageError> {
    // The farthest is one: zero is taken.
    let b = 1.0 - A / max_depth;
    // The greatest depth may have been rounded up.
    let farthest = max_depth * (1.0 + 4.0 * f32::EPSILON);
    let sample = |&depth: &f32| {
        let is_depth = depth.is_finite() && 0.0 < depth && depth <= farthest;
        if is_depth { (A / depth.max(NEAREST) + b).round().clamp(1.0, 65_535.0) as u16 } else { 0 }
    };
    let samples: Vec<u16> = meters.iter().map(sample).collect();
    // Kind of compression (inverse depth is zero), then a and b.
    let mut message: Vec<u8> =
        [0_i32.to_le_bytes(), A.to_le_bytes(), b.to_le_bytes()].into_iter().flatten().collect();
    message.extend(gray16(&samples, size)?);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(message: &[u8]) -> Vec<f32> {
        let float = |at: usize| f32::from_le_bytes(message[at..at + 4].try_into().unwrap());
        let (a, b) = (float(4), float(8));
        assert_eq!(message[..4], [0; 4]);
        let image = image::load_from_memory(&message[12..]).unwrap().into_luma16();
        image.iter().map(|&q| if q == 0 { f32::NAN } else { a / (f32::from(q) - b) }).collect()
    }

    #[test]
    fn what_comes_back_is_a_step_away_at_most() {
        let meters: Vec<f32> = (1..=1000).map(|i| 0.16 + i as f32 * 0.00984).collect();
        let size = Size { width: 100, height: 10 };
        let back = decoded(&compressed_depth(&meters, size, 10.0).unwrap());
        for (depth, back) in meters.iter().zip(back) {
            assert!((depth - back).abs() <= 0.5 * depth * depth / A * 1.02, "{depth} came back as {back}");
        }
    }

    #[test]
    fn what_is_no_depth_is_invalid() {
        let size = Size { width: 7, height: 1 };
        let meters = [f32::NAN, 0.0, -1.0, f32::INFINITY, 30.1, 30.0, 0.05];
        let back = decoded(&compressed_depth(&meters, size, 30.0).unwrap());
        assert!(back[..5].iter().all(|depth| depth.is_nan()), "{back:?}");
        assert!((back[5] - 30.0).abs() < 0.05 && (back[6] - NEAREST).abs() < 1e-3, "{back:?}");
    }
}
