//! Fit: one camera picture becomes one model input.
//!
//! ```text
//!  Picture -> decode (checks, unpadding, decompression, YUV and Bayer) -> resize -> paint (RGB, padding)
//! ```
//! Channels are put in order after the resize, on the small picture. Nothing that a message claims
//! is believed before it has been checked against the bytes that came with it.

mod colour;
mod compressed;
mod decode;
mod encoding;
mod error;
mod jpeg;
mod png;
mod raster;
mod resize;
#[cfg(test)]
mod tests;

use crate::config::{self, ResizeFilter};
use crate::geometry::{Geometry, Placement, Size, nearest_standard_size};
use crate::stages::camera::Frame;

pub(crate) use colour::PADDING;
pub use error::FitError;

/// Fits the pictures of one camera. It keeps its buffers from picture to picture.
pub struct Fitter {
    fit: config::Fit,
    size: Size,
    decoder: decode::Decoder,
    resizer: resize::Resizer,
    small: Vec<u8>,
}

impl Fitter {
    /// A fitter to model inputs of `size`, or of the size that [`config::Fit::Auto`] finds.
    pub fn new(fit: config::Fit, size: Size, filter: ResizeFilter) -> Self {
        // A picture takes about a millisecond; waiting for helpers on shared cores takes longer.
        if let Err(err) = opencv::core::set_num_threads(1) {
            tracing::warn!("OpenCV keeps its own threads: {err}");
        }
        Self {
            fit,
            size,
            decoder: decode::Decoder::default(),
            resizer: resize::Resizer::new(filter),
            small: Vec::new(),
        }
    }

    /// Makes `pixels` the model input for `frame`: uint8 `[model.height, model.width, 3]`, RGB, where
    /// `model` is that of the geometry returned. What `pixels` held before is lost, also on an error.
    ///
    /// # Errors
    /// The picture is broken or not supported; `pixels` then holds nothing of use.
    pub fn fit(&mut self, frame: &Frame, pixels: &mut Vec<u8>) -> Result<Geometry, FitError> {
        let picture = self.decoder.decode(&frame.picture)?;
        let placement = placement(self.fit, picture.size, self.size);
        self.resizer.resize(&picture, placement.source, placement.target.size, &mut self.small)?;
        colour::paint(&self.small, picture.channels, &placement, pixels);
        Ok(match self.fit {
            config::Fit::Window => Geometry::windows(picture.size),
            _ => placement.geometry(),
        })
    }
}

fn placement(fit: config::Fit, camera: Size, model: Size) -> Placement {
    match fit {
        config::Fit::Stretch => Placement::stretch(camera, model),
        config::Fit::Letterbox => Placement::letterbox(camera, model),
        config::Fit::Crop => Placement::crop(camera, model),
        config::Fit::Auto => Placement::stretch(camera, nearest_standard_size(camera)),
        config::Fit::Window => Placement::stretch(camera, camera),
    }
}

const _: () = {
    const fn send<T: Send>() {}
    send::<Fitter>();
};
