//! Depth and segmentation of one frame, pixel by pixel at the size of the model input.

use std::sync::Arc;

use tch::{Kind, Tensor};

use crate::config::{DepthLimits, Upsampling};
use crate::engine::head::{HeadEngine, Wanted};
use crate::engine::readback::Readback;
use crate::engine::{EngineError, Tokens};
use crate::geometry::{CameraModel, Geometry, Size};
use crate::heads::{self, Card, Class, Head, HeadSet, UNLABELLED};
use crate::outputs::{Need, Topics};
use crate::runtime::tensor;

/// Distance along the optical axis.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthMap {
    /// Size of the model input.
    pub size: Size,
    /// `[height, width]`, metres, row-major; NaN where the camera's image does not reach, infinite beyond
    /// the limits.
    pub meters: Vec<f32>,
    /// The largest depth that can be among them, metres.
    pub max_meters: f32,
}

impl DepthMap {
    /// Marks what lies outside of `limits` as REP 117 has it.
    pub fn limit(&mut self, limits: DepthLimits) {
        let DepthLimits { min, max } = limits;
        if let Some(min) = min.map(|meters| meters as f32) {
            self.meters.iter_mut().filter(|depth| **depth < min).for_each(|depth| *depth = f32::NEG_INFINITY);
        }
        if let Some(max) = max.map(|meters| meters as f32) {
            self.meters.iter_mut().filter(|depth| max < **depth).for_each(|depth| *depth = f32::INFINITY);
        }
    }
}

/// One class per pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMap {
    /// Size of the model input.
    pub size: Size,
    /// `[height, width]`, row-major: index in the legend, 255 below the head's threshold and where the
    /// camera's image does not reach.
    pub classes: Vec<u8>,
    /// `[height, width]`: how sure the head is, 0 to 255.
    pub confidence: Vec<u8>,
    /// The classes by their numbers.
    pub legend: Arc<[Class]>,
}

impl LabelMap {
    /// Colours of the classes, by their numbers.
    pub fn palette(&self) -> Vec<[u8; 3]> {
        self.legend.iter().map(|class| class.color).collect()
    }
}

/// The heads that there are, and where their taps stand among the engine's.
#[derive(Debug, Default)]
pub struct Dense {
    depth: Option<Tapped>,
    segmentation: Option<Tapped>,
    /// Classes of the segmentation head.
    legend: Arc<[Class]>,
    upsampling: Upsampling,
    /// Blocks whose tokens the engine returns.
    engine_taps: Vec<usize>,
}

#[derive(Debug)]
struct Tapped {
    engine: HeadEngine,
    /// Ascending.
    taps: Vec<usize>,
}

impl Tapped {
    /// # Errors
    /// The engine lacks one of the head's blocks.
    fn new(engine: HeadEngine, engine_taps: &[usize]) -> Result<Self, EngineError> {
        let blocks = &engine.head().card().taps;
        let position = |block: &usize| engine_taps.iter().position(|tap| tap == block);
        let taps = blocks.iter().map(position).collect::<Option<_>>().ok_or_else(|| EngineError {
            message: format!("a head reads the blocks {blocks:?}, the engine returns {engine_taps:?}"),
        })?;
        Ok(Self { engine, taps })
    }

    fn legend(&self) -> Arc<[Class]> {
        match &self.card().task {
            heads::Task::Segmentation { classes, .. } => classes.as_slice().into(),
            heads::Task::Depth { .. } => Arc::default(),
        }
    }

    fn n_taps(&self) -> usize {
        self.taps.last().map_or(0, |tap| tap + 1)
    }

    fn card(&self) -> &Card {
        self.engine.head().card()
    }

    /// The head's maps, on its device.
    fn run(&mut self, tokens: &Tokens, wanted: Wanted) -> Result<Vec<Tensor>, EngineError> {
        let taps = self.taps.iter().filter_map(|&tap| tokens.taps.get(tap).map(Tensor::shallow_clone));
        let tokens = Tokens { taps: taps.collect(), lane: tokens.lane.clone(), ..*tokens };
        self.engine.run(&tokens, wanted)
    }
}

