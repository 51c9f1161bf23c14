//! Publish: the last stage makes one frame's outputs ready for the wire and hands them to whoever
//! carries them away.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageError};

use crate::runtime::wanted::Topic;
use crate::stages::heads::{Output, RgbPicture};

/// Carries outputs away: the ROS edge in the node, nothing at all in `bench`.
pub trait Sink: Send {
    /// Hands every part of `output` that is there to its topic, in one go and under one header. A
    /// part that cannot be sent is logged, throttled, by the sink.
    fn send(&mut self, output: Output) -> Sent;
}

/// What became of the parts of one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Messages that went out.
    pub n_sent: usize,
    /// Messages that could not.
    pub n_failed: usize,
}

/// Encodes what travels encoded, then sends.
///
/// # Errors
/// The encoder's own.
pub fn publish(sink: &mut dyn Sink, mut output: Output) -> Result<Sent, ImageError> {
    if output.wanted.contains(Topic::PcaCompressed) {
        output.pca_png = output.pca.as_ref().map(png).transpose()?;
    }
    if !output.wanted.contains(Topic::Pca) {
        output.pca = None;
    }
    Ok(sink.send(output))
}

/// `picture` as a PNG file, packed fast rather than small.
///
/// # Errors
/// The encoder's own.
pub fn png(picture: &RgbPicture) -> Result<Vec<u8>, ImageError> {
    let mut file = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive);
    let (width, height) = (picture.size.width, picture.size.height);
    encoder.write_image(&picture.bytes, width, height, ExtendedColorType::Rgb8)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    #[test]
    fn a_png_holds_the_picture_exactly() {
        let size = Size { width: 5, height: 3 };
        let picture = RgbPicture { size, bytes: (0..45).collect() };
        let back = image::load_from_memory(&png(&picture).unwrap()).unwrap().into_rgb8();
        assert_eq!((back.dimensions(), back.into_raw()), ((5, 3), picture.bytes));
    }
}
