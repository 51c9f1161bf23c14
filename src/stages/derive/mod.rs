//! Derive: what is computed from the tokens of one frame, and only for outputs with a subscriber.

mod basis;
mod calibration;
mod dense;
mod derived;
mod features;
mod gather;
mod pupil;
mod similarity;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tch::{Kind, TchError, Tensor};

use crate::config::{DepthLimits, DepthResolution, FeaturesDtype};
use crate::engine::proof::BatchShape;
use crate::engine::readback::Readback;
use crate::engine::{Engine, EngineError, Tokens};
use crate::geometry::{CameraModel, Geometry, Size};
use crate::outputs::{Need, Topic, Topics};
use crate::runtime::lock::lock;
use crate::stages::forward::{Input, warm_up};
use crate::teaching::{Lesson, TaughtHead, Teaching};
use calibration::{Judged, judge};
use features::{embedding, feature_map};
use pupil::{Pupil, QueuedLesson};
use similarity::Similarity;

pub use basis::BasisKeeper;
pub use calibration::{CauseKind, Lack, Lost, Uncalibrated, usable};
pub use dense::{Dense, DepthMap, LabelMap, Maps, QueuedMaps};
pub use derived::{Derived, Embedding, FeatureMap, ModelCard, RgbImage};
pub use features::{SMALL_MESSAGE_BYTES, pca_image, pca_size, reduced_channels};
pub use gather::{PatchExemplars, exemplars_under};

/// What the node was asked to compute.
#[derive(Debug)]
pub struct DeriverConfig {
    /// The model, as messages name it.
    pub card: ModelCard,
    /// Element type of `~/features`.
    pub features_dtype: FeaturesDtype,
    /// Channels of `~/features/reduced`, fewer when the message would not fit 96 KB.
    pub reduced_channels: usize,
    /// What the workers have in common.
    pub common: Common,
    /// Blocks whose tokens the engine returns, ascending; the feature layer and the last one are among them.
    pub taps: Vec<usize>,
    /// Depth and segmentation.
    pub dense: Dense,
    /// At which pixels depth is told.
    pub depth_resolution: DepthResolution,
}

/// What the workers of a node have in common.
#[derive(Clone, Debug)]
pub struct Common {
    /// The basis of what is reduced.
    pub basis: Arc<BasisKeeper>,
    /// Where the node is taught.
    pub teaching: Option<Arc<Teaching>>,
}

/// What one of the threads that run the model works with.
pub struct Worker {
    /// Runs the model.
    pub engine: Box<dyn Engine>,
    /// Turns its tokens into outputs.
    pub deriver: Deriver,
}

/// Turns tokens into outputs.
#[derive(Debug)]
pub struct Deriver {
    card: Arc<ModelCard>,
    features_dtype: FeaturesDtype,
    reduced_channels: usize,
    /// Whether it has been told that fewer channels fit.
    told_fewer: Arc<AtomicBool>,
    basis: Arc<BasisKeeper>,
    /// Where the feature layer and the last one stand among the engine's taps.
    feature_tap: usize,
    last_tap: usize,
    dense: Dense,
    depth_resolution: DepthResolution,
    similarity: Arc<Mutex<Similarity>>,
    pupil: Option<Pupil>,
}

impl Deriver {
    /// Derives what `config` asks for.
    pub fn new(config: DeriverConfig) -> Self {
        Self {
            feature_tap: feature_tap(&config.taps, config.card.layer),
            last_tap: config.taps.len().saturating_sub(1),
            pupil: config.common.teaching.map(|teaching| Pupil::new(teaching, &config.taps)),
            dense: config.dense,
            depth_resolution: config.depth_resolution,
            similarity: Arc::default(),
            card: Arc::new(config.card),
            features_dtype: config.features_dtype,
            reduced_channels: config.reduced_channels,
            told_fewer: Arc::default(),
            basis: config.common.basis,
        }
    }

    /// One for another worker, with heads of its own: both know the same basis and the same queries.
    pub fn beside(&self, dense: Dense) -> Self {
        Self {
            card: Arc::clone(&self.card),
            told_fewer: Arc::clone(&self.told_fewer),
            basis: Arc::clone(&self.basis),
            dense,
            similarity: Arc::clone(&self.similarity),
            pupil: self.pupil.as_ref().map(Pupil::beside),
            ..*self
        }
    }

    /// Compares every patch of `camera` with the one under `pixel`, x and y in the camera's image, of its
    /// next frame.
    pub fn ask(&mut self, camera: usize, pixel: [f64; 2]) {
        lock(&self.similarity).ask(camera, pixel);
    }

    /// Has what `lessons` point at in the next frame of `camera` learnt.
    pub fn attend(&mut self, camera: usize, lessons: Vec<Lesson>) {
        match &mut self.pupil {
            Some(pupil) => pupil.attend(camera, lessons),
            None => lessons.into_iter().for_each(|lesson| lesson.refuse("the node is not taught".to_owned())),
        }
    }

