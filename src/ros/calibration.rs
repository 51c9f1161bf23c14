//! `sensor_msgs/CameraInfo` to and from the calibration of the picture as it is delivered.

use super::messages::{CameraInfo, Header};
use crate::geometry::{Intrinsics, Size};

/// Calibration of the pixels that the camera sends: its message describes the full sensor, of
/// which a driver may send a region or bins of several pixels.
pub(super) fn intrinsics(info: CameraInfo) -> Intrinsics {
    let bin = |n: u32| n.max(1);
    let (bin_x, bin_y) = (bin(info.binning_x), bin(info.binning_y));
    let side = |part: u32, full: u32| if part == 0 { full } else { part };
    let axis = |n: u32, offset: u32| Axis { scale: 1.0 / f64::from(n), offset: f64::from(offset) };
    let (x, y) = (axis(bin_x, info.roi.x_offset), axis(bin_y, info.roi.y_offset));
    let CameraInfo { mut k, mut p, .. } = info;
    (k[0], k[1], k[2]) = (k[0] * x.scale, k[1] * x.scale, x.centre(k[2]));
    (k[4], k[5]) = (k[4] * y.scale, y.centre(k[5]));
    (p[0], p[1], p[2], p[3]) = (p[0] * x.scale, p[1] * x.scale, x.centre(p[2]), p[3] * x.scale);
    (p[5], p[6], p[7]) = (p[5] * y.scale, y.centre(p[6]), p[7] * y.scale);
    Intrinsics {
        size: Size {
            width: side(info.roi.width, info.width) / bin_x,
            height: side(info.roi.height, info.height) / bin_y,
        },
        distortion_model: info.distortion_model,
        d: info.d,
        k,
        r: info.r,
        p,
    }
}

/// From the sensor's pixels to those of the picture along one axis.
struct Axis {
    scale: f64,
    offset: f64,
}

impl Axis {
    fn centre(&self, sensor: f64) -> f64 {
        // Pixel centres are whole numbers; without binning this is the plain difference.
        (sensor - self.offset + 0.5) * self.scale - 0.5
    }
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
    use crate::ros::messages::RegionOfInterest;

    const K: [f64; 9] = [600.0, 0.0, 639.5, 0.0, 620.0, 359.5, 0.0, 0.0, 1.0];
    const P: [f64; 12] = [600.0, 0.0, 639.5, -60.0, 0.0, 620.0, 359.5, 0.0, 0.0, 0.0, 1.0, 0.0];

    fn check(binning: u32, roi: [u32; 4], size: (u32, u32), f: (f64, f64), c: (f64, f64)) {
        let [x_offset, y_offset, width, height] = roi;
        let found = intrinsics(CameraInfo {
            width: 1280,
            height: 720,
            k: K,
            p: P,
            binning_x: binning,
            binning_y: binning,
            roi: RegionOfInterest { x_offset, y_offset, height, width, do_rectify: false },
            ..CameraInfo::default()
        });
        assert_eq!((found.size.width, found.size.height), size);
        assert_eq!(((found.k[0], found.k[4]), (found.k[2], found.k[5])), (f, c));
        assert_eq!(((found.p[0], found.p[5]), (found.p[2], found.p[6])), (f, c));
    }

    #[test]
    fn intrinsics_are_those_of_the_picture_that_is_sent() {
        check(0, [0; 4], (1280, 720), (600.0, 620.0), (639.5, 359.5));
        check(1, [0, 0, 1280, 720], (1280, 720), (600.0, 620.0), (639.5, 359.5));
        check(2, [0; 4], (640, 360), (300.0, 310.0), (319.5, 179.5));
        check(1, [100, 50, 640, 480], (640, 480), (600.0, 620.0), (539.5, 309.5));
        check(2, [100, 50, 640, 480], (320, 240), (300.0, 310.0), (269.5, 154.5));
    }

    #[test]
    fn intrinsics_survive_the_message() {
        let info = CameraInfo { width: 16, height: 9, k: K, p: P, d: vec![0.1; 5], ..CameraInfo::default() };
        let once = intrinsics(info);
        assert_eq!(intrinsics(camera_info(Header::default(), once.clone())), once);
    }
}
