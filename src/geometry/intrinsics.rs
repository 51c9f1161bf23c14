//! Calibration of a pinhole camera, and what becomes of it when its picture is scaled.

use nalgebra::{Affine2, Matrix3, Matrix3x4};

use super::Size;

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

impl Intrinsics {
    /// Whether the camera matrix says anything; drivers publish zeros before calibration.
    pub fn is_calibrated(&self) -> bool {
        self.k[0] != 0.0
    }

    /// One number for both axes, pixels: the geometric mean.
    pub fn focal_length(&self) -> f64 {
        (self.k[0] * self.k[4]).abs().sqrt()
    }

    /// The calibration of the picture of `size` that `target_from_source` makes of this one's:
    /// a point in space projects through it to where the transform moves its old projection.
    pub fn under(&self, target_from_source: &Affine2<f64>, size: Size) -> Self {
        let target_from_source = target_from_source.matrix();
        let k = target_from_source * Matrix3::from_row_slice(&self.k);
        let p = target_from_source * Matrix3x4::from_row_slice(&self.p);
        let mut scaled = Self { size, ..self.clone() };
        // nalgebra stores columns, CameraInfo rows.
        scaled.k.copy_from_slice(k.transpose().as_slice());
        scaled.p.copy_from_slice(p.transpose().as_slice());
        scaled
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{Point2, Vector3, Vector4};

    use super::*;
    use crate::geometry::Geometry;

    const IDENTITY: [f64; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

    fn camera(k: [f64; 9], p: [f64; 12]) -> Intrinsics {
        let size = Size { width: 640, height: 480 };
        Intrinsics { size, distortion_model: "plumb_bob".into(), d: vec![0.1, -0.2], k, r: IDENTITY, p }
    }

    fn calibrated() -> Intrinsics {
        let k = [600.0, 0.0, 320.0, 0.0, 610.0, 230.0, 0.0, 0.0, 1.0];
        camera(k, [580.0, 0.0, 318.0, -40.0, 0.0, 590.0, 236.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    }

    fn fits() -> [Geometry; 3] {
        let (from, to) = (Size { width: 640, height: 480 }, Size { width: 256, height: 192 + 64 });
        [Geometry::stretch(from, to), Geometry::letterbox(from, to), Geometry::crop(from, to)]
    }

    #[test]
    fn numbers_of_a_stretch_computed_by_hand() {
        let grid = Size { width: 16, height: 16 };
        let [stretch, ..] = fits();
        let model = calibrated().under(&stretch.model_from_camera, stretch.model);
        let (sx, sy) = (256.0 / 640.0, 256.0 / 480.0);
        let expect = [600.0 * sx, 0.0, 320.5 * sx - 0.5, 0.0, 610.0 * sy, 230.5 * sy - 0.5, 0.0, 0.0, 1.0];
        assert!(model.k.iter().zip(expect).all(|(found, expect)| (found - expect).abs() < 1e-9), "{model:?}");
        assert!((model.p[3] - -40.0 * sx).abs() < 1e-9 && model.p[7] == 0.0, "{model:?}");
        assert_eq!((model.size, &model.d, model.r), (stretch.model, &vec![0.1, -0.2], IDENTITY));

        let patches = calibrated().under(&stretch.grid_from_camera(), grid);
        assert!((patches.k[0] - 600.0 / 40.0).abs() < 1e-9 && (patches.k[4] - 610.0 / 30.0).abs() < 1e-9);
        assert!((patches.k[2] - (320.5 / 40.0 - 0.5)).abs() < 1e-9 && patches.size == grid);
    }

    #[test]
    fn a_point_in_space_lands_where_the_transform_moves_its_projection() {
        let point = Vector3::new(0.4, -0.3, 2.0);
        let by_k = |of: &Intrinsics| {
            let h = Matrix3::from_row_slice(&of.k) * point;
            Point2::new(h.x / h.z, h.y / h.z)
        };
        let by_p = |of: &Intrinsics| {
            let h = Matrix3x4::from_row_slice(&of.p) * Vector4::new(point.x, point.y, point.z, 1.0);
            Point2::new(h.x / h.z, h.y / h.z)
        };
        for fit in fits() {
            for (transform, size) in
                [(fit.model_from_camera, fit.model), (fit.grid_from_camera(), fit.grid())]
            {
                let (source, target) = (calibrated(), calibrated().under(&transform, size));
                assert!((by_k(&target) - transform * by_k(&source)).norm() < 1e-9);
                assert!((by_p(&target) - transform * by_p(&source)).norm() < 1e-9);
            }
        }
    }

    #[test]
    fn what_is_not_calibrated_stays_so() {
        let [stretch, ..] = fits();
        let under =
            |camera: Intrinsics| camera.under(&stretch.model_from_camera, stretch.model).is_calibrated();
        assert!(under(calibrated()));
        assert!(!under(camera([0.0; 9], [0.0; 12])));
    }
}