    /// Takes the head that was taught last. Between two frames, before [`Deriver::n_taps`].
    ///
    /// # Errors
    /// It reads a block that the engine does not return.
    pub fn take_taught(&mut self) -> Result<(), EngineError> {
        match self.pupil.as_mut().and_then(Pupil::newer) {
            Some(TaughtHead { head, .. }) => self.dense.segment_with(head),
            None => Ok(()),
        }
    }

    /// How many of the engine's taps `wanted` of a camera needs, counted from the first: none where nothing
    /// is computed from tokens. Windows have no patches in common, so there are no features of an image seen
    /// by windows.
    pub fn n_taps(&self, wanted: Topics, camera: usize, geometry: &Geometry) -> usize {
        if geometry.is_windowed {
            return self.dense.n_taps(wanted);
        }
        let for_features = wanted.need(Need::Features)
            || wanted.need(Need::Query) && lock(&self.similarity).is_asked(camera)
            || wanted.need(Need::Basis) && self.basis.can_project();
        let features = if for_features { self.feature_tap + 1 } else { 0 };
        let embedding = if wanted.need(Need::Last) { self.last_tap + 1 } else { 0 };
        let lessons = self.pupil.as_ref().map_or(0, |pupil| pupil.n_taps(camera));
        features.max(embedding).max(self.dense.n_taps(wanted)).max(lessons)
    }

    /// Queues what `wanted` asks for of the input's tokens behind the model, and its way to the host. The
    /// tokens are of as many taps as [`Deriver::n_taps`] says.
    ///
    /// # Errors
    /// libtorch's own; they are fatal for the engine.
    pub fn queue(
        &mut self,
        input: &Input,
        tokens: &Tokens,
        wanted: Topics,
        readback: &mut Readback,
    ) -> Result<Queued, EngineError> {
        let geometry = &input.geometry;
        let mut queued = Queued { wanted, ..Queued::default() };
        if !geometry.is_windowed {
            if let Some(tap) = tokens.taps.get(self.feature_tap) {
                self.queue_features(&mut queued, tap, input, readback)?;
            }
            if let Some(last) = tokens.taps.get(self.last_tap).filter(|_| wanted.contains(Topic::Embedding)) {
                let class_tokens = last.f_get(0)?.f_narrow(0, 0, self.card.n_cls_tokens as i64)?;
                queued.class_tokens = Some(readback.bring(&class_tokens, Kind::Float)?);
            }
        }
        if let Some(pupil) = &mut self.pupil {
            queued.lessons = pupil.queue(input, tokens, self.card.n_cls_tokens, readback)?;
            queued.exemplars = pupil.queue_all(input, tokens, self.card.n_cls_tokens, readback)?;
        }
        queued.maps = self.dense.queue(tokens, geometry, wanted, readback)?;
        Ok(queued)
    }

    /// What comes from the patch tokens of the feature layer; `tap` is `[1, n_cls + P, D]`.
    fn queue_features(
        &mut self,
        queued: &mut Queued,
        tap: &Tensor,
        input: &Input,
        readback: &mut Readback,
    ) -> Result<(), EngineError> {
        let (wanted, grid) = (queued.wanted, input.geometry.grid());
        let n_patches = i64::from(grid.width) * i64::from(grid.height);
        let patches = tap.f_get(0)?.f_narrow(0, self.card.n_cls_tokens as i64, n_patches)?;
        if wanted.contains(Topic::Features) {
            queued.features = Some(readback.bring(&patches, features::kind(self.features_dtype))?);
        }
        if wanted.contains(Topic::Similarity)
            && let Some(cosines) = lock(&self.similarity).of(input.camera, &patches, &input.geometry)?
        {
            queued.cosines = Some(readback.bring(&cosines, Kind::Float)?);
        }
        if wanted.need(Need::Basis) {
            queued.patches = Some(readback.bring(&patches, patches.f_kind()?)?);
        }
        Ok(())
    }