/// The heads' maps of one image on their way to the host.
#[derive(Debug, Default)]
pub struct QueuedMaps {
    /// `[height, width]`, metres, float32.
    depth: Option<Tensor>,
    labels: Option<QueuedLabels>,
}

/// uint8 `[height, width]` each.
#[derive(Debug)]
struct QueuedLabels {
    classes: Tensor,
    confidence: Tensor,
}

/// Depth and segmentation of one image, as far as they are wanted.
#[derive(Debug, Default)]
pub struct Maps {
    /// Depth.
    pub depth: Option<DepthMap>,
    /// Segmentation.
    pub labels: Option<LabelMap>,
}

impl Dense {
    /// `engine_taps` are the blocks whose tokens the engine returns.
    ///
    /// # Errors
    /// A head reads a block that is not among them.
    pub fn new(
        heads: HeadSet<HeadEngine>,
        upsampling: Upsampling,
        engine_taps: &[usize],
    ) -> Result<Self, EngineError> {
        let HeadSet { depth, segmentation } = heads.try_map(|head| Tapped::new(head, engine_taps))?;
        let legend = segmentation.as_ref().map(Tapped::legend).unwrap_or_default();
        Ok(Self { depth, segmentation, legend, upsampling, engine_taps: engine_taps.to_vec() })
    }

    /// Segments with `head` from now on, operation by operation; not at all without one.
    ///
    /// # Errors
    /// It reads a block that the engine does not return.
    pub fn segment_with(&mut self, head: Option<Head>) -> Result<(), EngineError> {
        let tapped = |head| Tapped::new(HeadEngine::new(head), &self.engine_taps);
        self.segmentation = head.map(tapped).transpose()?;
        self.legend = self.segmentation.as_ref().map(Tapped::legend).unwrap_or_default();
        Ok(())
    }

    /// How many of the engine's taps `wanted` needs.
    pub(super) fn n_taps(&self, wanted: Topics) -> usize {
        let of = |head: &Option<Tapped>, wants: bool| match head {
            Some(tapped) if wants => tapped.n_taps(),
            _ => 0,
        };
        of(&self.depth, self.wants_depth(wanted)).max(of(&self.segmentation, self.wants_labels(wanted)))
    }

    /// Whether depth is wanted and made for one focal length.
    pub(super) fn wants_focal_length(&self, wanted: Topics) -> bool {
        self.wants_depth(wanted) && self.trained_focal_length().is_some()
    }

    fn wants_depth(&self, wanted: Topics) -> bool {
        self.depth.is_some() && wanted.need(Need::Depth)
    }

    fn wants_labels(&self, wanted: Topics) -> bool {
        self.segmentation.is_some() && wanted.need(Need::Labels)
    }

    fn trained_focal_length(&self) -> Option<f64> {
        match self.depth.as_ref()?.card().task {
            heads::Task::Depth { focal_length, .. } => focal_length,
            heads::Task::Segmentation { .. } => None,
        }
    }

    /// Queues the maps that are wanted behind the model, and their way to the host.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn queue(
        &mut self,
        tokens: &Tokens,
        geometry: &Geometry,
        wanted: Topics,
        readback: &mut Readback,
    ) -> Result<QueuedMaps, EngineError> {
        let (wants_depth, wants_labels) = (self.wants_depth(wanted), self.wants_labels(wanted));
        let asked = Wanted { coverage: coverage(geometry), upsampling: self.upsampling };
        let mut queued = QueuedMaps::default();
        // Before another head runs, for its maps may lie where these do.
        if let Some(head) = self.depth.as_mut().filter(|_| wants_depth)
            && let [meters] = head.run(tokens, asked)?.as_slice()
        {
            queued.depth = Some(readback.bring(meters, Kind::Float)?);
        }
        if let Some(head) = self.segmentation.as_mut().filter(|_| wants_labels)
            && let [classes, confidence] = head.run(tokens, asked)?.as_slice()
        {
            let (classes, confidence) =
                (readback.bring(classes, Kind::Uint8)?, readback.bring(confidence, Kind::Uint8)?);
            queued.labels = Some(QueuedLabels { classes, confidence });
        }
        Ok(queued)
    }

    /// The maps, once they are there; `calibration` is that of the model input.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn finish(
        &self,
        queued: QueuedMaps,
        geometry: &Geometry,
        calibration: Option<&CameraModel>,
    ) -> Result<Maps, EngineError> {
        let QueuedMaps { depth, labels } = queued;
        let depth = depth.map(|meters| self.depth_map(&meters, geometry, calibration)).transpose()?;
        let label_map = |labels: QueuedLabels| label_map(&labels, geometry, Arc::clone(&self.legend));
        Ok(Maps { depth, labels: labels.map(label_map).transpose()? })
    }

    fn depth_map(
        &self,
        meters: &Tensor,
        geometry: &Geometry,
        calibration: Option<&CameraModel>,
    ) -> Result<DepthMap, EngineError> {
        // A camera of twice the focal length shows the same image of things twice as far away.
        let scale = match (self.trained_focal_length(), calibration) {
            (Some(trained), Some(camera)) => camera.focal_length() / trained,
            _ => 1.0,
        };
        let max_depth = match self.depth.as_ref().map(|head| &head.card().task) {
            Some(&heads::Task::Depth { max_depth, .. }) => max_depth,
            _ => f64::INFINITY,
        };
        let mut meters = tensor::floats(&meters.f_mul_scalar(scale)?.f_flatten(0, -1)?)?;
        blank(&mut meters, geometry, f32::NAN);
        Ok(DepthMap { size: geometry.model, meters, max_meters: (max_depth * scale) as f32 })
    }
}

