//! What a calibration means for the images of one topic: checked once, then used for depth, points and
//! camera_info.

use nalgebra::Affine2;

use super::calibration::{blank, check_coefficients, check_matrix};
use super::{CalibrationError, Intrinsics, Lens, LensError, Optics, Pinhole, Readout, Size};

/// Which of a CameraInfo's matrices the image obeys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Projection {
    /// The camera matrix K with its distortion D: the image as the camera sends it.
    #[default]
    Raw,
    /// The projection matrix P without distortion: a rectified image.
    Rectified,
}

impl Projection {
    /// The projection of the images on `topic`: image_proc calls rectified ones `image_rect` and
    /// `image_rect_color`. Their compressed twins are of the same kind.
    pub fn of_topic(topic: &str) -> Self {
        let parts = topic.strip_suffix("/compressed").unwrap_or(topic).rsplit('/').take(2);
        let mut rectified = parts.filter(|part| part.starts_with("image_rect"));
        if rectified.next().is_some() { Self::Rectified } else { Self::Raw }
    }

    /// The matrix that counts, as CameraInfo names it.
    pub fn matrix(self) -> &'static str {
        match self {
            Self::Raw => "K",
            Self::Rectified => "P",
        }
    }

    fn pinhole(self, of: &Intrinsics) -> Pinhole {
        let Intrinsics { k, p, .. } = of;
        match self {
            Self::Raw => Pinhole { focal: [k[0], k[4]], centre: [k[2], k[5]], skew: k[1] },
            Self::Rectified => Pinhole { focal: [p[0], p[5]], centre: [p[2], p[6]], skew: p[1] },
        }
    }
}

/// What is known of a camera once a CameraInfo has come.
pub type Calibration = Result<CameraModel, CalibrationError>;

/// A calibration that can be computed with: every number that the image's projection uses is finite, and no
/// other that is not is left in it.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraModel {
    intrinsics: Intrinsics,
    projection: Projection,
    /// Scaling does not touch it.
    lens: Result<Lens, LensError>,
    readout: Readout,
    blanked: Vec<&'static str>,
}

impl CameraModel {
    /// Checks `sensor`, the calibration of the whole sensor, for what the images under `projection` use of
    /// it, and makes it that of the images that `readout` sends. What they do not use and what is not finite
    /// becomes zeros, which CameraInfo has for "not known".
    ///
    /// # Errors
    /// Why the camera counts as not calibrated.
    pub fn new(
        mut sensor: Intrinsics,
        readout: Readout,
        projection: Projection,
    ) -> Result<Self, CalibrationError> {
        let lens = match projection {
            Projection::Raw => {
                check_matrix("K", &sensor.k, 3, sensor.size)?;
                check_coefficients(&sensor)?;
                Lens::new(&sensor.distortion_model, &sensor.d)
            }
            Projection::Rectified => {
                check_matrix("P", &sensor.p, 4, sensor.size)?;
                Ok(Lens::default())
            }
        };
        let blanked = blank(&mut sensor);
        let intrinsics = sensor.under(&readout.image_from_sensor(), readout.size());
        Ok(Self { intrinsics, projection, lens, readout, blanked })
    }

    /// Size of the image.
    pub fn size(&self) -> Size {
        self.intrinsics.size
    }

    /// Which matrix counts.
    pub fn projection(&self) -> Projection {
        self.projection
    }

    /// What of the sensor the driver sends.
    pub fn readout(&self) -> &Readout {
        &self.readout
    }

    /// Parts of the CameraInfo that nothing here uses and that were not finite.
    pub fn blanked(&self) -> &[&'static str] {
        &self.blanked
    }

    /// One number for both axes, pixels: the geometric mean.
    pub fn focal_length(&self) -> f64 {
        let [x, y] = self.projection.pinhole(&self.intrinsics).focal;
        x.sqrt() * y.sqrt()
    }

    /// Where every pixel looks.
    ///
    /// # Errors
    /// The lens is not one that can be computed.
    pub fn optics(&self) -> Result<Optics, LensError> {
        let pinhole = self.projection.pinhole(&self.intrinsics);
        Ok(Optics { size: self.size(), pinhole, lens: self.lens.clone()? })
    }

    /// The error that no pixel of the image has a ray.
    pub fn no_ray(&self) -> LensError {
        let Intrinsics { distortion_model, d, .. } = &self.intrinsics;
        LensError::NoRay { model: distortion_model.clone(), d: d.clone() }
    }

    /// The model of the image of `size` that `target_from_source` makes of this camera's image.
    pub fn under(&self, target_from_source: &Affine2<f64>, size: Size) -> Self {
        Self { intrinsics: self.intrinsics.under(target_from_source, size), ..self.clone() }
    }

    /// For a CameraInfo: all finite.
    pub fn into_intrinsics(self) -> Intrinsics {
        self.intrinsics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Geometry, Rect};

