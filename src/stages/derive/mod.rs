//! Derive: what is computed from the tokens of one frame, and only for outputs with a subscriber.

mod basis;
mod calibration;
mod dense;
mod derived;
mod features;
mod similarity;

use std::sync::Arc;

use tch::{Device, TchError, Tensor};

use crate::config::{DepthLimits, DepthResolution, FeaturesDtype};
use crate::engine::{EngineError, Tokens};
use crate::geometry::{CameraModel, Geometry, Size};
use crate::outputs::{Need, Topic, Topics};
use crate::stages::forward::Input;
use calibration::{Judged, judge};
use features::{embedding, feature_map};
use similarity::Similarity;

pub use basis::BasisKeeper;
pub use calibration::{CauseKind, Lack, Lost, Uncalibrated, usable};
pub use dense::{Dense, DepthMap, LabelMap, UNLABELLED};
pub use derived::{Derived, Embedding, FeatureMap, ModelCard, RgbImage};
pub use features::{SMALL_MESSAGE_BYTES, pca_image, pca_size, reduced_channels};

/// What the node was asked to compute.
#[derive(Debug)]
pub struct DeriverConfig {
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
pub struct Deriver {
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

impl Deriver {
    /// Derives what `config` asks for.
    pub fn new(config: DeriverConfig) -> Self {
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

    /// Compares every patch of `camera` with the one under `pixel`, x and y in the camera's image, of its
    /// next frame.
    pub fn ask(&mut self, camera: usize, pixel: [f64; 2]) {
        self.similarity.ask(camera, pixel);
    }

    /// How many of the engine's taps `wanted` of a camera needs, counted from the first: none where nothing
    /// is computed from tokens. Windows have no patches in common, so there are no features of an image seen
    /// by windows.
    pub fn n_taps(&self, wanted: Topics, camera: usize, geometry: &Geometry) -> usize {
        if geometry.is_windowed {
            return self.dense.n_taps(wanted);
        }
        let for_features = wanted.need(Need::Features)
            || wanted.need(Need::Query) && self.similarity.is_asked(camera)
            || wanted.need(Need::Basis) && self.basis.can_project();
        let features = if for_features { self.feature_tap + 1 } else { 0 };
        let embedding = if wanted.need(Need::Last) { self.last_tap + 1 } else { 0 };
        features.max(embedding).max(self.dense.n_taps(wanted))
    }

    /// Computes what `wanted` asks for from the input's tokens, of as many taps as [`Deriver::n_taps`] says.
    ///
    /// # Errors
    /// libtorch's own; they are fatal for the engine.
    pub fn run(
        &mut self,
        input: Input,
        tokens: &Tokens,
        wanted: Topics,
        limits: DepthLimits,
    ) -> Result<Derived, EngineError> {
        let is_scaled = self.dense.wants_focal_length(wanted);
        let Judged { model: camera, lacks } =
            judge(input.intrinsics.as_deref(), input.geometry.camera, wanted, is_scaled);
        let under = |transform, size| camera.map(|model| model.under(&transform, size));
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
        let mut derived = Derived {
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
            return Ok(derived);
        }
        if let Some(tap) = tokens.taps.get(self.feature_tap) {
            self.add_features(&mut derived, tap)?;
        }
        if let Some(last) = tokens.taps.get(self.last_tap).filter(|_| wanted.contains(Topic::Embedding)) {
            derived.embedding = Some(embedding(last, self.card.n_cls_tokens as i64)?);
        }
        Ok(derived)
    }

    /// What comes from the patch tokens of the feature layer; `tap` is `[1, n_cls + P, D]`.
    fn add_features(&mut self, derived: &mut Derived, tap: &Tensor) -> Result<(), EngineError> {
        let (wanted, grid) = (derived.wanted, derived.geometry.grid());
        let n_patches = i64::from(grid.width) * i64::from(grid.height);
        let patches = tap.f_get(0)?.f_narrow(0, self.card.n_cls_tokens as i64, n_patches)?;
        if wanted.contains(Topic::Features) {
            derived.features = Some(feature_map(&patches, grid, self.features_dtype)?);
        }
        if wanted.contains(Topic::Similarity) {
            let cosines = self.similarity.of(derived.camera, &patches, &derived.geometry)?;
            let map = cosines.map(|cosines| feature_map(&cosines, grid, FeaturesDtype::Float32));
            derived.similarity = map.transpose()?;
        }
        let wants_reduced = wanted.contains(Topic::Reduced);
        let wants_pca = wanted.contains(Topic::Pca) || wanted.contains(Topic::PcaCompressed);
        if !wants_reduced && !wants_pca {
            return Ok(());
        }
        let n_channels = self.reduced_channels(grid);
        let patches = patches.f_to_device(Device::Cpu)?;
        let projected = self.basis.with(&patches, &derived.pixels, |basis| {
            let reduced = || feature_map(&basis.project(&patches, n_channels)?, grid, FeaturesDtype::Float32);
            let pca = || pca_image(&basis.colors(&patches)?, grid);
            Ok::<_, TchError>((wants_reduced.then(reduced).transpose()?, wants_pca.then(pca).transpose()?))
        })?;
        (derived.reduced, derived.pca) = projected.unwrap_or_default();
        Ok(())
    }

    /// Channels that fit on `grid`; says once when they are fewer than asked for.
    fn reduced_channels(&mut self, grid: Size) -> usize {
        let n_channels = reduced_channels(self.reduced_channels, grid);
        if n_channels < self.reduced_channels && !self.told_fewer {
            self.told_fewer = true;
            let (asked, Size { width, height }) = (self.reduced_channels, grid);
            tracing::warn!(
                "reduced_channels: {n_channels} instead of {asked}, so that {width}x{height} patches fit 96 \
                 KB"
            );
        }
        n_channels
    }
}

/// Where the block `layer` stands among the engine's taps.
pub fn feature_tap(taps: &[usize], layer: usize) -> usize {
    taps.iter().position(|&tap| tap == layer).unwrap_or_default()
}
