//! What a lens does to directions, and the way back.
//!
//! One formula serves every model that CameraInfo names: `plumb_bob` and `rational_polynomial` are OpenCV's
//! (calib3d), with thin prism and tilted sensor where there are as many coefficients, and `equidistant` is
//! OpenCV's fisheye (Kannala and Brandt 2006), whose radial polynomial acts on the angle instead of its
//! tangent.

use std::f64::consts::FRAC_PI_2;

use nalgebra::Matrix3;

/// Why a distortion model cannot be undone.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LensError {
    /// The distortion model is not known.
    #[error(
        "the distortion model {model:?} is not known: plumb_bob, rational_polynomial and equidistant are, or \
         rectify the images and subscribe to image_rect"
    )]
    Model {
        /// As the CameraInfo names it.
        model: String,
    },
    /// There are coefficients, and no model is named.
    #[error(
        "the distortion model is {model:?} and D has {n} coefficients: the driver has to name their model"
    )]
    Unnamed {
        /// As the CameraInfo names it.
        model: String,
        /// Without the zeros at the end.
        n: usize,
    },
    /// The model has fewer coefficients.
    #[error(
        "the distortion model {model} has {found} coefficients here, at most {most} are known: rectify the \
         images and subscribe to image_rect"
    )]
    Coefficients {
        /// As the CameraInfo names it.
        model: String,
        /// Without the zeros at the end.
        found: usize,
        /// How many the model may have.
        most: usize,
    },
    /// The sensor does not face the lens.
    #[error("D tilts the sensor by {x} and {y} radians, which no camera does")]
    Tilt {
        /// About the horizontal axis.
        x: f64,
        /// About the vertical axis.
        y: f64,
    },
    /// The image lies where the lens shows nothing.
    #[error("the distortion {model} {d:?} can be undone at no pixel of the image")]
    NoRay {
        /// As the CameraInfo names it.
        model: String,
        /// Distortion coefficients.
        d: Vec<f64>,
    },
}

/// What the radial polynomial acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Radius {
    /// The tangent of the angle to the axis: a point in the plane at distance 1.
    #[default]
    Tangent,
    /// The angle itself, radians.
    Angle,
}

/// What a lens does to directions. The default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lens {
    radius: Radius,
    /// Coefficients of the radial fraction's numerator, from the second power of the radius on, in steps of
    /// two.
    numerator: [f64; 4],
    denominator: [f64; 3],
    tangential: [f64; 2],
    prism: [f64; 4],
    /// Angles about the horizontal and the vertical axis, radians.
    tilt: [f64; 2],
}

/// A direction, as the radial polynomial takes it, and where the lens shows it on a sensor that is not
/// tilted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sighting {
    direction: [f64; 2],
    at: [f64; 2],
}

/// Where the lens moves a direction, and by how much it moves its neighbours.
struct Bend {
    to: [f64; 2],
    /// Rows of the Jacobian.
    jacobian: [[f64; 2]; 2],
    determinant: f64,
    is_regular: bool,
}

/// A direction is right when the lens shows it this near, in focal lengths: a millionth of a pixel at 1000
/// pixels.
const NEAR: f64 = 1e-9;
const NEWTON_STEPS: u32 = 20;
/// The shortest step towards a pixel, as a share of the way.
const SHORTEST: f64 = 1.0 / 32.0;
/// From one look for a fold to the next, and the most of them on the way to one pixel.
const LOOK: f64 = 0.02;
const MOST_LOOKS: f64 = 200.0;
/// The smallest cosine of a tilt.
const LEAST_TILT: f64 = 0.2;

