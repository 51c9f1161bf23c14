//! Heads: what is computed from the tokens of one frame, and only what somebody listens to.

mod basis;
mod calibration;
mod dense;
mod similarity;

use std::sync::Arc;
use std::time::Instant;

use tch::{Device, Kind, TchError, Tensor};

use crate::config::{DepthLimits, DepthResolution, FeaturesDtype};
use crate::engine::{EngineError, Tokens};
use crate::geometry::{CameraModel, Geometry, Intrinsics, Size};
use crate::runtime::pool::Lease;
use crate::runtime::tensor;
use crate::runtime::wanted::{Topic, Topics};
use crate::stages::camera::Header;
use crate::stages::forward::Input;
use similarity::Similarity;

pub use basis::BasisKeeper;
pub use calibration::{CauseKind, Lack, NO_POINTS, Uncalibrated, usable};
pub use dense::{Dense, DepthMap, LabelMap, UNLABELLED};

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
    /// The model input: row-major RGB.
    pub pixels: Lease,
    /// The model that made this.
    pub card: Arc<ModelCard>,
    /// What somebody listens to.
    pub wanted: Topics,
    /// For `~/features`.
    pub features: Option<FeatureMap>,
    /// For `~/features/reduced`; always float32.
    pub reduced: Option<FeatureMap>,
    /// For `~/features/pca`.
    pub pca: Option<RgbPicture>,
    /// For `~/features/camera_info`: the calibration of the patch grid.
    pub grid_info: Option<Intrinsics>,
    /// For `~/embedding`.
    pub embedding: Option<Embedding>,
    /// For `~/similarity`; always one channel of float32.
    pub similarity: Option<FeatureMap>,
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

/// Side of a patch in `~/features/pca`, pixels.
const PCA_PIXELS: u32 = 8;

/// Messages up to this size reach any receiver with its default buffers; `~/features/reduced` stays
/// within it.
pub const SMALL_MESSAGE_BYTES: usize = 96 * 1024;

/// What the node was asked to compute.
#[derive(Debug)]
pub struct HeadsConfig {
    /// The model, as messages name it.
    pub card: ModelCard,
    /// Element type of `~/features`.
    pub features_dtype: FeaturesDtype,
    /// Channels of `~/features/reduced`, fewer when the message would not fit 96 KB.
    pub reduced_channels: usize,
    /// The basis of what is reduced.
    pub basis: Arc<BasisKeeper>,
    /// Blocks whose tokens the engine returns, ascending; the feature layer and the last one are among them.
    pub taps: Vec<usize>,
    /// Depth and segmentation.
    pub dense: Dense,
    /// At which pixels depth is told.
    pub depth_resolution: DepthResolution,
}

/// Turns tokens into outputs.
#[derive(Debug)]
pub struct Heads {
    card: Arc<ModelCard>,
    features_dtype: FeaturesDtype,
    reduced_channels: usize,
    /// Whether it has been told that fewer channels fit.
    told_fewer: bool,
    basis: Arc<BasisKeeper>,
    /// Where the feature layer and the last one stand among the engine's taps.
    feature_tap: usize,
    last_tap: usize,
    dense: Dense,
    depth_resolution: DepthResolution,
    similarity: Similarity,
}

impl Heads {
    /// Heads as `config` asks for.
    pub fn new(config: HeadsConfig) -> Self {
        Self {
            feature_tap: feature_tap(&config.taps, config.card.layer),
            last_tap: config.taps.len().saturating_sub(1),
            dense: config.dense,
            depth_resolution: config.depth_resolution,
            similarity: Similarity::default(),
            card: Arc::new(config.card),
            features_dtype: config.features_dtype,
            reduced_channels: config.reduced_channels,
            told_fewer: false,
            basis: config.basis,
        }
    }

    /// Compares every patch of `camera` with the one under `pixel`, x and y in the camera's picture, of its next frame.
    pub fn ask(&mut self, camera: usize, pixel: [f64; 2]) {
        self.similarity.ask(camera, pixel);
    }

    /// How many of the engine's taps `wanted` of a camera needs, counted from the first: none where nothing is computed from tokens.
    /// Windows have no patches in common, so there are no features of a picture seen by windows.
    pub fn n_taps(&self, wanted: Topics, camera: usize, geometry: &Geometry) -> usize {
        if geometry.is_windowed {
            return self.dense.n_taps(wanted);
        }
        let for_features = wanted.contains(Topic::Features)
            || wanted.contains(Topic::Similarity) && self.similarity.is_asked(camera)
            || wanted.contains_any(&[Topic::Reduced, Topic::Pca, Topic::PcaCompressed])
                && self.basis.can_project();
        let features = if for_features { self.feature_tap + 1 } else { 0 };
        let embedding = if wanted.contains(Topic::Embedding) { self.last_tap + 1 } else { 0 };
        features.max(embedding).max(self.dense.n_taps(wanted))
    }

