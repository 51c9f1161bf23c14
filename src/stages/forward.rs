//! Forward: the backbone turns a model input into tokens.

use std::sync::Arc;
use std::time::Instant;

use tch::{Kind, Tensor};

use crate::engine::{Engine, EngineError, Tokens};
use crate::geometry::{Geometry, Intrinsics, Size};
use crate::runtime::pool::Lease;
use crate::stages::camera::{Frame, Header};

/// A picture that is ready for the model.
#[derive(Debug)]
pub struct Input {
    /// The frame's own, unchanged.
    pub header: Header,
    /// Index of the camera in the configuration.
    pub camera: usize,
    /// When our callback saw the frame.
    pub received: Instant,
    /// When the picture was ready.
    pub fitted: Instant,
    /// Row-major RGB, `geometry.model.height * geometry.model.width * 3` bytes.
    pub pixels: Lease<Vec<u8>>,
    /// From the camera's picture to this one.
    pub geometry: Geometry,
    /// Newest calibration of the camera, of whatever size.
    pub intrinsics: Option<Arc<Intrinsics>>,
}

impl Input {
    /// `frame`, whose picture has become `pixels` just now.
    pub fn new(frame: Frame, pixels: Lease<Vec<u8>>, geometry: Geometry) -> Self {
        let Frame { header, camera, received, intrinsics, .. } = frame;
        Self { header, camera, received, fitted: Instant::now(), pixels, geometry, intrinsics }
    }

    /// The picture as a batch of one: uint8 `[1, H, W, 3]` on the CPU.
    ///
    /// # Errors
    /// `pixels` are not of the model input's size.
    pub fn images(&self) -> Result<Tensor, EngineError> {
        let Size { width, height } = self.geometry.model;
        // libtorch copies as many bytes as the shape says, whether they are there or not.
        if self.pixels.len() != width as usize * height as usize * 3 {
            let message = format!("{} bytes are no picture of {width}x{height}", self.pixels.len());
            return Err(EngineError { message });
        }
        let shape = [1, i64::from(height), i64::from(width), 3];
        Ok(Tensor::f_from_data_size(&self.pixels, &shape, Kind::Uint8)?)
    }
}

/// Runs `engine` on one input, as far as its first `n_taps` taps need it.
///
/// # Errors
/// The engine can no longer serve.
pub fn forward(engine: &mut dyn Engine, input: &Input, n_taps: usize) -> Result<Tokens, EngineError> {
    let tokens = engine.run(&input.images()?, n_taps)?;
    engine.wait()?;
    Ok(tokens)
}

/// Runs `engine` `n_runs` times on a grey picture, so that the first camera frame pays for no
/// set-up.
///
/// # Errors
/// The engine can no longer serve.
pub fn warm_up(engine: &mut dyn Engine, size: Size, n_runs: usize) -> Result<(), EngineError> {
    let shape = [1, i64::from(size.height), i64::from(size.width), 3];
    let grey = Tensor::f_full(shape, 124, (Kind::Uint8, tch::Device::Cpu))?;
    (0..n_runs).try_for_each(|_| engine.run(&grey, usize::MAX).map(drop))?;
    engine.wait()
}
