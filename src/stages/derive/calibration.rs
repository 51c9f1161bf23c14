//! Whether a camera's calibration serves a frame, and what is lost when it does not.

use std::fmt;
use std::mem::{Discriminant, discriminant};

use crate::geometry::{Calibration, CalibrationError, CameraModel, LensError, Size};
use crate::outputs::{Calibrated, Topic, Topics};

/// Why a frame has no calibration, or not all of it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Uncalibrated {
    /// The camera has told none.
    #[error("no CameraInfo has arrived: publish the camera's, or remap camera_info")]
    Missing,
    /// What it has told is no calibration.
    #[error("the camera is not calibrated: {error}; calibrate it, or fix its CameraInfo")]
    Unusable {
        /// Why not.
        error: CalibrationError,
    },
    /// The CameraInfo is for images of another size.
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

/// The kind of a cause, of which there are a few: the same for causes that differ in their numbers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CauseKind {
    cause: Discriminant<Uncalibrated>,
    unusable: Option<Discriminant<CalibrationError>>,
    lens: Option<Discriminant<LensError>>,
}

impl Uncalibrated {
    /// The kind of this cause.
    pub fn kind(&self) -> CauseKind {
        let (unusable, lens) = match self {
            Self::Unusable { error } => (Some(discriminant(error)), None),
            Self::Lens { error } => (None, Some(discriminant(error))),
            Self::Missing | Self::Size { .. } | Self::Partly { .. } => (None, None),
        };
        CauseKind { cause: discriminant(self), unusable, lens }
    }
}

/// The images that `model` is for, with how they come about where that is not plain.
fn images(model: &CameraModel) -> String {
    let (size, readout) = (model.size(), model.readout());
    if readout.is_part() { format!("{size} (a sensor of {readout})") } else { size.to_string() }
}

/// Something that a frame goes out without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A whole output.
    Output(Topic),
    /// The scale of a depth head that was trained with one focal length.
    DepthScale,
    /// Numbers of every CameraInfo among the outputs.
    Numbers,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output(topic) => write!(f, "no {}", topic.name()),
            Self::DepthScale => f.write_str("depth is not scaled to this camera's focal length"),
            Self::Numbers => f.write_str("camera_info is not whole"),
        }
    }
}

/// What a frame goes out without, for one reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Lack {
    /// What.
    pub lost: Vec<Lost>,
    /// Why.
    pub why: Uncalibrated,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, lost) in self.lost.iter().enumerate() {
            write!(f, "{}{lost}", if index == 0 { "" } else { ", " })?;
        }
        write!(f, ": {}", self.why)
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

/// What of an image of this size is lost without a calibration, and the calibration itself if anything needs
/// one.
#[derive(Debug, Default)]
pub(super) struct Judged<'a> {
    pub(super) model: Option<&'a CameraModel>,
    pub(super) lacks: Vec<Lack>,
}

/// Judges the calibration for what is `wanted` of an image of this size. `is_scaled` says whether the depth
/// that is wanted is made for one focal length.
pub(super) fn judge(
    calibration: Option<&Calibration>,
    image: Size,
    wanted: Topics,
    is_scaled: bool,
) -> Judged<'_> {
    let that_need = |need| {
        let outputs = wanted.outputs().filter(move |output| output.calibration == need);
        outputs.map(|output| Lost::Output(output.topic)).collect::<Vec<_>>()
    };
    let (numbers, lens) = (that_need(Calibrated::Numbers), that_need(Calibrated::Lens));
    let lost = [&numbers[..], &lens, if is_scaled { &[Lost::DepthScale] } else { &[] }].concat();
    if lost.is_empty() {
        return Judged::default();
    }
    let model = match usable(calibration, image) {
        Ok(model) => model,
        Err(why) => return Judged { model: None, lacks: vec![Lack { lost, why }] },
    };
    let mut lacks = Vec::new();
    if let (false, Err(error)) = (lens.is_empty(), model.optics()) {
        lacks.push(Lack { lost: lens, why: Uncalibrated::Lens { error } });
    }
    if !numbers.is_empty() && !model.blanked().is_empty() {
        let why = Uncalibrated::Partly { parts: model.blanked().to_vec() };
        lacks.push(Lack { lost: vec![Lost::Numbers], why });
    }
    Judged { model: Some(model), lacks }
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
        let Judged { model, lacks } = judge(camera.as_ref(), SIZE, wanted, is_scaled);
        let texts: Vec<_> = lacks.iter().map(Lack::to_string).collect();
        assert_eq!((model.is_some(), texts.len()), (expect.0, expect.1.len()), "{texts:?}");
        for (text, expect) in texts.iter().zip(expect.1) {
            assert!(text.contains(expect), "{text:?} is not {expect:?}");
        }
    }

    #[test]
    fn only_what_somebody_wants_can_be_lost() {
        let points = [Topic::Depth, Topic::Points];
        check(None, &[Topic::Depth, Topic::Labels], false, (false, &[]));
        check(None, &points, false, (false, &["no points: no CameraInfo has arrived"]));
        let unscaled = "depth is not scaled to this camera's focal length";
        let expect = format!("no points, {unscaled}: no CameraInfo has arrived");
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