    const K: [f64; 9] = [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0];
    const P: [f64; 12] = [380.0, 0.0, 318.0, -40.0, 0.0, 380.0, 236.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    const SIZE: Size = Size { width: 640, height: 480 };

    fn model(change: impl Fn(&mut Intrinsics), projection: Projection) -> Calibration {
        let (distortion_model, d, r) = ("plumb_bob".into(), vec![0.1, -0.2, 0.0, 0.0, 0.0], [0.0; 9]);
        let mut numbers = Intrinsics { size: SIZE, distortion_model, d, k: K, r, p: P };
        change(&mut numbers);
        let size = Size { width: 0, height: 0 };
        let readout = Readout::new(numbers.size, [1, 1], Rect { left: 0, top: 0, size })?;
        CameraModel::new(numbers, readout, projection)
    }

    #[test]
    fn what_the_images_do_not_use_may_be_anything() {
        use Projection::{Raw, Rectified};
        let check =
            |change: fn(&mut Intrinsics), raw: Result<&[&str], &str>, rectified: Result<&[&str], &str>| {
                for (projection, expect) in [(Raw, raw), (Rectified, rectified)] {
                    match (model(change, projection), expect) {
                        (Ok(model), Ok(expect)) => {
                            assert_eq!(model.blanked(), expect);
                            let Intrinsics { k, r, p, d, .. } = model.into_intrinsics();
                            let mut all = k.iter().chain(&r).chain(&p).chain(&d);
                            assert!(all.all(|value| value.is_finite()));
                        }
                        (Err(error), Err(expect)) => assert_eq!(error.to_string(), expect),
                        (outcome, expect) => panic!("{projection:?}: {outcome:?} is not {expect:?}"),
                    }
                }
            };
        check(|_| (), Ok(&[]), Ok(&[]));
        check(|of| of.k = [0.0; 9], Err("K is all zeros"), Ok(&[]));
        check(|of| of.p = [0.0; 12], Ok(&[]), Err("P is all zeros"));
        check(|of| of.k[4] = f64::NAN, Err("K holds NaN"), Ok(&["K"]));
        check(|of| of.p[5] = f64::NAN, Ok(&["P"]), Err("P holds NaN"));
        check(|of| of.p[3] = f64::INFINITY, Ok(&["P"]), Err("P holds inf"));
        check(|of| of.d[4] = f64::NAN, Err("D holds NaN"), Ok(&["D"]));
        check(|of| of.r = [7.0; 9], Ok(&[]), Ok(&[]));
        check(|of| of.r[3] = f64::NAN, Ok(&["R"]), Ok(&["R"]));
        check(
            |of| of.p[0] = -380.0,
            Ok(&[]),
            Err("the focal lengths in P are -380 and 380 pixels, which no camera has"),
        );
        let long = "D has 1000000 coefficients, at most 64 are taken";
        check(|of| of.d = vec![0.0; 1_000_000], Err(long), Ok(&["D"]));
        let none = "its images are 0x480";
        check(|of| of.size.width = 0, Err(none), Err(none));
    }

    #[test]
    fn the_focal_length_is_that_of_the_matrix_which_the_images_obey() {
        let stretch = Geometry::stretch(SIZE, Size { width: 256, height: 256 });
        let check = |projection, expect: f64| {
            let model = model(|_| (), projection).unwrap();
            let under = model.under(&stretch.model_from_camera, stretch.model);
            let scale = f64::sqrt(256.0 / 640.0 * 256.0 / 480.0);
            assert!((model.focal_length() - expect).abs() < 1e-9, "{model:?}");
            assert!((under.focal_length() - expect * scale).abs() < 1e-9, "{under:?}");
        };
        check(Projection::Raw, 500.0);
        check(Projection::Rectified, 380.0);
    }

    #[test]
    fn the_distortion_is_that_of_raw_images_only() {
        let unknown = |of: &mut Intrinsics| of.distortion_model = "omni".into();
        let optics = |projection| model(unknown, projection).unwrap().optics();
        assert!(optics(Projection::Raw).unwrap_err().to_string().contains("\"omni\""));
        assert_eq!(optics(Projection::Rectified).unwrap().ray([318.0 + 38.0, 236.0]), Some([0.1, 0.0]));
    }

    #[test]
    fn rectified_topics_are_known_by_their_names() {
        let check = |topic, expect| assert_eq!(Projection::of_topic(topic), expect, "{topic}");
        check("/camera/image_raw", Projection::Raw);
        check("/camera/image_rect", Projection::Rectified);
        check("/camera/image_rect_color", Projection::Rectified);
        check("/camera/image_rect/compressed", Projection::Rectified);
        check("/image_rect/left/image", Projection::Raw);
        check("/image_rect/left/image/compressed", Projection::Raw);
    }
}
