//! The numbers of a calibration as `sensor_msgs/CameraInfo` carries them, and what becomes of them when an
//! image is cropped or scaled.

use std::fmt;

use nalgebra::{Affine2, Matrix3, Matrix3x4};

use super::{CalibrationError, Rect, Size, scale_then_shift};

/// A CameraInfo's numbers, unchecked.
#[derive(Clone, Debug, PartialEq)]
pub struct Intrinsics {
    /// Size of the image that the numbers below belong to.
    pub size: Size,
    /// Such as `plumb_bob`.
    pub distortion_model: String,
    /// Distortion coefficients as sent; they act on normalised coordinates, so no scaling touches them.
    pub d: Vec<f64>,
    /// Row-major 3x3 camera matrix.
    pub k: [f64; 9],
    /// Row-major 3x3 rectification.
    pub r: [f64; 9],
    /// Row-major 3x4 projection.
    pub p: [f64; 12],
}

impl Intrinsics {
    /// The calibration of the image of `size` that `target_from_source` makes of this one's:
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

/// The part of the sensor that a driver sends, and how many of its pixels become one of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readout {
    /// Columns and rows of the sensor.
    sensor: Size,
    /// The part that is sent, in the sensor's pixels.
    region: Rect,
    /// Columns and rows of the sensor for one of the image.
    binning: [u32; 2],
}

impl Readout {
    /// As CameraInfo tells it: a binning of 0 means 1, a region of zeros the whole sensor.
    ///
    /// # Errors
    /// Nothing is left, or the region is not on the sensor.
    pub fn new(sensor: Size, binning: [u32; 2], region: Rect) -> Result<Self, CalibrationError> {
        if sensor.width == 0 || sensor.height == 0 {
            return Err(CalibrationError::Size { size: sensor });
        }
        let binning = binning.map(|n| n.max(1));
        let side = |offset: u32, part: u32, whole: u32| match (offset, part) {
            (0, 0) => Some(whole),
            _ => offset.checked_add(part).filter(|end| 0 < part && *end <= whole).map(|_| part),
        };
        let width = side(region.left, region.size.width, sensor.width);
        let height = side(region.top, region.size.height, sensor.height);
        let (Some(width), Some(height)) = (width, height) else {
            return Err(CalibrationError::Region { region, sensor });
        };
        let readout = Self { sensor, region: Rect { size: Size { width, height }, ..region }, binning };
        let Size { width, height } = readout.size();
        if width == 0 || height == 0 { Err(CalibrationError::Empty { readout }) } else { Ok(readout) }
    }

    /// Size of the image that is sent.
    pub fn size(&self) -> Size {
        let [x, y] = self.binning;
        Size { width: self.region.size.width / x, height: self.region.size.height / y }
    }

    /// Whether the image is something else than the whole sensor.
    pub fn is_part(&self) -> bool {
        self.size() != self.sensor
    }

    /// Maps pixels of the sensor to pixels of the image.
    pub(super) fn image_from_sensor(&self) -> Affine2<f64> {
        let axis = |offset: u32, n: u32| (1.0 / f64::from(n), -f64::from(offset) / f64::from(n));
        let [x, y] = self.binning;
        scale_then_shift(axis(self.region.left, x), axis(self.region.top, y))
    }
}

impl fmt::Display for Readout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sensor, region, binning: [x, y] } = self;
        write!(f, "{sensor}")?;
        if region.size != *sensor {
            write!(f, " with the region of interest {region}")?;
        }
        if (*x, *y) != (1, 1) {
            write!(f, " with binning {x}x{y}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{Point2, Vector3, Vector4};

    use super::*;
    use crate::geometry::Geometry;

    const IDENTITY: [f64; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

    fn calibrated() -> Intrinsics {
        Intrinsics {
            size: Size { width: 640, height: 480 },
            distortion_model: "plumb_bob".into(),
            d: vec![0.1, -0.2],
            k: [600.0, 0.0, 320.0, 0.0, 610.0, 230.0, 0.0, 0.0, 1.0],
            r: IDENTITY,
            p: [580.0, 0.0, 318.0, -40.0, 0.0, 590.0, 236.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        }
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
    fn a_matrix_that_a_driver_leaves_zero_stays_zero() {
        let [_, letterbox, _] = fits();
        let of = Intrinsics { p: [0.0; 12], ..calibrated() };
        assert_eq!(of.under(&letterbox.model_from_camera, letterbox.model).p, [0.0; 12]);
    }

    #[test]
    fn a_readout_says_what_of_the_sensor_is_sent() {
        let check = |binning: [u32; 2], [left, top, width, height]: [u32; 4], expect: Result<&str, &str>| {
            let (sensor, size) = (Size { width: 640, height: 480 }, Size { width, height });
            let found = Readout::new(sensor, binning, Rect { left, top, size });
            match (found, expect) {
                (Ok(found), Ok(expect)) => assert_eq!(format!("{}: {found}", found.size()), expect),
                (Err(found), Err(expect)) => assert!(found.to_string().contains(expect), "{found}"),
                (found, expect) => panic!("{found:?} is not {expect:?}"),
            }
        };
        check([0, 0], [0; 4], Ok("640x480: 640x480"));
        check([1, 1], [0, 0, 640, 480], Ok("640x480: 640x480"));
        check([2, 4], [0; 4], Ok("320x120: 640x480 with binning 2x4"));
        let region = "640x480 with the region of interest 100x50 at (20, 10)";
        check([1, 0], [20, 10, 100, 50], Ok(&format!("100x50: {region}")));
        check([2, 2], [20, 10, 100, 50], Ok(&format!("50x25: {region} with binning 2x2")));
        // One axis may be left as it is.
        check(
            [0, 0],
            [0, 100, 0, 200],
            Ok("640x200: 640x480 with the region of interest 640x200 at (0, 100)"),
        );
        check(
            [0, 0],
            [600, 0, 41, 480],
            Err("the region of interest 41x480 at (600, 0) is not within 640x480"),
        );
        check([0, 0], [10, 0, 0, 0], Err("is not within"));
        check([0, 0], [u32::MAX, 0, u32::MAX, 1], Err("is not within"));
        check([641, 1], [0; 4], Err("640x480 with binning 641x1"));
        check([u32::MAX; 2], [0; 4], Err("no pixel is left"));
    }
}
