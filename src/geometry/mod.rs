//! Camera, model input and patch grid, and the affine transforms between them.
//!
//! Pixel centres are whole numbers (OpenCV's convention) in all three. Names read
//! `target_from_source`, so spaces cancel by eye.

mod calibration;
mod camera_model;
mod intrinsics;
mod lens;
mod placement;
mod rays;
mod windows;

use std::fmt;

use nalgebra::{Affine2, Matrix3, Point2};

use rays::Pinhole;

pub use calibration::CalibrationError;
pub use camera_model::{Calibration, CameraModel, Projection};
pub use intrinsics::{Intrinsics, Readout};
pub use lens::{Lens, LensError};
pub use placement::{PADDING, Placement, Rect};
pub use rays::{Optics, strided};
pub use windows::{STRIDE, WINDOW, corners, padded};

/// Width and height in pixels, or in patches for a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl Size {
    /// Rows and columns: the order of a tensor's sides.
    pub fn sides(self) -> [i64; 2] {
        [i64::from(self.height), i64::from(self.width)]
    }

    /// Rows and columns of patches of a model input of this size.
    pub fn patches(self) -> [i64; 2] {
        self.sides().map(|side| side / i64::from(PATCH))
    }
}

/// Side of a patch in pixels of the model input.
pub const PATCH: u32 = 16;

/// Model inputs of about 256 patches, between which the fit mode `auto` chooses, the largest first.
pub const STANDARD_SIZES: [Size; 5] = [
    Size { width: 256, height: 256 },
    Size { width: 288, height: 224 },
    Size { width: 336, height: 192 },
    Size { width: 224, height: 288 },
    Size { width: 192, height: 336 },
];

/// The standard model input whose aspect is nearest the camera's, as a ratio. `camera` has no zero side.
pub fn nearest_standard_size(camera: Size) -> Size {
    let log_aspect = |size: Size| (f64::from(size.width) / f64::from(size.height)).ln();
    let wanted = log_aspect(camera);
    let away = |size: Size| (log_aspect(size) - wanted).abs();
    let nearer = |one, other| if away(other) < away(one) { other } else { one };
    STANDARD_SIZES.into_iter().fold(STANDARD_SIZES[0], nearer)
}

/// How one camera image became one model input.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Size of the camera's image.
    pub camera: Size,
    /// Size of the model input, both sides divisible by [`PATCH`] unless the model sees it window by window.
    pub model: Size,
    /// Maps camera pixels to pixels of the model input.
    pub model_from_camera: Affine2<f64>,
    /// Whether the model sees the input window by window.
    pub is_windowed: bool,
}

impl Geometry {
    /// Each axis scaled on its own. No side may be zero, here and below.
    pub fn stretch(camera: Size, model: Size) -> Self {
        Placement::stretch(camera, model).geometry()
    }

    /// Scaled to fit inside, centred, the rest padded.
    pub fn letterbox(camera: Size, model: Size) -> Self {
        Placement::letterbox(camera, model).geometry()
    }

    /// Scaled to cover, the middle kept.
    pub fn crop(camera: Size, model: Size) -> Self {
        Placement::crop(camera, model).geometry()
    }

    /// The camera's image as it is, seen window by window.
    pub fn windows(camera: Size) -> Self {
        Self { camera, model: camera, model_from_camera: Affine2::identity(), is_windowed: true }
    }

    /// Columns and rows of patches; of one window where the model sees such.
    pub fn grid(&self) -> Size {
        let Size { width, height } = self.pass();
        Size { width: width / PATCH, height: height / PATCH }
    }

    /// What the model sees at once.
    pub fn pass(&self) -> Size {
        if self.is_windowed { Size { width: WINDOW, height: WINDOW } } else { self.model }
    }

    /// Pixels of the model input that show the camera's image; the others are padding.
    pub fn image_in_model(&self) -> Rect {
        let corner = |x: f64, y: f64| self.model_from_camera * Point2::new(x, y);
        let first = corner(-0.5, -0.5);
        let end = corner(f64::from(self.camera.width) - 0.5, f64::from(self.camera.height) - 0.5);
        // A pixel belongs to the image when its centre does; rounding errors are no reason to lose one.
        let range = |first: f64, end: f64, n: u32| {
            let within = |side: f64| (side - 1e-6).ceil().clamp(0.0, f64::from(n)) as u32;
            (within(first), within(end))
        };
        let (left, right) = range(first.x, end.x, self.model.width);
        let (top, bottom) = range(first.y, end.y, self.model.height);
        Rect { left, top, size: Size { width: right - left, height: bottom - top } }
    }

    /// Maps pixels of the model input to camera pixels.
    pub fn camera_from_model(&self) -> Affine2<f64> {
        self.model_from_camera.inverse()
    }

    /// Maps camera pixels to patches of the grid.
    pub fn grid_from_camera(&self) -> Affine2<f64> {
        scale_then_shift((1.0 / f64::from(PATCH), 0.0), (1.0 / f64::from(PATCH), 0.0))
            * self.model_from_camera
    }

    /// Column and row of the patch that shows a camera pixel, if the model sees it.
    pub fn patch_under(&self, pixel: [f64; 2]) -> Option<[u32; 2]> {
        let inside = |[x, y]: [f64; 2], Size { width, height }: Size| {
            let within = |value: f64, n: u32| (-0.5..f64::from(n) - 0.5).contains(&value);
            within(x, width) && within(y, height)
        };
        let patch = self.grid_from_camera() * Point2::from(pixel);
        let is_seen = inside(pixel, self.camera) && inside([patch.x, patch.y], self.grid());
        is_seen.then(|| [patch.x.round() as u32, patch.y.round() as u32])
    }

