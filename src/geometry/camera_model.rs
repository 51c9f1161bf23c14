//! What a calibration means for the images of one topic: checked once, then used for depth, points and camera_info.

use nalgebra::Affine2;

use super::{Intrinsics, Lens, LensError, Optics, Pinhole, Readout, Rect, Size};

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
    /// That of the images on `topic`: image_proc calls rectified ones `image_rect` and `image_rect_color`.
    pub fn of_topic(topic: &str) -> Self {
        let parts = topic.rsplit('/').take(2);
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

/// What is known of a camera once a CameraInfo has come.
pub type Calibration = Result<CameraModel, CalibrationError>;

/// A calibration that can be computed with: every number that the image's projection uses is finite, and no other that
/// is not is left in it.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraModel {
    intrinsics: Intrinsics,
    projection: Projection,
    /// Scaling does not touch it.
    lens: Result<Lens, LensError>,
    readout: Readout,
    blanked: Vec<&'static str>,
}

/// Numbers beyond this are nobody's measurement. What is smaller stays finite however an image is scaled.
const LARGEST: f64 = 1e12;
/// Focal lengths in widths or heights of the image: a fisheye's is a sixth, a telescope's some thousand, and an image
/// may be a small part of the sensor.
const FOCAL_LENGTHS: std::ops::Range<f64> = 1e-3..1e7;
/// The same for how far the principal point may be from the image's corner.
const FARTHEST_CENTRE: f64 = 1e5;
/// The largest skew, in focal lengths: one degree is 0.017.
const LARGEST_SKEW: f64 = 0.2;
/// Coefficients that are taken of D; models have up to 14, and drivers add zeros.
const MOST_COEFFICIENTS: usize = 64;
/// Bytes of the name of a distortion model.
const LONGEST_NAME: usize = 64;

impl CameraModel {
    /// Checks `sensor`, the calibration of the whole sensor, for what the images under `projection` use of it, and makes
    /// it that of the images that `readout` sends. What they do not use and what is not finite becomes zeros, which
    /// CameraInfo has for "not known".
    ///
    /// # Errors
    /// Why the camera counts as not calibrated.
    pub fn new(
        mut sensor: Intrinsics,
        readout: Readout,
        projection: Projection,
    ) -> Result<Self, CalibrationError> {
        if sensor.size.width == 0 || sensor.size.height == 0 {
            return Err(CalibrationError::Size { size: sensor.size });
        }
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

    /// That no pixel of the image has a ray.
    pub fn no_ray(&self) -> LensError {
        let Intrinsics { distortion_model, d, .. } = &self.intrinsics;
        LensError::NoRay { model: distortion_model.clone(), d: d.clone() }
    }

    /// That of the image of `size` that `target_from_source` makes of this one's.
    pub fn under(&self, target_from_source: &Affine2<f64>, size: Size) -> Self {
        Self { intrinsics: self.intrinsics.under(target_from_source, size), ..self.clone() }
    }

    /// For a CameraInfo: all finite.
    pub fn into_intrinsics(self) -> Intrinsics {
        self.intrinsics
    }
}

fn is_plain(value: f64) -> bool {
    value.abs() < LARGEST
}

/// Checks a row-major camera matrix with a row length of 3 or 4: (f 0 c, 0 f c, 0 0 1), the fourth column apart.
fn check_matrix(
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

fn check_coefficients(of: &Intrinsics) -> Result<(), CalibrationError> {
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
fn blank(sensor: &mut Intrinsics) -> Vec<&'static str> {
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