    /// Computes what `wanted` asks for from the input's tokens, of as many taps as [`Heads::n_taps`] says.
    ///
    /// # Errors
    /// libtorch's own; they are fatal for the engine.
    pub fn run(
        &mut self,
        input: Input,
        tokens: &Tokens,
        wanted: Topics,
        limits: DepthLimits,
    ) -> Result<Output, EngineError> {
        let is_scaled = self.dense.wants_focal_length(wanted);
        let (camera, lacks) =
            calibration::calibration(input.intrinsics.as_deref(), input.geometry.camera, wanted, is_scaled);
        let under = |transform, size| camera.map(|found| found.under(&transform, size));
        let Input { geometry, .. } = &input;
        let input_info = under(geometry.model_from_camera, geometry.model);
        let depth_info = match self.depth_resolution {
            DepthResolution::Model => input_info.clone(),
            DepthResolution::Camera => camera.cloned(),
        };
        let has_grid = !geometry.is_windowed;
        let grid_info = under(geometry.grid_from_camera(), geometry.grid()).filter(|_| has_grid);
        let mut depth = self.dense.depth(tokens, geometry, input_info.as_ref(), wanted)?;
        depth.iter_mut().for_each(|map| map.limit(limits));
        let labels = self.dense.labels(tokens, geometry, wanted)?;
        let mut output = Output {
            header: input.header,
            camera: input.camera,
            received: input.received,
            geometry: input.geometry,
            pixels: input.pixels,
            card: Arc::clone(&self.card),
            wanted,
            features: None,
            reduced: None,
            pca: None,
            grid_info: grid_info
                .filter(|_| wanted.contains(Topic::GridInfo))
                .map(CameraModel::into_intrinsics),
            embedding: None,
            similarity: None,
            depth,
            labels,
            input_info,
            depth_info: depth_info
                .filter(|_| wanted.contains(Topic::DepthInfo))
                .map(CameraModel::into_intrinsics),
            lacks,
        };
        if !has_grid {
            return Ok(output);
        }
        if let Some(tap) = tokens.taps.get(self.feature_tap) {
            self.add_features(&mut output, tap)?;
        }
        if let Some(last) = tokens.taps.get(self.last_tap).filter(|_| wanted.contains(Topic::Embedding)) {
            output.embedding = Some(embedding(last, self.card.n_cls_tokens as i64)?);
        }
        Ok(output)
    }

    /// What comes from the patch tokens of the feature layer; `tap` is `[1, n_cls + P, D]`.
    fn add_features(&mut self, output: &mut Output, tap: &Tensor) -> Result<(), EngineError> {
        let (wanted, grid) = (output.wanted, output.geometry.grid());
        let n_patches = i64::from(grid.width) * i64::from(grid.height);
        let patches = tap.f_get(0)?.f_narrow(0, self.card.n_cls_tokens as i64, n_patches)?;
        if wanted.contains(Topic::Features) {
            output.features = Some(feature_map(&patches, grid, self.features_dtype)?);
        }
        if wanted.contains(Topic::Similarity) {
            let cosines = self.similarity.of(output.camera, &patches, &output.geometry)?;
            let map = cosines.map(|cosines| feature_map(&cosines, grid, FeaturesDtype::Float32));
            output.similarity = map.transpose()?;
        }
        let wants_reduced = wanted.contains(Topic::Reduced);
        let wants_pca = wanted.contains(Topic::Pca) || wanted.contains(Topic::PcaCompressed);
        if !wants_reduced && !wants_pca {
            return Ok(());
        }
        let n_channels = self.reduced_channels(grid);
        let patches = patches.f_to_device(Device::Cpu)?;
        let made = self.basis.with(&patches, &output.pixels, |basis| {
            let reduced = || feature_map(&basis.project(&patches, n_channels)?, grid, FeaturesDtype::Float32);
            let pca = || picture(&basis.colors(&patches)?, grid);
            Ok::<_, TchError>((wants_reduced.then(reduced).transpose()?, wants_pca.then(pca).transpose()?))
        })?;
        (output.reduced, output.pca) = made.unwrap_or_default();
        Ok(())
    }

    /// Channels that fit on `grid`; says once when they are fewer than asked for.
    fn reduced_channels(&mut self, grid: Size) -> usize {
        let n_channels = reduced_channels(self.reduced_channels, grid);
        if n_channels < self.reduced_channels && !self.told_fewer {
            self.told_fewer = true;
            let (asked, Size { width, height }) = (self.reduced_channels, grid);
            tracing::warn!(
                "reduced_channels: {n_channels} instead of {asked}, so that {width}x{height} patches fit 96 KB"
            );
        }
        n_channels
    }
}

