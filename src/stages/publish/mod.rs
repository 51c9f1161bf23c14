//! Publish: the last stage makes one frame's outputs ready for the wire and hands them to whoever
//! carries them away.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use image::ImageError;

use crate::config::DepthResolution;
use crate::encode::{self, Cloud, Surface};
use crate::geometry::{CameraModel, Optics, Size};
use crate::heads::UNLABELLED;
use crate::outputs::{Topic, Topics};
use crate::stages::derive::{DepthMap, Derived, LabelMap, Lack, Lost, RgbImage, Uncalibrated};

/// Carries outputs away: the ROS edge in the node, nothing at all in `bench`.
pub trait Sink: Send {
    /// Hands every wanted part of `derived` and `encoded` that is there to its topic, in one go and under one
    /// header. A part that cannot be sent is logged, throttled, by the sink.
    fn send(&mut self, derived: Derived, encoded: Encoded) -> Sent;

    /// Tells how long the frame of a camera that was sent last has taken, to those who want to know.
    fn tell(&mut self, camera: usize, wanted: Topics, times: FrameTimes);
}

/// How long a frame has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameTimes {
    /// From the camera's stamp to the hand-over of its last output; `None` where the clock does not know.
    pub pipeline_latency: Option<Duration>,
    /// From our callback to the hand-over of its last output.
    pub processing: Duration,
}

/// What became of the parts of one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Messages that went out.
    pub n_sent: usize,
    /// Messages that could not.
    pub n_failed: usize,
}

/// What travels encoded; what has no subscriber is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    /// For `~/features/pca/compressed`: a PNG file.
    pub pca: Option<Vec<u8>>,
    /// For `~/depth/image/compressedDepth`: header and PNG file.
    pub depth: Option<Vec<u8>>,
    /// For `~/depth/color/compressed`: a PNG file.
    pub depth_color: Option<Vec<u8>>,
    /// For `~/points`.
    pub points: Option<Cloud>,
    /// For `~/segmentation/image/compressed`: a PNG file with the labels.
    pub labels: Option<Vec<u8>>,
    /// For `~/segmentation/overlay/compressed`: a PNG file.
    pub overlay: Option<Vec<u8>>,
    /// What could not be made.
    pub lack: Option<Lack>,
}

/// How outputs are shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EncoderConfig {
    /// At which pixels `~/depth/image/compressedDepth` tells depth.
    pub depth_resolution: DepthResolution,
    /// Whether points have a label also where nothing is labelled yet.
    pub has_labels: bool,
    /// Depth pixels per point in each direction; `None` gives at most [`POINTS_PER_SIDE`] points in each.
    pub points_stride: Option<u32>,
}

/// Points of `~/points` in each direction unless a stride is given: 64 x 64 of 16 bytes are 64 KB.
pub const POINTS_PER_SIDE: u32 = 64;

/// Encodes what travels encoded.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    /// By camera.
    rays: BTreeMap<usize, Rays>,
}

/// The rays of a camera's last calibration, which seldom changes; none when its lens shows nothing.
#[derive(Debug)]
struct Rays {
    of: Optics,
    directions: Option<Vec<[f32; 2]>>,
}

impl Encoder {
    /// One for all cameras of a node.
    pub fn new(config: EncoderConfig) -> Self {
        Self { config, rays: BTreeMap::new() }
    }