fn label_map(
    labels: &QueuedLabels,
    geometry: &Geometry,
    legend: Arc<[Class]>,
) -> Result<LabelMap, EngineError> {
    let mut classes = tensor::bytes(&labels.classes, Kind::Uint8)?;
    let mut confidence = tensor::bytes(&labels.confidence, Kind::Uint8)?;
    blank(&mut classes, geometry, UNLABELLED);
    blank(&mut confidence, geometry, 0);
    Ok(LabelMap { size: geometry.model, classes, confidence, legend })
}

/// How the model has seen the image.
fn coverage(geometry: &Geometry) -> heads::Coverage {
    match geometry.is_windowed {
        true => heads::Coverage::Windows(geometry.model),
        false => heads::Coverage::Whole(geometry.model),
    }
}

/// Puts `value` where the model input is padding.
fn blank<T: Copy>(map: &mut [T], geometry: &Geometry, value: T) {
    let (inside, width) = (geometry.image_in_model(), geometry.model.width as usize);
    if inside.size == geometry.model {
        return;
    }
    let columns = inside.left as usize..(inside.left + inside.size.width) as usize;
    let rows = inside.top as usize..(inside.top + inside.size.height) as usize;
    for (y, row) in map.chunks_mut(width).enumerate() {
        if rows.contains(&y) {
            row[..columns.start].fill(value);
            row[columns.end..].fill(value);
        } else {
            row.fill(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_beyond_the_limits_is_infinite_and_padding_stays_invalid() {
        let size = Size { width: 5, height: 1 };
        let mut map = DepthMap { size, meters: vec![0.4, 0.5, 3.0, 3.1, f32::NAN], max_meters: 10.0 };
        map.limit(DepthLimits::default());
        assert_eq!(map.meters[..4], [0.4, 0.5, 3.0, 3.1]);
        map.limit(DepthLimits { min: Some(0.5), max: Some(3.0) });
        assert_eq!(map.meters[..4], [f32::NEG_INFINITY, 0.5, 3.0, f32::INFINITY]);
        assert!(map.meters[4].is_nan());
    }

    #[test]
    fn padding_is_blank_and_the_image_stays() {
        let (wide, model) = (Size { width: 64, height: 32 }, Size { width: 32, height: 32 });
        let blanked = |geometry: &Geometry| {
            let mut map = vec![1u8; 32 * 32];
            blank(&mut map, geometry, 0);
            map
        };
        let letterboxed = blanked(&Geometry::letterbox(wide, model));
        assert!(letterboxed.chunks(32).enumerate().all(|(y, row)| {
            let expect = u8::from((8..24).contains(&y));
            row.iter().all(|&value| value == expect)
        }));
        assert!(blanked(&Geometry::stretch(wide, model)).iter().all(|&value| value == 1));
        assert!(blanked(&Geometry::crop(wide, model)).iter().all(|&value| value == 1));
    }
}