    /// Maps patches to camera pixels: x = m0 col + m1 row + m2, y = m3 col + m4 row + m5, the
    /// `image_from_grid` of PatchFeatures.
    pub fn camera_from_grid(&self) -> [f64; 6] {
        let side = f64::from(PATCH);
        let model_from_grid = scale_then_shift((side, 0.0), (side, 0.0));
        let m = (self.camera_from_model() * model_from_grid).into_inner();
        [m[(0, 0)], m[(0, 1)], m[(0, 2)], m[(1, 0)], m[(1, 1)], m[(1, 2)]]
    }
}

/// The transform that scales pixel areas and then moves them by whole or part pixels; per axis
/// (scale, shift). A pixel's area reaches half a pixel to either side of its centre, hence the halves.
fn scale_then_shift(x: (f64, f64), y: (f64, f64)) -> Affine2<f64> {
    let offset = |(scale, shift): (f64, f64)| 0.5 * scale - 0.5 + shift;
    Affine2::from_matrix_unchecked(Matrix3::new(x.0, 0.0, offset(x), 0.0, y.0, offset(y), 0.0, 0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[track_caller]
    fn check(geometry: &Geometry, camera: [f64; 2], model: [f64; 2], grid: [f64; 2]) {
        let camera = Point2::from(camera);
        let near = |found: Point2<f64>, expect: Point2<f64>| {
            assert!((found - expect).norm() < 1e-9, "{found} is not {expect}");
        };
        near(geometry.model_from_camera * camera, model.into());
        near(geometry.camera_from_model() * Point2::from(model), camera);
        near(geometry.grid_from_camera() * camera, grid.into());
        let m = geometry.camera_from_grid();
        let [col, row] = grid;
        near(Point2::new(m[0] * col + m[1] * row + m[2], m[3] * col + m[4] * row + m[5]), camera);
    }

    #[test]
    fn points_land_where_they_were_computed_by_hand() {
        let stretch = Geometry::stretch(size(640, 480), size(256, 256));
        // The corners of the image's area stay corners, its middle stays the middle.
        check(&stretch, [-0.5, -0.5], [-0.5, -0.5], [-0.5, -0.5]);
        check(&stretch, [639.5, 479.5], [255.5, 255.5], [15.5, 15.5]);
        check(&stretch, [319.5, 239.5], [127.5, 127.5], [7.5, 7.5]);
        // The centre of the first patch is 8 model pixels from the corner, that is 20 and 15 camera pixels.
        check(&stretch, [19.5, 14.5], [7.5, 7.5], [0.0, 0.0]);

        let letterbox = Geometry::letterbox(size(1280, 720), size(256, 256));
        check(&letterbox, [-0.5, -0.5], [-0.5, 55.5], [-0.5, 3.0]);
        check(&letterbox, [1279.5, 719.5], [255.5, 199.5], [15.5, 12.0]);

        let crop = Geometry::crop(size(1280, 720), size(256, 256));
        check(&crop, [279.5, -0.5], [-0.5, -0.5], [-0.5, -0.5]);
        check(&crop, [999.5, 719.5], [255.5, 255.5], [15.5, 15.5]);
        check(&crop, [639.5, 359.5], [127.5, 127.5], [7.5, 7.5]);
    }

    #[test]
    fn image_from_grid_of_a_known_image() {
        let m = Geometry::stretch(size(640, 480), size(256, 256)).camera_from_grid();
        let expect = [40.0, 0.0, 19.5, 0.0, 30.0, 14.5];
        assert!(m.iter().zip(expect).all(|(found, expect)| (found - expect).abs() < 1e-9), "{m:?}");
        assert_eq!(Geometry::stretch(size(640, 480), size(336, 192)).grid(), size(21, 12));
    }

    #[test]
    fn auto_takes_the_nearest_aspect() {
        let check = |camera, expect| assert_eq!(nearest_standard_size(camera), expect, "{camera:?}");
        check(size(640, 480), size(288, 224));
        check(size(1280, 720), size(336, 192));
        check(size(1920, 1200), size(336, 192));
        check(size(512, 512), size(256, 256));
        check(size(600, 550), size(256, 256));
        check(size(480, 640), size(224, 288));
        check(size(720, 1280), size(192, 336));
        check(size(65535, 1), size(336, 192));
    }

    #[test]
    fn a_patch_is_found_under_every_pixel_that_the_model_sees() {
        let (wide, square) = (Size { width: 64, height: 32 }, Size { width: 32, height: 32 });
        let check = |geometry: &Geometry, pixel, expect| {
            assert_eq!(geometry.patch_under(pixel), expect, "{pixel:?}");
        };
        let stretched = Geometry::stretch(wide, square);
        check(&stretched, [0.0, 0.0], Some([0, 0]));
        check(&stretched, [31.4, 0.0], Some([0, 0]));
        check(&stretched, [32.0, 0.0], Some([1, 0]));
        check(&stretched, [63.4, 31.4], Some([1, 1]));
        check(&stretched, [64.0, 0.0], None);
        check(&stretched, [0.0, -1.0], None);
        check(&stretched, [f64::NAN, 0.0], None);
        let cropped = Geometry::crop(wide, square);
        check(&cropped, [10.0, 5.0], None);
        check(&cropped, [16.0, 5.0], Some([0, 0]));
    }
}
