//! Forward: the backbone turns a model input into tokens.

use std::sync::Arc;
use std::time::Instant;

use tch::{Kind, TchError, Tensor};

use crate::engine::{Engine, EngineError, Place, Tokens};
use crate::geometry::{Calibration, Geometry, PADDING, STRIDE, Size, WINDOW, padded};
use crate::runtime::input_pixels::InputPixels;
use crate::stages::camera::{Frame, Header};

/// An image that is ready for the model.
#[derive(Debug)]
pub struct Input {
    /// The frame's own, unchanged.
    pub header: Header,
    /// Index of the camera in the configuration.
    pub camera: usize,
    /// When our callback saw the frame.
    pub received: Instant,
    /// When the image was ready.
    pub fitted: Instant,
    /// Row-major RGB, `geometry.model.height * geometry.model.width * 3` bytes.
    pub pixels: InputPixels,
    /// From the camera's image to this one.
    pub geometry: Geometry,
    /// What the newest CameraInfo says, of whatever size.
    pub intrinsics: Option<Arc<Calibration>>,
}

impl Input {
    /// `frame`, whose image has become `pixels` just now.
    pub fn new(frame: Frame, pixels: InputPixels, geometry: Geometry) -> Self {
        let Frame { header, camera, received, intrinsics, .. } = frame;
        Self { header, camera, received, fitted: Instant::now(), pixels, geometry, intrinsics }
    }

    /// Whether `other` can go through the model with this one.
    pub fn goes_with(&self, other: &Self) -> bool {
        let is_windowed = self.geometry.is_windowed || other.geometry.is_windowed;
        !is_windowed && self.geometry.model == other.geometry.model
    }

    /// What the model sees, on the CPU: uint8 `[1, H, W, 3]`, which are the pixels themselves, or
    /// `[n, 256, 256, 3]` for the windows over the image, row by row.
    ///
    /// # Errors
    /// `pixels` are not of the model input's size.
    pub fn images(&self) -> Result<Tensor, EngineError> {
        let size @ Size { width, height } = self.geometry.model;
        if self.pixels.len() != width as usize * height as usize * 3 {
            let message = format!("{} bytes are not an image of {width}x{height}", self.pixels.len());
            return Err(EngineError { message });
        }
        let image = self.pixels.tensor(&[1, i64::from(height), i64::from(width), 3])?;
        if self.geometry.is_windowed { Ok(windows(&image.f_get(0)?, size)?) } else { Ok(image) }
    }
}

/// `[n, 256, 256, 3]` of `image` `[H, W, 3]`; what lies beyond it is the colour that is zero after
/// normalisation.
fn windows(image: &Tensor, size: Size) -> Result<Tensor, TchError> {
    let Size { width, height } = padded(size);
    let canvas = Tensor::from_slice(&PADDING).f_repeat([i64::from(height), i64::from(width), 1])?;
    let mut top_left =
        canvas.f_narrow(0, 0, i64::from(size.height))?.f_narrow(1, 0, i64::from(size.width))?;
    top_left.f_copy_(image)?;
    let (side, stride) = (i64::from(WINDOW), i64::from(STRIDE));
    let by_window = canvas.f_unfold(0, side, stride)?.f_unfold(1, side, stride)?;
    by_window.f_permute([0, 1, 3, 4, 2])?.f_reshape([-1, side, side, 3])
}

/// Images that go through the model at once: engines are built for batches of these sizes.
const BATCHES: [i64; 7] = [64, 32, 16, 8, 4, 2, 1];

/// The most windows that go through the model at once.
pub const MOST_WINDOWS: i64 = 8;

/// The largest batch that `n_images` are cut into where `n_most` go through the model at once.
pub fn largest_batch(n_images: i64, n_most: i64) -> i64 {
    let fits = |batch: &i64| *batch <= n_images.min(n_most);
    BATCHES.into_iter().find(fits).unwrap_or(1)
}

