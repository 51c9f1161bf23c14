//! The direction of every pixel: a camera model inverted.
//!
//! Models are those that CameraInfo names: `plumb_bob` and `rational_polynomial` (Brown-Conrady, as OpenCV's calib3d
//! documents them) and `equidistant` (Kannala-Brandt 2006, OpenCV's fisheye model).

use super::{Intrinsics, Size};

/// Which of a CameraInfo's matrices the picture obeys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Projection {
    /// The camera matrix with its distortion: the picture as the camera sends it.
    #[default]
    Raw,
    /// The projection matrix without distortion: a rectified picture.
    Rectified,
}

impl Projection {
    /// That of the pictures on `topic`: image_proc calls rectified ones `image_rect` and `image_rect_color`.
    pub fn of_topic(topic: &str) -> Self {
        let parts = topic.rsplit('/').take(2);
        let mut rectified = parts.filter(|part| part.starts_with("image_rect"));
        if rectified.next().is_some() { Self::Rectified } else { Self::Raw }
    }
}

/// Why a calibration gives no rays.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RaysError {
    /// The distortion model is not known.
    #[error(
        "the distortion model {model:?} is not known: plumb_bob, rational_polynomial and equidistant are, or rectify \
         the picture"
    )]
    Model {
        /// As the CameraInfo names it.
        model: String,
    },
    /// The model has another number of coefficients.
    #[error("the distortion model {model} has {found} coefficients, {expected} are needed")]
    Coefficients {
        /// The model.
        model: &'static str,
        /// How many the CameraInfo has.
        found: usize,
        /// How many may be.
        expected: &'static str,
    },
    /// The focal length is zero.
    #[error("the focal length is zero: the camera is not calibrated")]
    Uncalibrated,
}

/// The pixels that a stride takes of `n` in one direction: the middle one of every `stride`, the last one at the border.
pub fn strided(n: u32, stride: u32) -> impl Iterator<Item = u32> {
    (0..n.div_ceil(stride)).map(move |i| (i * stride + stride / 2).min(n - 1))
}

/// x/z and y/z of every pixel that `stride` takes of the picture of `of`, row by row, without distortion; NaN where the
/// distortion cannot be inverted.
///
/// # Errors
/// The calibration says nothing that is understood.
pub fn rays(of: &Intrinsics, projection: Projection, stride: u32) -> Result<Vec<[f32; 2]>, RaysError> {
    let Size { width, height } = of.size;
    let pinhole = Pinhole::of(of, projection)?;
    let lens = match projection {
        Projection::Raw => Lens::of(of)?,
        Projection::Rectified => Lens::None,
    };
    let rows = strided(height, stride.max(1));
    let pixels = rows.flat_map(|row| strided(width, stride.max(1)).map(move |column| [column, row]));
    let ray = |pixel: [u32; 2]| lens.undistorted(pinhole.normalized(pixel)).map(|side| side as f32);
    Ok(pixels.map(ray).collect())
}

/// Focal lengths and principal point, with skew.
struct Pinhole {
    focal: [f64; 2],
    centre: [f64; 2],
    skew: f64,
}

impl Pinhole {
    fn of(of: &Intrinsics, projection: Projection) -> Result<Self, RaysError> {
        let pinhole = match projection {
            Projection::Raw => Self { focal: [of.k[0], of.k[4]], centre: [of.k[2], of.k[5]], skew: of.k[1] },
            Projection::Rectified => {
                Self { focal: [of.p[0], of.p[5]], centre: [of.p[2], of.p[6]], skew: of.p[1] }
            }
        };
        if pinhole.focal.contains(&0.0) { Err(RaysError::Uncalibrated) } else { Ok(pinhole) }
    }

    fn normalized(&self, [column, row]: [u32; 2]) -> [f64; 2] {
        let y = (f64::from(row) - self.centre[1]) / self.focal[1];
        let x = (f64::from(column) - self.centre[0] - self.skew * y) / self.focal[0];
        [x, y]
    }
}

