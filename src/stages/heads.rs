//! Heads: what is computed from the tokens of one frame, and only what somebody listens to.

use std::sync::Arc;
use std::time::Instant;

use crate::config::FeaturesDtype;
use crate::geometry::{Geometry, Intrinsics, Size};
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

/// An 8-bit RGB picture, rows without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbPicture {
    /// Pixels.
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

/// Everything that goes out for one frame; what nobody listens to is `None`.
#[derive(Debug)]
pub struct Output {
    /// The frame's own, unchanged.
    pub header: Header,
    /// Index of the camera in the configuration.
    pub camera: usize,
    /// When our callback saw the frame.
    pub received: Instant,
    /// From the camera's picture to the model input.
    pub geometry: Geometry,
    /// The model that made this.
    pub card: Arc<ModelCard>,
    /// For `~/features`.
    pub features: Option<FeatureMap>,
    /// For `~/features/reduced`; always float32.
    pub reduced: Option<FeatureMap>,
    /// For `~/features/pca`.
    pub pca: Option<RgbPicture>,
    /// For `~/features/pca/compressed`: a PNG file.
    pub pca_png: Option<Vec<u8>>,
    /// For `~/features/camera_info`: the calibration of the patch grid.
    pub grid_info: Option<Intrinsics>,
    /// For `~/embedding`.
    pub embedding: Option<Embedding>,
}
