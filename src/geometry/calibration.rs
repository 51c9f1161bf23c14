//! Whether the numbers of a CameraInfo can be those of a camera.

use super::{Intrinsics, Readout, Rect, Size};

/// Why a CameraInfo is no calibration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// A driver sends zeros until the camera is calibrated.
    #[error("{matrix} is all zeros")]
    Zeros {
        /// As CameraInfo names it.
        matrix: &'static str,
    },
    /// A number that nothing can be computed with.
    #[error("{matrix} holds {value:e}")]
    Value {
        /// As CameraInfo names it.
        matrix: &'static str,
        /// NaN, infinite or beyond all measure.
        value: f64,
    },
    /// The camera looks backwards, or at nothing or everything.
    #[error("the focal lengths in {matrix} are {} and {} pixels, which no camera has", focal[0], focal[1])]
    FocalLength {
        /// As CameraInfo names it.
        matrix: &'static str,
        /// Horizontal and vertical, pixels.
        focal: [f64; 2],
    },
    /// The axis is far from the image.
    #[error("the principal point in {matrix} is ({}, {}), and its images are {size}", centre[0], centre[1])]
    Centre {
        /// As CameraInfo names it.
        matrix: &'static str,
        /// Column and row.
        centre: [f64; 2],
        /// As the CameraInfo has it.
        size: Size,
    },
    /// Transposed, or something else altogether.
    #[error("{matrix} has {value} where a camera matrix has {expected} (row {row}, column {column})")]
    Form {
        /// As CameraInfo names it.
        matrix: &'static str,
        /// Counted from 1.
        row: usize,
        /// Counted from 1.
        column: usize,
        /// What is there.
        value: f64,
        /// What should be.
        expected: f64,
    },
    /// The image's axes are far from square.
    #[error("the skew in {matrix} is {skew} pixels at a focal length of {focal}")]
    Skew {
        /// As CameraInfo names it.
        matrix: &'static str,
        /// Pixels.
        skew: f64,
        /// Horizontal, pixels.
        focal: f64,
    },
    /// Width or height is zero.
    #[error("its images are {size}")]
    Size {
        /// As the CameraInfo has it.
        size: Size,
    },
    /// The region of interest is not on the sensor.
    #[error("the region of interest {region} is not within {sensor}")]
    Region {
        /// As the CameraInfo has it.
        region: Rect,
        /// The whole.
        sensor: Size,
    },
    /// The binning takes more pixels together than there are.
    #[error("no pixel is left of {readout}")]
    Empty {
        /// What was asked for.
        readout: Readout,
    },
    /// More coefficients, or a longer name, than any model has.
    #[error("{field} has {n} {unit}, at most {most} are taken")]
    Long {
        /// As CameraInfo names it.
        field: &'static str,
        /// How many.
        n: usize,
        /// What is counted.
        unit: &'static str,
        /// How many are taken.
        most: usize,
    },
}

/// Numbers beyond this are nobody's measurement. What is smaller stays finite however an image is scaled.
const LARGEST: f64 = 1e12;
/// Focal lengths in widths or heights of the image: a fisheye's is a sixth, a telescope's some thousand, and
/// an image may be a small part of the sensor.
const FOCAL_LENGTHS: std::ops::Range<f64> = 1e-3..1e7;
/// The same for how far the principal point may be from the image's corner.
const FARTHEST_CENTRE: f64 = 1e5;
/// The largest skew, in focal lengths: one degree is 0.017.
const LARGEST_SKEW: f64 = 0.2;
/// Coefficients that are taken of D; models have up to 14, and drivers add zeros.
const MOST_COEFFICIENTS: usize = 64;
/// Bytes of the name of a distortion model.
const LONGEST_NAME: usize = 64;

fn is_plain(value: f64) -> bool {
    value.abs() < LARGEST
}

/// Checks a row-major matrix with 3 or 4 columns, of which the first three are (fx s cx, 0 fy cy, 0 0 1), for
/// images of `size`.
pub(super) fn check_matrix(
    matrix: &'static str,
    values: &[f64],
    n_columns: usize,
    size: Size,
) -> Result<(), CalibrationError> {
    if let Some(&value) = values.iter().find(|value| !is_plain(**value)) {
        return Err(CalibrationError::Value { matrix, value });
    }
    if values.iter().all(|value| *value == 0.0) {
        return Err(CalibrationError::Zeros { matrix });
    }
    let at = |row: usize, column: usize| values[row * n_columns + column];
    let focal = [at(0, 0), at(1, 1)];
    let sides = [size.width, size.height].map(f64::from);
    if !focal.iter().zip(sides).all(|(focal, side)| FOCAL_LENGTHS.contains(&(focal / side))) {
        return Err(CalibrationError::FocalLength { matrix, focal });
    }
    for (row, column, expected) in [(1, 0, 0.0), (2, 0, 0.0), (2, 1, 0.0), (2, 2, 1.0)] {
        let value = at(row, column);
        if 1e-6 < (value - expected).abs() {
            return Err(CalibrationError::Form { matrix, row: row + 1, column: column + 1, value, expected });
        }
    }
    let centre = [at(0, 2), at(1, 2)];
    if centre.iter().zip(sides).any(|(centre, side)| FARTHEST_CENTRE * side < centre.abs()) {
        return Err(CalibrationError::Centre { matrix, centre, size });
    }
    let skew = at(0, 1);
    if LARGEST_SKEW * focal[0] < skew.abs() {
        return Err(CalibrationError::Skew { matrix, skew, focal: focal[0] });
    }
    Ok(())
}