/// What a lens does to normalised coordinates.
#[derive(Debug)]
enum Lens {
    None,
    /// k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4, zeros where the model has fewer.
    BrownConrady([f64; 12]),
    /// k1 k2 k3 k4 of the angle's odd powers.
    Equidistant([f64; 4]),
}

/// A ray is right when it projects this near, in normalised coordinates: a hundredth of a pixel at a focal length of 1000.
const NEAR: f64 = 1e-5;

impl Lens {
    fn of(of: &Intrinsics) -> Result<Self, RaysError> {
        let (d, n) = (&of.d, of.d.len());
        if d.iter().all(|coefficient| *coefficient == 0.0) {
            return Ok(Self::None);
        }
        let wrong = |model, expected| Err(RaysError::Coefficients { model, found: n, expected });
        match of.distortion_model.as_str() {
            "plumb_bob" if !matches!(n, 4 | 5) => wrong("plumb_bob", "4 or 5"),
            "rational_polynomial" if !matches!(n, 8 | 12) => {
                // OpenCV's fourteen end with the tilt of the sensor.
                if n == 14 && d[12..] == [0.0, 0.0] {
                    Ok(Self::brown_conrady(&d[..12]))
                } else {
                    wrong("rational_polynomial", "8 or 12 (or 14 without tilt)")
                }
            }
            "plumb_bob" | "rational_polynomial" => Ok(Self::brown_conrady(d)),
            "equidistant" | "fisheye" => match d.as_slice().try_into() {
                Ok(k) => Ok(Self::Equidistant(k)),
                Err(_) => wrong("equidistant", "4"),
            },
            model => Err(RaysError::Model { model: model.to_owned() }),
        }
    }

    fn brown_conrady(coefficients: &[f64]) -> Self {
        let mut all = [0.0; 12];
        all[..coefficients.len()].copy_from_slice(coefficients);
        Self::BrownConrady(all)
    }

    fn distorted(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        match self {
            Self::None => [x, y],
            Self::BrownConrady([k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4]) => {
                let r2 = x * x + y * y;
                let radial =
                    (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1.0 + r2 * (k4 + r2 * (k5 + r2 * k6)));
                [
                    x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x) + r2 * (s1 + r2 * s2),
                    y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y + r2 * (s3 + r2 * s4),
                ]
            }
            Self::Equidistant(k) => {
                let radius = x.hypot(y);
                let scale = if radius < 1e-12 { 1.0 } else { angle_in_picture(radius.atan(), k) / radius };
                [x * scale, y * scale]
            }
        }
    }

    /// The point that the lens moves to `seen`.
    fn undistorted(&self, seen: [f64; 2]) -> [f64; 2] {
        let found = match self {
            Self::None => return seen,
            Self::BrownConrady(_) => self.newton(seen),
            Self::Equidistant(k) => equidistant_inverse(seen, k),
        };
        let [x, y] = self.distorted(found);
        // Far outside, barrel distortion folds over to the other side. Comparisons that NaN does not pass.
        let same_side = 0.0 <= found[0] * seen[0] + found[1] * seen[1];
        let is_ray = same_side && (x - seen[0]).hypot(y - seen[1]) < NEAR && self.rises_until(found);
        if is_ray { found } else { [f64::NAN; 2] }
    }

    /// Whether the lens moves points outwards all the way to `end`: beyond a fold it shows nothing that is there.
    fn rises_until(&self, end: [f64; 2]) -> bool {
        const STEPS: u32 = 16;
        let radius = |step: u32| {
            let [x, y] = self.distorted(end.map(|side| side * f64::from(step) / f64::from(STEPS)));
            x.hypot(y)
        };
        (0..STEPS).all(|step| radius(step) <= radius(step + 1))
    }

    /// Newton's method with differences for derivatives.
    fn newton(&self, seen: [f64; 2]) -> [f64; 2] {
        const STEP: f64 = 1e-6;
        let mut at = seen;
        for _ in 0..20 {
            let here = self.distorted(at);
            let missing = [seen[0] - here[0], seen[1] - here[1]];
            if missing[0].hypot(missing[1]) < 1e-12 {
                break;
            }
            let (by_x, by_y) = (self.distorted([at[0] + STEP, at[1]]), self.distorted([at[0], at[1] + STEP]));
            let [a, c] = [0, 1].map(|i| (by_x[i] - here[i]) / STEP);
            let [b, d] = [0, 1].map(|i| (by_y[i] - here[i]) / STEP);
            let determinant = a * d - b * c;
            at[0] += (d * missing[0] - b * missing[1]) / determinant;
            at[1] += (a * missing[1] - c * missing[0]) / determinant;
        }
        at
    }
}