impl Lens {
    /// The lens of a CameraInfo's `distortion_model` and `D`, all finite. Drivers add zeros to D, so those at
    /// its end say nothing, and what is missing to a model's next count is zero.
    ///
    /// # Errors
    /// Model and count that cannot be computed.
    pub fn new(model: &str, d: &[f64]) -> Result<Self, LensError> {
        let n = d.iter().rposition(|value| *value != 0.0).map_or(0, |last| last + 1);
        let padded = |most: usize| {
            let too_many = LensError::Coefficients { model: model.to_owned(), found: n, most };
            let mut all = [0.0; 14];
            all.get_mut(..n).filter(|_| n <= most).ok_or(too_many)?.copy_from_slice(&d[..n]);
            Ok::<_, LensError>(all)
        };
        match model.trim().to_ascii_lowercase().as_str() {
            "plumb_bob" | "rational_polynomial" => Self::brown_conrady(padded(14)?),
            "equidistant" | "fisheye" => {
                let [k1, k2, k3, k4, ..] = padded(4)?;
                Ok(Self { radius: Radius::Angle, numerator: [k1, k2, k3, k4], ..Self::default() })
            }
            _ if n == 0 => Ok(Self::default()),
            "" | "none" => Err(LensError::Unnamed { model: model.to_owned(), n }),
            _ => Err(LensError::Model { model: model.to_owned() }),
        }
    }

    fn brown_conrady(d: [f64; 14]) -> Result<Self, LensError> {
        let [k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, x, y] = d;
        if x.cos() * y.cos() < LEAST_TILT {
            return Err(LensError::Tilt { x, y });
        }
        Ok(Self {
            radius: Radius::Tangent,
            numerator: [k1, k2, k3, 0.0],
            denominator: [k4, k5, k6],
            tangential: [p1, p2],
            prism: [s1, s2, s3, s4],
            tilt: [x, y],
        })
    }

    /// Where a sensor that is not tilted would have what this one has at `at`, both in focal lengths; `None`
    /// where no ray of the lens arrives.
    fn untilted(&self, [x, y]: [f64; 2]) -> Option<[f64; 2]> {
        if self.tilt == [0.0; 2] {
            return Some([x, y]);
        }
        let point = tilt(self.tilt).try_inverse()? * nalgebra::Vector3::new(x, y, 1.0);
        (0.0 < point.z).then(|| [point.x / point.z, point.y / point.z])
    }

    /// The direction that the lens shows at `pixel`, in focal lengths from the centre, searched from `near`.
    /// This is the direction that a straight line in the image from there leads to without a fold: beyond a
    /// fold the polynomials of a lens describe nothing that exists, though they may come by the same place
    /// again.
    /// `None` where no such point exists.
    pub(super) fn seen(&self, near: Sighting, pixel: [f64; 2]) -> Option<Sighting> {
        let target = self.untilted(pixel)?;
        if *self == Self::default() {
            return Some(Sighting { direction: target, at: target });
        }
        let (mut last, mut done, mut step) = (near, 0.0, 1.0);
        while done < 1.0 {
            let share = f64::min(done + step, 1.0);
            let at = [0, 1].map(|i| near.at[i] + share * (target[i] - near.at[i]));
            match self.newton(last.direction, at).filter(|found| self.is_regular(last.direction, *found)) {
                Some(direction) => {
                    (last, done, step) = (Sighting { direction, at }, share, 2.0 * step);
                }
                None if step <= SHORTEST => return None,
                None => step /= 2.0,
            }
        }
        Some(last)
    }

    /// x/z and y/z of a direction; `None` for one that is not in front of the camera.
    pub(super) fn ray(&self, Sighting { direction: [x, y], .. }: Sighting) -> Option<[f64; 2]> {
        match self.radius {
            Radius::Tangent => Some([x, y]),
            Radius::Angle => {
                let angle = x.hypot(y);
                let scale = if angle == 0.0 { 1.0 } else { angle.tan() / angle };
                (angle < FRAC_PI_2).then_some([x * scale, y * scale])
            }
        }
    }

    fn newton(&self, start: [f64; 2], target: [f64; 2]) -> Option<[f64; 2]> {
        let mut direction = start;
        for _ in 0..NEWTON_STEPS {
            let Bend { to, jacobian: [[a, b], [c, d]], determinant, is_regular } = self.bend(direction);
            if !is_regular {
                return None;
            }
            let [x, y] = [target[0] - to[0], target[1] - to[1]];
            if x.hypot(y) < NEAR {
                return Some(direction);
            }
            direction[0] += (d * x - b * y) / determinant;
            direction[1] += (a * y - c * x) / determinant;
        }
        None
    }