    /// Encodes what of `derived` is wanted encoded; the overlay's colours hide `overlay_opacity` of the
    /// image, 0 to 1.
    ///
    /// # Errors
    /// The image encoder's own.
    pub fn encode(&mut self, derived: &Derived, overlay_opacity: f32) -> Result<Encoded, ImageError> {
        let wants = |topic| derived.wanted.contains(topic);
        let (pca, depth, labels) = (derived.pca.as_ref(), derived.depth.as_ref(), derived.labels.as_ref());
        let overlay = |map: &LabelMap| {
            let palette = map.palette();
            let colors = encode::overlay(&derived.pixels, &map.classes, &palette, overlay_opacity);
            encode::rgb8(&colors, map.size)
        };
        let compressed = |map: &DepthMap| match self.config.depth_resolution {
            DepthResolution::Model => encode::compressed_depth(&map.meters, map.size, map.max_meters),
            DepthResolution::Camera => {
                let meters = encode::at_camera(&map.meters, &derived.geometry);
                encode::compressed_depth(&meters, derived.geometry.camera, map.max_meters)
            }
        };
        let mut encoded = Encoded {
            pca: pca.filter(|_| wants(Topic::PcaCompressed)).map(png).transpose()?,
            depth: depth.filter(|_| wants(Topic::DepthCompressed)).map(compressed).transpose()?,
            depth_color: depth.filter(|_| wants(Topic::DepthColor)).map(depth_png).transpose()?,
            points: None,
            labels: labels
                .filter(|_| wants(Topic::LabelsCompressed))
                .map(|map| encode::gray8(&map.classes, map.size))
                .transpose()?,
            overlay: labels.filter(|_| wants(Topic::Overlay)).map(overlay).transpose()?,
            lack: None,
        };
        if let (true, Some(map), Some(info)) = (wants(Topic::Points), depth, derived.input_info.as_ref()) {
            (encoded.points, encoded.lack) = self.points(derived, map, info);
        }
        Ok(encoded)
    }

    fn points(
        &mut self,
        derived: &Derived,
        depth: &DepthMap,
        info: &CameraModel,
    ) -> (Option<Cloud>, Option<Lack>) {
        // A lens that cannot be computed is among what the frame lacks already.
        let Ok(optics) = info.optics() else { return (None, None) };
        let stride = points_stride(self.config.points_stride, depth.size);
        let new = || Rays { directions: optics.rays(stride), of: optics.clone() };
        let rays = self.rays.entry(derived.camera).or_insert_with(new);
        if rays.of != optics {
            *rays = new();
        }
        let Some(rays) = &rays.directions else {
            let why = Uncalibrated::Lens { error: info.no_ray() };
            return (None, Some(Lack { lost: vec![Lost::Output(Topic::Points)], why }));
        };
        let unlabelled = || vec![UNLABELLED; depth.meters.len()];
        let labels = derived.labels.as_ref().map(|map| Cow::from(&map.classes));
        let labels = labels.or_else(|| self.config.has_labels.then(unlabelled).map(Cow::from));
        let surface = Surface {
            size: depth.size,
            meters: &depth.meters,
            colors: &derived.pixels,
            labels: labels.as_deref(),
        };
        (Some(encode::cloud(surface, rays, stride)), None)
    }
}

/// The stride of `~/points` on a depth map of `size`.
pub fn points_stride(asked: Option<u32>, size: Size) -> u32 {
    asked.unwrap_or_else(|| size.width.max(size.height).div_ceil(POINTS_PER_SIDE)).max(1)
}

/// `map` in colours as a PNG file, on one scale for all frames, so that colours do not flicker.
///
/// # Errors
/// The encoder's own.
pub fn depth_png(map: &DepthMap) -> Result<Vec<u8>, ImageError> {
    let colors = encode::depth_colors(&map.meters, Some([0.0, map.max_meters]));
    encode::rgb8(&colors, map.size)
}

/// `image` as a PNG file.
///
/// # Errors
/// The encoder's own.
pub fn png(image: &RgbImage) -> Result<Vec<u8>, ImageError> {
    encode::rgb8(&image.bytes, image.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_holds_the_image_exactly() {
        let size = Size { width: 5, height: 3 };
        let rgb = RgbImage { size, bytes: (0..45).collect() };
        let back = image::load_from_memory(&png(&rgb).unwrap()).unwrap().into_rgb8();
        assert_eq!((back.dimensions(), back.into_raw()), ((5, 3), rgb.bytes));
    }

    #[test]
    fn at_most_64_points_stand_in_a_row_unless_asked() {
        let check = |asked, width, height, expect| {
            assert_eq!(points_stride(asked, Size { width, height }), expect, "{asked:?} {width}x{height}");
        };
        check(None, 256, 256, 4);
        check(None, 336, 192, 6);
        check(None, 48, 32, 1);
        check(Some(1), 256, 256, 1);
        check(Some(7), 48, 32, 7);
    }
}
