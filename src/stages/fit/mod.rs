//! Fit: one camera image becomes one model input.
//!
//! ```text
//!  Image -> decode (checks, unpadding, decompression, YUV and Bayer) -> resize -> paint (RGB, padding)
//! ```
//! Channels are put in order after the resize, on the small image. Nothing that a message claims
//! is believed before it has been checked against the bytes that came with it.

mod colour;
mod compressed;
mod decode;
mod encoding;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod jpeg;
mod png;
mod raster;
mod resize;
#[cfg(test)]
mod tests;

use std::sync::Once;

use crate::config::{self, ResizeFilter};
use crate::geometry::{Geometry, Placement, Size, nearest_standard_size};
use crate::runtime::input_pixels::InputPixels;
use crate::runtime::scratch::Scratch;
use crate::stages::camera::Frame;
use raster::MaxPixels;

pub use error::FitError;

/// Fits the images of one camera. It keeps its buffers from image to image.
pub struct Fitter {
    fit: config::Fit,
    size: Size,
    decoder: decode::Decoder,
    resizer: resize::Resizer,
    small: Scratch,
}

impl Fitter {
    /// A fitter to model inputs of `size`, or of the size that [`config::Fit::Auto`] finds, from images of
    /// at most `max_pixels`.
    pub fn new(fit: config::Fit, size: Size, filter: ResizeFilter, max_pixels: u64) -> Self {
        // An image takes about a millisecond; waiting for helpers on shared cores takes longer. Once,
        // because two threads that ask for it at the same time crash TBB.
        static ONE_THREAD: Once = Once::new();
        ONE_THREAD.call_once(|| {
            if let Err(err) = opencv::core::set_num_threads(1) {
                tracing::warn!("OpenCV keeps its own threads: {err}");
            }
        });
        Self {
            fit,
            size,
            decoder: decode::Decoder::new(MaxPixels(max_pixels)),
            resizer: resize::Resizer::new(filter),
            small: Scratch::default(),
        }
    }

    /// Makes `pixels` the model input for `frame`: uint8 `[model.height, model.width, 3]`, RGB, where
    /// `model` is that of the geometry returned. What `pixels` held before is lost, also on an error.
    ///
    /// # Errors
    /// The image is broken or not supported; `pixels` then holds nothing of use.
    pub fn fit(&mut self, frame: &Frame, pixels: &mut InputPixels) -> Result<Geometry, FitError> {
        let fitted = self.fit_into(frame, pixels);
        for buffer in self.buffers() {
            // An image that was refused is no measure of what usual ones need.
            if fitted.is_err() {
                buffer.forget();
            }
            buffer.settle();
        }
        fitted
    }

    /// Each under its own eye for what is usual.
    fn buffers(&mut self) -> [&mut Scratch; 5] {
        let [rows, samples, decoded] = self.decoder.buffers();
        [rows, samples, decoded, self.resizer.strip(), &mut self.small]
    }

    fn fit_into(&mut self, frame: &Frame, pixels: &mut InputPixels) -> Result<Geometry, FitError> {
        let image = self.decoder.decode(&frame.image)?;
        let placement = placement(self.fit, image.size, self.size);
        self.resizer.resize(&image, placement.source, placement.target.size, &mut self.small)?;
        let model = placement.model;
        let into = pixels.take(model.width as usize * model.height as usize * 3);
        let into = into.map_err(|err| FitError::Memory { model, message: err.message })?;
        colour::paint(self.small.bytes(), image.channels, &placement, into);
        Ok(match self.fit {
            config::Fit::Window => Geometry::windows(image.size),
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