    /// Whether there is no fold from one direction to another.
    fn is_regular(&self, from: [f64; 2], to: [f64; 2]) -> bool {
        let way = [to[0] - from[0], to[1] - from[1]];
        let n = (way[0].hypot(way[1]) / LOOK).ceil().clamp(1.0, MOST_LOOKS);
        (1..n as u32).all(|i| {
            let share = f64::from(i) / n;
            self.bend([from[0] + share * way[0], from[1] + share * way[1]]).is_regular
        })
    }

    fn bend(&self, [x, y]: [f64; 2]) -> Bend {
        let Self { numerator: [n1, n2, n3, n4], denominator: [d1, d2, d3], .. } = self;
        let ([p1, p2], [s1, s2, s3, s4]) = (self.tangential, self.prism);
        let u = x * x + y * y;
        let above = 1.0 + u * (n1 + u * (n2 + u * (n3 + u * n4)));
        let below = 1.0 + u * (d1 + u * (d2 + u * d3));
        let above_slope = n1 + u * (2.0 * n2 + u * (3.0 * n3 + u * 4.0 * n4));
        let below_slope = d1 + u * (2.0 * d2 + u * 3.0 * d3);
        let scale = above / below;
        // By u, doubled.
        let slope = 2.0 * (above_slope - scale * below_slope) / below;
        let (prism_x, prism_y) = (2.0 * (s1 + 2.0 * u * s2), 2.0 * (s3 + 2.0 * u * s4));
        let mixed = x * y * slope + 2.0 * (p1 * x + p2 * y);
        let to = [
            x * scale + 2.0 * p1 * x * y + p2 * (u + 2.0 * x * x) + u * (s1 + u * s2),
            y * scale + p1 * (u + 2.0 * y * y) + 2.0 * p2 * x * y + u * (s3 + u * s4),
        ];
        let jacobian = [
            [scale + x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x + x * prism_x, mixed + y * prism_x],
            [mixed + x * prism_y, scale + y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x + y * prism_y],
        ];
        let determinant = jacobian[0][0] * jacobian[1][1] - jacobian[0][1] * jacobian[1][0];
        // Comparisons that NaN does not pass.
        let is_regular = 0.0 < below && 0.0 < scale && 0.0 < determinant;
        Bend { to, jacobian, determinant, is_regular }
    }
}