    /// The outputs of `input` from what was queued for it, once the engine has waited.
    ///
    /// # Errors
    /// libtorch's own; they are fatal for the engine.
    pub fn finish(
        &mut self,
        input: Input,
        queued: Queued,
        limits: DepthLimits,
    ) -> Result<Derived, EngineError> {
        let Queued { wanted, features, cosines, patches, class_tokens, maps, lessons, exemplars } = queued;
        if let Some(pupil) = &self.pupil {
            pupil.finish(lessons)?;
        }
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
        let grid = geometry.grid();
        let grid_info = under(geometry.grid_from_camera(), grid).filter(|_| has_grid);
        let Maps { mut depth, labels } = self.dense.finish(maps, geometry, input_info.as_ref())?;
        depth.iter_mut().for_each(|map| map.limit(limits));
        let map = |values: &Tensor, dtype| feature_map(values, grid, dtype);
        let features = features.map(|features| map(&features, self.features_dtype)).transpose()?;
        let similarity = cosines.map(|cosines| map(&cosines, FeaturesDtype::Float32)).transpose()?;
        let embedding = class_tokens.map(|tokens| embedding(&tokens)).transpose()?;
        let projected = patches.map(|patches| self.project(&patches, &input.pixels, grid, wanted));
        let Projected { reduced, pca } = projected.transpose()?.unwrap_or_default();
        Ok(Derived {
            header: input.header,
            camera: input.camera,
            received: input.received,
            geometry: input.geometry,
            pixels: input.pixels,
            card: Arc::clone(&self.card),
            wanted,
            features,
            reduced,
            pca,
            grid_info: grid_info
                .filter(|_| wanted.contains(Topic::GridInfo))
                .map(CameraModel::into_intrinsics),
            embedding,
            similarity,
            exemplars: exemplars.map(|all| PatchExemplars::of(&all)).transpose()?.map(Arc::new),
            depth,
            labels,
            input_info,
            depth_info: depth_info
                .filter(|_| wanted.contains(Topic::DepthInfo))
                .map(CameraModel::into_intrinsics),
            lacks,
        })
    }

    /// Runs the heads on images of `size` as `engine` has them in a batch, so that they are recorded before
    /// frames come.
    ///
    /// # Errors
    /// The engine can no longer serve.
    pub fn warm_up(
        &mut self,
        engine: &mut dyn Engine,
        BatchShape { size, batch }: BatchShape,
    ) -> Result<(), EngineError> {
        let mut tokens = warm_up(engine, size, batch)?;
        if 1 < batch {
            tokens = tokens.of_image(0)?;
        }
        let wanted = [Topic::Depth, Topic::Labels].into_iter().collect();
        let mut readback = Readback::new(engine.host_memory());
        self.dense.queue(&tokens, &Geometry::stretch(size, size), wanted, &mut readback)?;
        readback.wait(engine)
    }

    /// [`Deriver::queue`] and [`Deriver::finish`] for one input of `engine`, from which the tokens are.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn run(
        &mut self,
        engine: &dyn Engine,
        input: Input,
        tokens: &Tokens,
        wanted: Topics,
    ) -> Result<Derived, EngineError> {
        let mut readback = Readback::new(engine.host_memory());
        let queued = self.queue(&input, tokens, wanted, &mut readback)?;
        readback.wait(engine)?;
        self.finish(input, queued, DepthLimits::default())
    }

    /// What the principal components make of `patches` `[P, D]`, on the host.
    fn project(
        &mut self,
        patches: &Tensor,
        pixels: &[u8],
        grid: Size,
        wanted: Topics,
    ) -> Result<Projected, TchError> {
        let wants_pca = wanted.contains(Topic::Pca) || wanted.contains(Topic::PcaCompressed);
        let n_channels = self.reduced_channels(grid);
        let projected = self.basis.with(patches, pixels, |basis| {
            let reduced = || feature_map(&basis.project(patches, n_channels)?, grid, FeaturesDtype::Float32);
            let pca = || pca_image(&basis.colors(patches)?, grid);
            let reduced = wanted.contains(Topic::Reduced).then(reduced).transpose()?;
            Ok::<_, TchError>(Projected { reduced, pca: wants_pca.then(pca).transpose()? })
        })?;
        Ok(projected.unwrap_or_default())
    }

    /// Channels that fit on `grid`; says once when they are fewer than asked for.
    fn reduced_channels(&mut self, grid: Size) -> usize {
        let n_channels = reduced_channels(self.reduced_channels, grid);
        if n_channels < self.reduced_channels && !self.told_fewer.swap(true, Ordering::Relaxed) {
            let (asked, Size { width, height }) = (self.reduced_channels, grid);
            tracing::warn!(
                "reduced_channels: {n_channels} instead of {asked}, so that {width}x{height} patches fit 96 \
                 KB"
            );
        }
        n_channels
    }
}

/// What is computed of one frame, on its way to the host.
#[derive(Debug, Default)]
pub struct Queued {
    wanted: Topics,
    /// `[P, D]`, in the element type of `~/features`.
    features: Option<Tensor>,
    /// `[P, 1]`, float32.
    cosines: Option<Tensor>,
    /// `[P, D]`, in the model's element type.
    patches: Option<Tensor>,
    /// `[n_cls, D]`, float32.
    class_tokens: Option<Tensor>,
    maps: QueuedMaps,
    lessons: Vec<QueuedLesson>,
    /// `[P, C]`, float32.
    exemplars: Option<Vec<Tensor>>,
}

/// What the principal components make of a frame.
#[derive(Debug, Default)]
struct Projected {
    reduced: Option<FeatureMap>,
    pca: Option<RgbImage>,
}

/// Where the block `layer` stands among the engine's taps.
pub fn feature_tap(taps: &[usize], layer: usize) -> usize {
    taps.iter().position(|&tap| tap == layer).unwrap_or_default()
}