/// Where the block `layer` stands among the engine's taps.
pub fn feature_tap(taps: &[usize], layer: usize) -> usize {
    taps.iter().position(|&tap| tap == layer).unwrap_or_default()
}

/// Channels of `~/features/reduced`: `asked`, or as many as the message's size allows on `grid`.
pub fn reduced_channels(asked: usize, grid: Size) -> usize {
    let n_patches = grid.width as usize * grid.height as usize;
    asked.min(SMALL_MESSAGE_BYTES / (4 * n_patches.max(1))).max(1)
}

/// Size of `~/features/pca` for `grid`.
pub fn pca_size(grid: Size) -> Size {
    Size { width: grid.width * PCA_PIXELS, height: grid.height * PCA_PIXELS }
}

fn feature_map(patches: &Tensor, grid: Size, dtype: FeaturesDtype) -> Result<FeatureMap, TchError> {
    let kind = match dtype {
        FeaturesDtype::Float16 => Kind::Half,
        FeaturesDtype::Float32 => Kind::Float,
    };
    let channels = usize::try_from(patches.size()[1]).unwrap_or_default();
    Ok(FeatureMap { grid, channels, dtype, bytes: tensor::bytes(patches, kind)? })
}

fn embedding(tokens: &Tensor, n_cls: i64) -> Result<Embedding, TchError> {
    let class_tokens = tokens.f_get(0)?.f_narrow(0, 0, n_cls)?.f_to_kind(Kind::Float)?;
    let pooled = tensor::floats(&class_tokens.f_mean_dim(&[0i64][..], false, Kind::Float)?)?;
    Ok(Embedding {
        n_cls_tokens: usize::try_from(n_cls).unwrap_or_default(),
        channels: pooled.len(),
        pooled,
        class_tokens: tensor::floats(&class_tokens)?,
    })
}

/// Colours `[P, 3]`, 0 to 1, as a smooth picture.
pub(crate) fn picture(colors: &Tensor, grid: Size) -> Result<RgbPicture, TchError> {
    let size = pca_size(grid);
    let map =
        colors.f_reshape([1, i64::from(grid.height), i64::from(grid.width), 3])?.f_permute([0, 3, 1, 2])?;
    let smooth = map.f_upsample_bilinear2d(size.sides(), false, None, None)?;
    let bytes8 = smooth.f_mul_scalar(255.0)?.f_round()?.f_to_kind(Kind::Uint8)?;
    let bytes = tensor::bytes(&bytes8.f_permute([0, 2, 3, 1])?, Kind::Uint8)?;
    Ok(RgbPicture { size, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduced_features_never_exceed_96_kilobytes() {
        let check = |asked, width, height, expect| {
            assert_eq!(reduced_channels(asked, Size { width, height }), expect, "{asked} {width}x{height}");
        };
        check(16, 16, 16, 16);
        check(64, 16, 16, 64);
        check(64, 40, 30, 20);
        check(16, 200, 200, 1);
    }

    #[test]
    fn features_are_the_tokens_row_by_row() {
        let grid = Size { width: 2, height: 1 };
        let patches = Tensor::from_slice(&[1.0f32, -2.0, 0.5, 4.0]).reshape([2, 2]);
        let map = feature_map(&patches, grid, FeaturesDtype::Float16).unwrap();
        let values: Vec<f32> =
            map.bytes.chunks(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
        assert_eq!((map.channels, values), (2, vec![1.0, -2.0, 0.5, 4.0]));
    }

    #[test]
    fn the_embedding_is_the_mean_of_the_class_tokens() {
        let tokens = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 6.0, 9.0, 9.0]).reshape([1, 3, 2]);
        let embedding = embedding(&tokens, 2).unwrap();
        assert_eq!((embedding.pooled, embedding.class_tokens), (vec![2.0, 4.0], vec![1.0, 2.0, 3.0, 6.0]));
    }

    #[test]
    fn a_picture_has_eight_pixels_per_patch() {
        let colors = Tensor::from_slice(&[0.0f32, 0.5, 1.0, 0.0, 0.5, 1.0]).reshape([2, 3]);
        let picture = picture(&colors, Size { width: 2, height: 1 }).unwrap();
        assert_eq!(picture.size, Size { width: 16, height: 8 });
        assert!(picture.bytes.chunks(3).all(|rgb| rgb == [0, 128, 255]), "{:?}", &picture.bytes[..6]);
    }
}
