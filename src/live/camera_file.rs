//! The calibration of a folder's images: `camera.yaml` beside them, as ROS's camera_calibration writes it, or the
//! six numbers of a pinhole.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::files;
use crate::geometry::{Calibration, CameraModel, Intrinsics, Projection, Readout, Rect, Size};

/// A calibration takes a few hundred.
const MOST_BYTES: u64 = 64 << 10;

/// What `camera.yaml` holds.
#[expect(clippy::large_enum_variant, reason = "one is made and used up at once")]
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum CameraFile {
    /// As camera_calibration writes it, and camera_calibration_parsers reads it.
    Calibrated {
        image_width: u32,
        image_height: u32,
        distortion_model: String,
        distortion_coefficients: Data<Vec<f64>>,
        camera_matrix: Data<[f64; 9]>,
        rectification_matrix: Data<[f64; 9]>,
        projection_matrix: Data<[f64; 12]>,
    },
    /// Focal lengths and principal point, pixels; no distortion.
    Pinhole { width: u32, height: u32, fx: f64, fy: f64, cx: f64, cy: f64 },
}

#[derive(Debug, Deserialize)]
struct Data<T> {
    data: T,
}

/// The calibration in the file `path`.
///
/// # Errors
/// The file cannot be read, or holds none.
pub(super) fn read(path: &Path) -> anyhow::Result<Calibration> {
    let reason = || format!("cannot read the calibration {}", path.display());
    let text = files::read_text(path, MOST_BYTES).with_context(reason)?;
    let file: CameraFile = serde_yaml::from_str(&text).with_context(reason)?;
    Ok(file.calibration())
}

impl CameraFile {
    fn calibration(self) -> Calibration {
        let intrinsics = match self {
            Self::Calibrated {
                image_width: width,
                image_height: height,
                distortion_model,
                distortion_coefficients,
                camera_matrix,
                rectification_matrix,
                projection_matrix,
            } => Intrinsics {
                size: Size { width, height },
                distortion_model,
                d: distortion_coefficients.data,
                k: camera_matrix.data,
                r: rectification_matrix.data,
                p: projection_matrix.data,
            },
            Self::Pinhole { width, height, fx, fy, cx, cy } => Intrinsics {
                size: Size { width, height },
                distortion_model: String::new(),
                d: Vec::new(),
                k: [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
                r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
                p: [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
            },
        };
        let whole = Rect { left: 0, top: 0, size: Size { width: 0, height: 0 } };
        let readout = Readout::new(intrinsics.size, [1, 1], whole)?;
        CameraModel::new(intrinsics, readout, Projection::Raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Calibration, String> {
        serde_yaml::from_str(text).map(CameraFile::calibration).map_err(|err| err.to_string())
    }

    #[test]
    fn both_forms_are_read() {
        let pinhole = "{width: 320, height: 240, fx: 230.5, fy: 231, cx: 159.5, cy: 119.5}";
        let calibrated = "
            image_width: 320
            image_height: 240
            camera_name: walk
            camera_matrix: {rows: 3, cols: 3, data: [230.5, 0, 159.5, 0, 231, 119.5, 0, 0, 1]}
            distortion_model: ''
            distortion_coefficients: {rows: 1, cols: 0, data: []}
            rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
            projection_matrix: {rows: 3, cols: 4, data: [230.5, 0, 159.5, 0, 0, 231, 119.5, 0, 0, 0, 1, 0]}";
        let model = parse(pinhole).unwrap().unwrap();
        assert_eq!(
            (model.size(), model.focal_length()),
            (Size { width: 320, height: 240 }, 230.5f64.sqrt() * 231f64.sqrt())
        );
        assert_eq!(parse(calibrated), Ok(Ok(model)));
    }

    #[test]
    fn what_is_no_calibration_is_told() {
        for text in ["", "[]", "{width: 320}", "{width: -1, height: 1, fx: 1, fy: 1, cx: 1, cy: 1}"] {
            assert!(parse(text).is_err(), "{text}");
        }
        let blind = "{width: 320, height: 240, fx: 0, fy: .nan, cx: 159.5, cy: 119.5}";
        assert!(parse(blind).unwrap().is_err());
    }

    #[test]
    fn the_room_walk_is_calibrated() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/room-walk/camera.yaml");
        assert_eq!(read(Path::new(path)).unwrap().unwrap().size(), Size { width: 320, height: 240 });
    }
}
