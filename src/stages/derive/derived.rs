//! What is made from the tokens of one frame.

use std::sync::Arc;
use std::time::Instant;

use super::calibration::Lack;
use super::dense::{DepthMap, LabelMap};
use super::gather::PatchExemplars;
use crate::config::FeaturesDtype;
use crate::geometry::{CameraModel, Geometry, Intrinsics, Size};
use crate::outputs::Topics;
use crate::runtime::input_pixels::InputPixels;
use crate::stages::camera::Header;

/// The model as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCard {
    /// Name of the folder, hub id or `random:NAME`.
    pub name: String,
    /// First 12 hex digits of the SHA-256 over the weight files in name order.
    pub revision: String,
    /// Block that feeds the features, counted from 1.
    pub layer: usize,
    /// Number of class tokens before the patch tokens.
    pub n_cls_tokens: usize,
}

/// A `[grid.height, grid.width, channels]` map, row-major, little endian.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureMap {
    /// Patches.
    pub grid: Size,
    /// Values per patch.
    pub channels: usize,
    /// Element type of `bytes`.
    pub dtype: FeaturesDtype,
    /// The values.
    pub bytes: Vec<u8>,
}

/// An 8-bit RGB image, rows without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbImage {
    /// InputPixels.
    pub size: Size,
    /// `size.height * size.width * 3` bytes.
    pub bytes: Vec<u8>,
}

/// Global descriptors after the final norm.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// Number of class tokens.
    pub n_cls_tokens: usize,
    /// Values per token.
    pub channels: usize,
    /// `[channels]`: mean of the class tokens.
    pub pooled: Vec<f32>,
    /// `[n_cls_tokens, channels]`, row-major.
    pub class_tokens: Vec<f32>,
}

/// Everything that goes out for one frame; what has no subscriber is `None`.
#[derive(Debug)]
pub struct Derived {
    /// The frame's own, unchanged.
    pub header: Header,
    /// Index of the camera in the configuration.
    pub camera: usize,
    /// When our callback saw the frame.
    pub received: Instant,
    /// From the camera's image to the model input.
    pub geometry: Geometry,
    /// The model input: row-major RGB.
    pub pixels: InputPixels,
    /// The model that made this.
    pub card: Arc<ModelCard>,
    /// The outputs that have a subscriber.
    pub wanted: Topics,
    /// For `~/features`.
    pub features: Option<FeatureMap>,
    /// For `~/features/reduced`; always float32.
    pub reduced: Option<FeatureMap>,
    /// For `~/features/pca`.
    pub pca: Option<RgbImage>,
    /// For `~/features/camera_info`: the calibration of the patch grid.
    pub grid_info: Option<Intrinsics>,
    /// For `~/embedding`.
    pub embedding: Option<Embedding>,
    /// For `~/similarity`; always one channel of float32.
    pub similarity: Option<FeatureMap>,
    /// For who may point at the frame while it is shown.
    pub exemplars: Option<Arc<PatchExemplars>>,
    /// For `~/depth/image` and all that is made of it.
    pub depth: Option<DepthMap>,
    /// For `~/segmentation/image` and all that is made of it.
    pub labels: Option<LabelMap>,
    /// The calibration of the model input, for `~/segmentation/camera_info` and for points.
    pub input_info: Option<CameraModel>,
    /// For `~/depth/camera_info`: that of the depth's pixels.
    pub depth_info: Option<Intrinsics>,
    /// What could not be made for lack of a calibration, and why.
    pub lacks: Vec<Lack>,
}
