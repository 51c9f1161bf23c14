//! `sensor_msgs/CameraInfo` to and from the calibration of the image as it is delivered.

use super::messages::{CameraInfo, Header};
use crate::geometry::{Calibration, CameraModel, Intrinsics, Projection, Readout, Rect, Size};

/// Calibration of the images that the camera sends and that `projection` holds for: a message describes the
/// full sensor, of which a driver may send a region or bins of several pixels. `roi.do_rectify` is about
/// regions of other images, and changes nothing here.
pub(in crate::ros) fn calibration(info: CameraInfo, projection: Projection) -> Calibration {
    let CameraInfo { width, height, distortion_model, d, k, r, p, roi, .. } = info;
    let size = Size { width, height };
    let region =
        Rect { left: roi.x_offset, top: roi.y_offset, size: Size { width: roi.width, height: roi.height } };
    let readout = Readout::new(size, [info.binning_x, info.binning_y], region)?;
    CameraModel::new(Intrinsics { size, distortion_model, d, k, r, p }, readout, projection)
}

/// The message for `intrinsics`, without region and binning.
pub(super) fn camera_info(header: Header, intrinsics: Intrinsics) -> CameraInfo {
    let Intrinsics { size, distortion_model, d, k, r, p } = intrinsics;
    CameraInfo {
        header,
        height: size.height,
        width: size.width,
        distortion_model,
        d,
        k,
        r,
        p,
        ..CameraInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ros::wire::messages::RegionOfInterest;

    const K: [f64; 9] = [600.0, 0.0, 639.5, 0.0, 620.0, 359.5, 0.0, 0.0, 1.0];
    const P: [f64; 12] = [600.0, 0.0, 639.5, -60.0, 0.0, 620.0, 359.5, 0.0, 0.0, 0.0, 1.0, 0.0];

    fn info() -> CameraInfo {
        CameraInfo { width: 1280, height: 720, k: K, p: P, d: vec![0.1; 5], ..CameraInfo::default() }
    }

    fn check(binning: u32, roi: [u32; 4], size: (u32, u32), f: (f64, f64), c: (f64, f64)) {
        let [x_offset, y_offset, width, height] = roi;
        let info = CameraInfo {
            distortion_model: "plumb_bob".to_owned(),
            binning_x: binning,
            binning_y: binning,
            roi: RegionOfInterest { x_offset, y_offset, height, width, do_rectify: true },
            ..info()
        };
        for projection in [Projection::Raw, Projection::Rectified] {
            let model = calibration(info.clone(), projection).unwrap();
            assert_eq!(model.focal_length(), f.0.sqrt() * f.1.sqrt());
            let intrinsics = model.into_intrinsics();
            assert_eq!((intrinsics.size.width, intrinsics.size.height), size);
            assert_eq!(((intrinsics.k[0], intrinsics.k[4]), (intrinsics.k[2], intrinsics.k[5])), (f, c));
            assert_eq!(((intrinsics.p[0], intrinsics.p[5]), (intrinsics.p[2], intrinsics.p[6])), (f, c));
            assert_eq!(intrinsics.d, info.d);
        }
    }

    #[test]
    fn intrinsics_are_those_of_the_image_that_is_sent() {
        check(0, [0; 4], (1280, 720), (600.0, 620.0), (639.5, 359.5));
        check(1, [0, 0, 1280, 720], (1280, 720), (600.0, 620.0), (639.5, 359.5));
        check(2, [0; 4], (640, 360), (300.0, 310.0), (319.5, 179.5));
        check(1, [100, 50, 640, 480], (640, 480), (600.0, 620.0), (539.5, 309.5));
        check(2, [100, 50, 640, 480], (320, 240), (300.0, 310.0), (269.5, 154.5));
    }

    #[test]
    fn intrinsics_survive_the_message() {
        let once = calibration(info(), Projection::Rectified).unwrap();
        let message = camera_info(Header::default(), once.clone().into_intrinsics());
        assert_eq!(calibration(message, Projection::Rectified), Ok(once));
    }

    #[test]
    fn a_region_beyond_the_sensor_is_no_calibration() {
        let roi = RegionOfInterest { x_offset: 1000, width: 640, height: 480, ..RegionOfInterest::default() };
        let text = calibration(CameraInfo { roi, ..info() }, Projection::Raw).unwrap_err().to_string();
        assert_eq!(text, "the region of interest 640x480 at (1000, 0) is not within 1280x720");
    }
}