/// Runs `engine` on inputs of one size, or on one that is seen by windows, as far as its first `n_taps` taps
/// need it. The tokens are those of the inputs, or of the windows, in their order. On a GPU they may not be
/// there before [`Engine::wait`], until which the inputs must stay.
///
/// # Errors
/// The engine can no longer serve.
pub fn forward(engine: &mut dyn Engine, inputs: &[&Input], n_taps: usize) -> Result<Tokens, EngineError> {
    let images = inputs.iter().map(|input| input.images()).collect::<Result<Vec<_>, _>>()?;
    let [image] = images.as_slice() else { return batched(engine, &images, n_taps) };
    let n_images = image.size()[0];
    if largest_batch(n_images, MOST_WINDOWS) == n_images {
        return engine.run(&images, n_taps);
    }
    one_after_the_other(engine, image, MOST_WINDOWS, n_taps)
}

/// The images of several cameras.
fn batched(engine: &mut dyn Engine, images: &[Tensor], n_taps: usize) -> Result<Tokens, EngineError> {
    let n_images = i64::try_from(images.len()).unwrap_or(i64::MAX);
    match largest_batch(n_images, n_images) {
        whole if whole == n_images => engine.run(images, n_taps),
        _ => one_after_the_other(engine, &Tensor::f_cat(images, 0)?, n_images, n_taps),
    }
}

/// Images in as few batches as engines are built for.
fn one_after_the_other(
    engine: &mut dyn Engine,
    images: &Tensor,
    n_most: i64,
    n_taps: usize,
) -> Result<Tokens, EngineError> {
    let n_images = images.size()[0];
    let (mut parts, mut n_done) = (Vec::new(), 0);
    let mut lane = None;
    while n_done < n_images {
        let batch = largest_batch(n_images - n_done, n_most);
        let tokens = engine.run(&[images.f_narrow(0, n_done, batch)?.f_contiguous()?], n_taps)?;
        // The next run may write where these lie.
        parts.push(tokens.taps.iter().map(Tensor::f_detach_copy).collect::<Result<Vec<_>, _>>()?);
        lane = tokens.lane;
        n_done += batch;
    }
    let n_taps = parts.first().map_or(0, Vec::len);
    let joined = |tap: usize| Tensor::f_cat(&parts.iter().map(|part| &part[tap]).collect::<Vec<_>>(), 0);
    let taps = (0..n_taps).map(joined).collect::<Result<_, _>>()?;
    Ok(Tokens { taps, lane, place: Place::Anywhere })
}

/// Runs `engine` on `batch` grey images, so that the first camera frame pays for no set-up. Returns their
/// tokens.
///
/// # Errors
/// The engine can no longer serve.
pub fn warm_up(engine: &mut dyn Engine, size: Size, batch: i64) -> Result<Tokens, EngineError> {
    let shape = [batch, i64::from(size.height), i64::from(size.width), 3];
    let grey = Tensor::f_full(shape, 124, (Kind::Uint8, tch::Device::Cpu))?;
    let tokens = engine.run(&[grey], usize::MAX)?;
    engine.wait()?;
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::corners;

    #[test]
    fn images_go_in_batches_that_engines_are_built_for() {
        let check = |n_images, n_most, expect| {
            assert_eq!(largest_batch(n_images, n_most), expect, "{n_images} {n_most}");
        };
        check(1, 8, 1);
        check(3, 8, 2);
        check(4, 8, 4);
        check(20, 8, 8);
        check(20, 20, 16);
        check(5, 1, 1);
    }

    #[test]
    fn windows_show_the_image_and_padding_beyond_it() {
        let size = Size { width: 300, height: 180 };
        let image = Tensor::arange(180 * 300 * 3, (Kind::Int64, tch::Device::Cpu))
            .remainder(251)
            .to_kind(Kind::Uint8);
        let image = image.reshape([180, 300, 3]);
        let windows = windows(&image, size).unwrap();
        assert_eq!(windows.size(), [4, 256, 256, 3]);
        for (window, [left, top]) in corners(size).enumerate() {
            for (x, y) in [(0, 0), (255, 0), (85, 9), (129, 200), (130, 9)] {
                let (column, row) = (i64::from(left) + x, i64::from(top) + y);
                for channel in 0..3 {
                    let inside = column < 300 && row < 180;
                    let expect = if inside {
                        image.int64_value(&[row, column, channel])
                    } else {
                        i64::from(PADDING[channel as usize])
                    };
                    assert_eq!(
                        windows.int64_value(&[window as i64, y, x, channel]),
                        expect,
                        "{column} {row}"
                    );
                }
            }
        }
    }
}