/// Checks `D` and the name of its model.
pub(super) fn check_coefficients(of: &Intrinsics) -> Result<(), CalibrationError> {
    let Intrinsics { distortion_model, d, .. } = of;
    let long = |field, n, unit, most| Err(CalibrationError::Long { field, n, unit, most });
    if MOST_COEFFICIENTS < d.len() {
        return long("D", d.len(), "coefficients", MOST_COEFFICIENTS);
    }
    if LONGEST_NAME < distortion_model.len() {
        return long("distortion_model", distortion_model.len(), "bytes", LONGEST_NAME);
    }
    match d.iter().find(|value| !is_plain(**value)) {
        Some(&value) => Err(CalibrationError::Value { matrix: "D", value }),
        None => Ok(()),
    }
}

/// Zeros in the place of every part that is not finite; their names.
pub(super) fn blank(sensor: &mut Intrinsics) -> Vec<&'static str> {
    let mut blanked = Vec::new();
    let Intrinsics { k, r, p, .. } = sensor;
    for (name, values) in [("K", &mut k[..]), ("R", &mut r[..]), ("P", &mut p[..])] {
        if !values.iter().all(|value| is_plain(*value)) {
            values.fill(0.0);
            blanked.push(name);
        }
    }
    if check_coefficients(sensor).is_err() {
        (sensor.d, sensor.distortion_model) = (Vec::new(), String::new());
        blanked.push("D");
    }
    blanked
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 640, height: 480 };
    const K: [f64; 9] = [600.0, 0.0, 320.0, 0.0, 610.0, 230.0, 0.0, 0.0, 1.0];

    #[test]
    fn a_camera_matrix_is_finite_and_looks_ahead() {
        let check = |changes: &[(usize, f64)], expect: Option<&str>| {
            let mut k = K;
            changes.iter().for_each(|&(index, value)| k[index] = value);
            let reason = check_matrix("K", &k, 3, SIZE).err().map(|err| err.to_string());
            assert_eq!(reason.as_deref(), expect, "{changes:?}");
        };
        check(&[], None);
        check(&[(1, 2.5)], None);
        check(&[(0, 110.0), (4, 110.0)], None);
        check(&[(2, -3000.0)], None);
        for index in 0..9 {
            check(&[(index, f64::NAN)], Some("K holds NaN"));
            check(&[(index, f64::NEG_INFINITY)], Some("K holds -inf"));
            check(&[(index, 1e300)], Some("K holds 1e300"));
        }
        let zeros: Vec<_> = (0..9).map(|index| (index, 0.0)).collect();
        check(&zeros, Some("K is all zeros"));
        check(&zeros[..5], Some("the focal lengths in K are 0 and 0 pixels, which no camera has"));
        check(&[(4, 0.0)], Some("the focal lengths in K are 600 and 0 pixels, which no camera has"));
        check(&[(0, -600.0)], Some("the focal lengths in K are -600 and 610 pixels, which no camera has"));
        check(
            &[(0, 1e-200)],
            Some(&format!("the focal lengths in K are {} and 610 pixels, which no camera has", 1e-200)),
        );
        check(
            &[(4, 1e11)],
            Some("the focal lengths in K are 600 and 100000000000 pixels, which no camera has"),
        );
        check(&[(5, 1e9)], Some("the principal point in K is (320, 1000000000), and its images are 640x480"));
        check(&[(1, -400.0)], Some("the skew in K is -400 pixels at a focal length of 600"));
        // Transposed, and the last row forgotten.
        check(&[(2, 0.0), (6, 320.0)], Some("K has 320 where a camera matrix has 0 (row 3, column 1)"));
        check(&[(8, 0.0)], Some("K has 0 where a camera matrix has 1 (row 3, column 3)"));
    }

    #[test]
    fn what_is_not_finite_becomes_unknown_and_the_rest_stays() {
        let good = Intrinsics {
            size: SIZE,
            distortion_model: "plumb_bob".into(),
            d: vec![0.1, 0.0, 0.0],
            k: K,
            r: [0.5; 9],
            p: [2.0; 12],
        };
        let check = |change: fn(&mut Intrinsics), expect: &[&str]| {
            let mut numbers = good.clone();
            change(&mut numbers);
            assert_eq!(blank(&mut numbers), expect);
            let is = |name, blanked: bool, same: bool| {
                assert!(if expect.contains(&name) { blanked } else { same });
            };
            is("K", numbers.k == [0.0; 9], numbers.k == good.k);
            is("R", numbers.r == [0.0; 9], numbers.r == good.r);
            is("P", numbers.p == [0.0; 12], numbers.p == good.p);
            is("D", numbers.d.is_empty() && numbers.distortion_model.is_empty(), numbers.d == good.d);
        };
        check(|_| (), &[]);
        check(|of| of.p[3] = f64::NAN, &["P"]);
        check(|of| (of.r[0], of.k[8]) = (f64::INFINITY, 1e300), &["K", "R"]);
        check(|of| of.d[2] = f64::NAN, &["D"]);
        check(|of| of.d = vec![0.0; 100_000], &["D"]);
        check(|of| of.distortion_model = "x".repeat(1_000_000), &["D"]);
    }
}