/// The angle under which the lens shows what comes in at `angle`, radians.
fn angle_in_picture(angle: f64, [k1, k2, k3, k4]: &[f64; 4]) -> f64 {
    let a2 = angle * angle;
    angle * (1.0 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))
}

fn equidistant_inverse([x, y]: [f64; 2], k: &[f64; 4]) -> [f64; 2] {
    let seen = x.hypot(y);
    if seen < 1e-12 {
        return [x, y];
    }
    let mut angle = seen;
    for _ in 0..20 {
        let slope = (angle_in_picture(angle + 1e-6, k) - angle_in_picture(angle, k)) / 1e-6;
        angle += (seen - angle_in_picture(angle, k)) / slope;
    }
    // Beyond a right angle nothing is in front of the camera.
    let scale =
        if (0.0..std::f64::consts::FRAC_PI_2).contains(&angle) { angle.tan() / seen } else { f64::NAN };
    [x * scale, y * scale]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(model: &str, d: &[f64]) -> Intrinsics {
        Intrinsics {
            size: Size { width: 64, height: 48 },
            distortion_model: model.into(),
            d: d.to_vec(),
            k: [50.0, 0.0, 31.0, 0.0, 52.0, 24.5, 0.0, 0.0, 1.0],
            r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            p: [40.0, 0.0, 30.0, 0.0, 0.0, 41.0, 23.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        }
    }

    #[test]
    fn rays_of_a_pinhole_computed_by_hand() {
        let raw = rays(&camera("", &[]), Projection::Raw, 1).unwrap();
        assert_eq!((raw.len(), raw[0]), (64 * 48, [-31.0 / 50.0, -24.5 / 52.0]));
        assert_eq!(raw[64 * 2 + 5], [-26.0 / 50.0, -22.5 / 52.0]);
        let rectified = rays(&camera("plumb_bob", &[0.3; 5]), Projection::Rectified, 1).unwrap();
        assert_eq!(rectified[64 + 3], [-27.0 / 40.0, -22.0 / 41.0]);
    }

    #[test]
    fn a_stride_takes_the_middle_of_each_and_the_border_at_last() {
        assert_eq!(strided(16, 4).collect::<Vec<_>>(), [2, 6, 10, 14]);
        assert_eq!(strided(9, 4).collect::<Vec<_>>(), [2, 6, 8]);
        assert_eq!(strided(3, 1).collect::<Vec<_>>(), [0, 1, 2]);
        let of = camera("", &[]);
        let (all, some) = (rays(&of, Projection::Raw, 1).unwrap(), rays(&of, Projection::Raw, 4).unwrap());
        assert_eq!((some.len(), some[17]), (16 * 12, all[64 * 6 + 6]));
    }

    #[test]
    fn every_ray_projects_to_its_pixel() {
        let lenses: [(&str, &[f64]); 6] = [
            ("plumb_bob", &[0.1, -0.2, 0.001, 0.002, 0.05]),
            ("plumb_bob", &[-0.3, 0.1, 0.0, 0.0]),
            ("rational_polynomial", &[0.4, 0.1, 0.001, -0.001, 0.02, 0.5, 0.1, 0.01]),
            (
                "rational_polynomial",
                &[0.4, 0.1, 0.0, 0.0, 0.0, 0.5, 0.1, 0.0, 0.01, 0.0, 0.01, 0.0, 0.0, 0.0],
            ),
            ("equidistant", &[0.05, -0.01, 0.002, 0.0]),
            ("fisheye", &[-0.02, 0.003, 0.0, 0.0]),
        ];
        for (model, d) in lenses {
            let of = camera(model, d);
            let (lens, pinhole) = (Lens::of(&of).unwrap(), Pinhole::of(&of, Projection::Raw).unwrap());
            for (index, ray) in rays(&of, Projection::Raw, 1).unwrap().into_iter().enumerate() {
                let seen = pinhole.normalized([index as u32 % 64, index as u32 / 64]);
                let found = lens.distorted(ray.map(f64::from));
                let pixels = 50.0 * (found[0] - seen[0]).hypot(found[1] - seen[1]);
                assert!(pixels < 1e-3, "{model} {d:?}: {seen:?} is off by {pixels}");
            }
        }
    }

    #[test]
    fn what_cannot_be_inverted_is_nan() {
        // Nothing in front of this lens is seen so far out.
        let of = Intrinsics {
            k: [10.0, 0.0, 31.0, 0.0, 10.0, 24.0, 0.0, 0.0, 1.0],
            ..camera("plumb_bob", &[-0.3, 0.0, 0.0, 0.0, 0.0])
        };
        let rays = rays(&of, Projection::Raw, 1).unwrap();
        assert!(rays[0][0].is_nan() && rays[64 * 24 + 31] == [0.0, 0.0]);
    }

    #[test]
    fn nothing_is_seen_beyond_a_fold() {
        // r - r^3 / 2 + r^5 / 10 rises to 0.6 at r = 1, falls, and rises again far outside.
        let wide = [20.0, 0.0, 31.0, 0.0, 20.0, 24.0, 0.0, 0.0, 1.0];
        let of = Intrinsics { k: wide, ..camera("plumb_bob", &[-0.5, 0.1, 0.0, 0.0]) };
        let rays = rays(&of, Projection::Raw, 1).unwrap();
        for (index, ray) in rays.iter().enumerate() {
            let (x, y) = ((index % 64) as f32 - 31.0, (index / 64) as f32 - 24.0);
            let radius = x.hypot(y) / 20.0;
            // At the fold itself rounding decides.
            if 1e-3 < (radius - 0.6).abs() {
                assert_eq!(ray[0].is_nan(), 0.6 < radius, "{x} {y}: {ray:?}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let check = |of: Intrinsics, expect: &str| {
            let said = rays(&of, Projection::Raw, 1).unwrap_err().to_string();
            assert!(said.contains(expect), "{said}");
        };
        check(camera("omni", &[0.1]), "\"omni\"");
        check(camera("plumb_bob", &[0.1; 3]), "plumb_bob has 3 coefficients, 4 or 5");
        check(camera("rational_polynomial", &[0.1; 14]), "14 without tilt");
        check(camera("equidistant", &[0.1; 5]), "equidistant has 5 coefficients, 4");
        check(Intrinsics { k: [0.0; 9], ..camera("", &[]) }, "focal length is zero");
    }

    #[test]
    fn rectified_topics_are_known_by_their_names() {
        let check = |topic, expect| assert_eq!(Projection::of_topic(topic), expect, "{topic}");
        check("/camera/image_raw", Projection::Raw);
        check("/camera/image_rect", Projection::Rectified);
        check("/camera/image_rect_color", Projection::Rectified);
        check("/camera/image_rect/compressed", Projection::Rectified);
        check("/image_rect/left/image", Projection::Raw);
    }
}
