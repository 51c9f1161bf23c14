//! Camera, model input and patch grid, and the affine transforms between them.
//!
//! Pixel centres are whole numbers (OpenCV's convention) in all three. Names read
//! `target_from_source`, so spaces cancel by eye.

use nalgebra::Affine2;

/// Width and height in pixels, or in patches for a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Side of a patch in pixels of the model input.
pub const PATCH: u32 = 16;

/// How one camera picture became one model input.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Size of the camera's picture.
    pub camera: Size,
    /// Size of the model input, both sides divisible by [`PATCH`].
    pub model: Size,
    /// Maps camera pixels to pixels of the model input.
    pub model_from_camera: Affine2<f64>,
}

/// Calibration of a pinhole camera as `sensor_msgs/CameraInfo` carries it.
#[derive(Clone, Debug, PartialEq)]
pub struct Intrinsics {
    /// Size of the picture that the numbers below belong to.
    pub size: Size,
    /// Such as `plumb_bob`.
    pub distortion_model: String,
    /// Distortion coefficients; they act on normalised coordinates, so no scaling touches them.
    pub d: Vec<f64>,
    /// Row-major 3x3 camera matrix; zero `k[0]` means uncalibrated.
    pub k: [f64; 9],
    /// Row-major 3x3 rectification.
    pub r: [f64; 9],
    /// Row-major 3x4 projection.
    pub p: [f64; 12],
}

impl Geometry {
    /// Row-major 2x3: camera pixel of a patch's centre.
    pub fn camera_from_grid(&self) -> [f64; 6] {
        let side = f64::from(PATCH);
        let grid = nalgebra::Matrix3::new(
            side,
            0.0,
            side / 2.0 - 0.5,
            0.0,
            side,
            side / 2.0 - 0.5,
            0.0,
            0.0,
            1.0,
        );
        let m = self.model_from_camera.inverse().to_homogeneous() * grid;
        [m[(0, 0)], m[(0, 1)], m[(0, 2)], m[(1, 0)], m[(1, 1)], m[(1, 2)]]
    }
}
