//! Whether a camera's calibration serves a frame, and what is lost when it does not.

use std::fmt;

use crate::geometry::{Calibration, CalibrationError, CameraModel, LensError, Size};
use crate::runtime::wanted::{Topic, Topics};

/// Why a frame has no calibration, or not all of it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Uncalibrated {
    /// The camera has told none.
    #[error("no CameraInfo has come: start the camera's, or remap camera_info")]
    Missing,
    /// What it has told is no calibration.
    #[error("the camera is not calibrated: {error}; calibrate it, or mend its CameraInfo")]
    Unusable {
        /// Why not.
        error: CalibrationError,
    },
    /// It is that of other images.
    #[error("the CameraInfo is for {}, the images are {image}", images(model))]
    Size {
        /// What it is.
        model: Box<CameraModel>,
        /// What comes.
        image: Size,
    },
    /// The distortion is not one that can be undone.
    #[error("{error}")]
    Lens {
        /// Why not.
        error: LensError,
    },
    /// The rest of it serves.
    #[error("its {} holds numbers that are not finite, so zeros go out in its place", parts.join(" and "))]
    Partly {
        /// As CameraInfo names them.
        parts: Vec<&'static str>,
    },
}

impl Uncalibrated {
    /// A short name for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "no CameraInfo",
            Self::Unusable { .. } => "not calibrated",
            Self::Size { .. } => "CameraInfo of another size",
            Self::Lens { .. } => "distortion",
            Self::Partly { .. } => "CameraInfo not finite",
        }
    }
}

/// The images that `model` is for, with how they come about where that is not plain.
fn images(model: &CameraModel) -> String {
    let (size, readout) = (model.size(), model.readout());
    if readout.is_part() { format!("{size} (a sensor of {readout})") } else { size.to_string() }
}

/// Something that a frame goes out without.
#[derive(Clone, Debug, PartialEq)]
pub struct Lack {
    /// What, such as `no points`.
    pub lost: Vec<&'static str>,
    /// Why.
    pub why: Uncalibrated,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.lost.join(", "), self.why)
    }
}

/// The calibration if it is one of images of this size.
///
/// # Errors
/// Why it is not.
pub fn usable(calibration: Option<&Calibration>, image: Size) -> Result<&CameraModel, Uncalibrated> {
    match calibration {
        None => Err(Uncalibrated::Missing),
        Some(Err(error)) => Err(Uncalibrated::Unusable { error: error.clone() }),
        Some(Ok(model)) if model.size() != image => {
            Err(Uncalibrated::Size { model: Box::new(model.clone()), image })
        }
        Some(Ok(model)) => Ok(model),
    }
}

/// Outputs that carry the numbers of a CameraInfo, and what is said when they are lost.
const INFOS: [(Topic, &str); 3] = [
    (Topic::GridInfo, "no features/camera_info"),
    (Topic::DepthInfo, "no depth/camera_info"),
    (Topic::LabelsInfo, "no segmentation/camera_info"),
];

/// What is said when there are no points.
pub const NO_POINTS: &str = "no points";

/// The calibration for what is `wanted` of an image of this size if any of it needs one, and all that is lost without it.
/// `is_scaled` says whether the depth that is wanted is made for one focal length.
pub(super) fn calibration(
    calibration: Option<&Calibration>,
    image: Size,
    wanted: Topics,
    is_scaled: bool,
) -> (Option<&CameraModel>, Vec<Lack>) {
    let infos = INFOS.into_iter().filter(|(topic, _)| wanted.contains(*topic)).map(|(_, lost)| lost);
    let wants_points = wanted.contains(Topic::Points);
    let mut lost: Vec<&str> = infos.collect();
    let wants_infos = !lost.is_empty();
    lost.extend(wants_points.then_some(NO_POINTS));
    lost.extend(is_scaled.then_some("depth is not scaled to this camera's focal length"));
    if lost.is_empty() {
        return (None, Vec::new());
    }
    let model = match usable(calibration, image) {
        Ok(model) => model,
        Err(why) => return (None, vec![Lack { lost, why }]),
    };
    let mut lacks = Vec::new();
    if let (true, Err(error)) = (wants_points, model.optics()) {
        lacks.push(Lack { lost: vec![NO_POINTS], why: Uncalibrated::Lens { error } });
    }
    if wants_infos && !model.blanked().is_empty() {
        let why = Uncalibrated::Partly { parts: model.blanked().to_vec() };
        lacks.push(Lack { lost: vec!["camera_info is not whole"], why });
    }
    (Some(model), lacks)
}