/// From a sensor across the axis to one that is tilted about it, as OpenCV's calib3d documents it.
fn tilt([x, y]: [f64; 2]) -> Matrix3<f64> {
    let ((sx, cx), (sy, cy)) = (x.sin_cos(), y.sin_cos());
    let about_x = Matrix3::new(1.0, 0.0, 0.0, 0.0, cx, sx, 0.0, -sx, cx);
    let about_y = Matrix3::new(cy, 0.0, -sy, 0.0, 1.0, 0.0, sy, 0.0, cy);
    let turned = about_y * about_x;
    let [r13, r23, r33] = [turned[(0, 2)], turned[(1, 2)], turned[(2, 2)]];
    Matrix3::new(r33, 0.0, -r13, 0.0, r33, -r23, 0.0, 0.0, 1.0) * turned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `d` shows `ray` at `seen` for a focal length of 1.
    fn check(model: &str, d: &[f64], ray: [f64; 2], seen: [f64; 2]) {
        let lens = Lens::new(model, d).unwrap();
        let found = lens.ray(lens.seen(Sighting::default(), seen).unwrap()).unwrap();
        assert!((found[0] - ray[0]).hypot(found[1] - ray[1]) < 1e-8, "{model} {d:?}: {found:?}");
    }

    #[test]
    fn rays_are_where_opencv_sees_them() {
        let usb_cam = [-0.338, 0.121, 0.00052, -0.00081, -0.019];
        check("plumb_bob", &usb_cam, [0.6, -0.4], [0.5113181088, -0.3408891392]);
        let azure_kinect = [0.511, -2.612, 0.00048, -0.00021, 1.472, 0.391, -2.437, 1.402];
        check("rational_polynomial", &azure_kinect, [0.6, -0.4], [0.6196761396458267, -0.4129406264305512]);
        let tilted =
            [-0.31, 0.11, 0.0003, 0.0002, -0.016, 0.01, 0.002, 0.0, 0.001, 0.0, -0.002, 0.0, 0.03, -0.05];
        check("rational_polynomial", &tilted, [0.6, -0.4], [0.5262587143168037, -0.35024472985304006]);
        let fisheye = [-0.0081, 0.0421, -0.0393, 0.0071];
        check("equidistant", &fisheye, [3.0, -4.0], [0.7916078064986107, -1.055477075331481]);
        check("equidistant", &[0.0; 4], [3.0, -4.0], [0.8240404601670096, -1.0987206135560128]);
    }

    #[test]
    fn zeros_at_the_end_say_nothing_and_what_is_missing_is_zero() {
        let all = [0.11, -0.12, 0.013, 0.014, 0.15, 0.16, 0.17, 0.18, 0.019, 0.02, 0.021, 0.022, 0.01, 0.02];
        for model in ["plumb_bob", "rational_polynomial", "equidistant"] {
            let most = if model == "equidistant" { 4 } else { 14 };
            for n in 0..=most {
                let lens = Lens::new(model, &all[..n]);
                for n_zeros in [1, 3, 50] {
                    let padded = [&all[..n], &vec![0.0; n_zeros]].concat();
                    assert_eq!(Lens::new(model, &padded), lens, "{model} of {n} and {n_zeros} zeros");
                }
                assert!(lens.is_ok(), "{model} of {n}: {lens:?}");
            }
            for n in [most + 1, 30] {
                let text = Lens::new(model, &vec![0.1; n]).unwrap_err().to_string();
                let expect = format!("{model} has {n} coefficients here, at most {most} are known");
                assert!(text.contains(&expect), "{text}");
            }
        }
        for n in 0..14 {
            let two = ["plumb_bob", "rational_polynomial"].map(|model| Lens::new(model, &all[..n]));
            assert_eq!(two[0], two[1], "the same formula");
        }
    }

    #[test]
    fn no_distortion_has_many_names() {
        let check =
            |model: &str, d: &[f64]| assert_eq!(Lens::new(model, d), Ok(Lens::default()), "{model} {d:?}");
        for zeros in [&[][..], &[0.0; 5], &[-0.0; 8], &[0.0; 20]] {
            for model in ["", "none", "None", "plumb_bob", "rational_polynomial", "omni"] {
                check(model, zeros);
            }
        }
        // Zeros are an angle in proportion there.
        assert_ne!(Lens::new("equidistant", &[0.0; 4]), Ok(Lens::default()));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let check = |model: &str, d: &[f64], expect: &str| {
            let text = Lens::new(model, d).unwrap_err().to_string();
            assert!(text.contains(expect), "{text}");
        };
        check("omni", &[0.1], "the distortion model \"omni\" is not known");
        check(
            "",
            &[0.1, 0.0, 0.2, 0.0, 0.0],
            "is \"\" and D has 3 coefficients: the driver has to name their model",
        );
        check("none", &[0.1], "is \"none\" and D has 1");
        check("a\nb", &[0.1], "a\\nb");
        let tilted = [&[0.0; 12][..], &[1.4, 0.0]].concat();
        check("plumb_bob", &tilted, "D tilts the sensor by 1.4 and 0 radians");
    }

    #[test]
    fn a_fisheye_sees_beyond_a_right_angle_where_no_ray_is_in_front() {
        let lens = Lens::new("equidistant", &[0.02, -0.004, 0.0, 0.0]).unwrap();
        for degrees in [10.0f64, 60.0, 89.0, 89.9, 90.1, 100.0, 110.0] {
            let angle = degrees.to_radians();
            let radius = angle * (1.0 + 0.02 * angle.powi(2) - 0.004 * angle.powi(4));
            let seen = lens.seen(Sighting::default(), [-radius, 0.0]);
            let ray = seen.and_then(|seen| lens.ray(seen));
            assert_eq!(ray.is_some(), degrees < 90.0, "{degrees}: {ray:?}");
            let is_near = |[x, y]: [f64; 2]| (x / -angle.tan() - 1.0).abs() < 1e-5 && y == 0.0;
            assert!(ray.is_none_or(is_near), "{degrees}: {ray:?}");
        }
    }
}
