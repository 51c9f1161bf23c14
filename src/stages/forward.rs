//! Forward: the backbone turns a model input into tokens.

use std::sync::Arc;
use std::time::Instant;

use tch::{Kind, Tensor};

use crate::engine::{Engine, EngineError, Tokens};
use crate::geometry::{Geometry, Intrinsics, Size};
use crate::runtime::pool::Lease;
use crate::stages::camera::Header;

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

/// Runs `engine` on one input.
///
/// # Errors
/// The engine can no longer serve.
pub fn forward(engine: &mut dyn Engine, input: &Input) -> Result<Tokens, EngineError> {
    let Size { width, height } = input.geometry.model;
    let shape = [1, i64::from(height), i64::from(width), 3];
    engine.run(&Tensor::f_from_data_size(&input.pixels, &shape, Kind::Uint8)?)
}

/// Runs `engine` `n_runs` times on a grey picture, so that the first camera frame pays for no
/// set-up.
///
/// # Errors
/// The engine can no longer serve.
pub fn warm_up(engine: &mut dyn Engine, size: Size, n_runs: usize) -> Result<(), EngineError> {
    let shape = [1, i64::from(size.height), i64::from(size.width), 3];
    let grey = Tensor::f_full(shape, 124, (Kind::Uint8, tch::Device::Cpu))?;
    (0..n_runs).try_for_each(|_| engine.run(&grey).map(drop))
}
