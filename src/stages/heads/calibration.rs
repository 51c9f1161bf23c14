//! Whether a camera's calibration serves a frame, and what is lost when it does not.

use std::fmt;
use std::mem::{Discriminant, discriminant};

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

/// Kinds of causes, of which there are a few.
pub type CauseKind =
    (Discriminant<Uncalibrated>, Option<Discriminant<CalibrationError>>, Option<Discriminant<LensError>>);

impl Uncalibrated {
    /// The same for causes that differ in their numbers only.
    pub fn kind(&self) -> CauseKind {
        let (unusable, lens) = match self {
            Self::Unusable { error } => (Some(discriminant(error)), None),
            Self::Lens { error } => (None, Some(discriminant(error))),
            Self::Missing | Self::Size { .. } | Self::Partly { .. } => (None, None),
        };
        (discriminant(self), unusable, lens)
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

/// The calibration for what is `wanted` of an image of this size if any of it needs one, and all that is lost
/// without it. `is_scaled` says whether the depth that is wanted is made for one focal length.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Intrinsics, Projection, Readout, Rect};

    const SIZE: Size = Size { width: 640, height: 480 };

    fn camera(change: impl Fn(&mut Intrinsics), binning: u32) -> Calibration {
        let k = [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0];
        let (distortion_model, d) = ("plumb_bob".to_owned(), vec![0.1, -0.2, 0.0, 0.0, 0.0]);
        let mut numbers = Intrinsics { size: SIZE, distortion_model, d, k, r: [0.0; 9], p: [0.0; 12] };
        change(&mut numbers);
        let whole = Rect { left: 0, top: 0, size: numbers.size };
        let readout = Readout::new(numbers.size, [binning; 2], whole)?;
        CameraModel::new(numbers, readout, Projection::Raw)
    }

    fn check(camera: Option<Calibration>, wanted: &[Topic], is_scaled: bool, expect: (bool, &[&str])) {
        let wanted = wanted.iter().copied().collect();
        let (found, lacks) = calibration(camera.as_ref(), SIZE, wanted, is_scaled);
        let texts: Vec<_> = lacks.iter().map(Lack::to_string).collect();
        assert_eq!((found.is_some(), texts.len()), (expect.0, expect.1.len()), "{texts:?}");
        for (text, expect) in texts.iter().zip(expect.1) {
            assert!(text.contains(expect), "{text:?} is not {expect:?}");
        }
    }

    #[test]
    fn only_what_somebody_wants_can_be_lost() {
        let points = [Topic::Depth, Topic::Points];
        check(None, &[Topic::Depth, Topic::Labels], false, (false, &[]));
        check(None, &points, false, (false, &["no points: no CameraInfo has come"]));
        let unscaled = "depth is not scaled to this camera's focal length";
        let expect = format!("no points, {unscaled}: no CameraInfo has come");
        check(None, &points, true, (false, &[&expect]));
        let infos = [Topic::GridInfo, Topic::DepthInfo, Topic::LabelsInfo];
        let expect =
            "no features/camera_info, no depth/camera_info, no segmentation/camera_info: no CameraInfo";
        check(None, &infos, false, (false, &[expect]));
        check(Some(camera(|_| (), 1)), &[&infos[..], &points[..]].concat(), true, (true, &[]));
    }

    #[test]
    fn each_cause_is_named() {
        let wanted = [Topic::Points, Topic::GridInfo];
        let broken = camera(|of| of.d[1] = f64::NAN, 1);
        check(Some(broken), &wanted, false, (false, &["the camera is not calibrated: D holds NaN"]));
        let zero = camera(|of| of.k = [0.0; 9], 1);
        check(Some(zero), &wanted, true, (false, &["the camera is not calibrated: K is all zeros"]));
        let other = camera(|of| of.size.width = 320, 1);
        check(
            Some(other),
            &wanted,
            false,
            (false, &["the CameraInfo is for 320x480, the images are 640x480"]),
        );
        let binned =
            "the CameraInfo is for 320x240 (a sensor of 640x480 with binning 2x2), the images are 640x480";
        check(Some(camera(|_| (), 2)), &wanted, false, (false, &[binned]));
        // What the distortion has no part in goes out.
        let omni = || camera(|of| of.distortion_model = "omni".to_owned(), 1);
        check(
            Some(omni()),
            &wanted,
            true,
            (true, &["no points: the distortion model \"omni\" is not known"]),
        );
        check(Some(omni()), &wanted[1..], true, (true, &[]));
        let partly = || camera(|of| of.p[0] = f64::NAN, 1);
        check(Some(partly()), &wanted, false, (true, &["camera_info is not whole: its P holds numbers"]));
        check(Some(partly()), &[Topic::Points], false, (true, &[]));
    }
}
