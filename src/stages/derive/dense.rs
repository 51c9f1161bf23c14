//! Depth and segmentation of one frame, pixel by pixel at the size of the model input.

use tch::{Device, Kind, Tensor};

use crate::config::{DepthLimits, Upsampling};
use crate::engine::head::HeadEngine;
use crate::engine::{EngineError, Tokens};
use crate::geometry::{CameraModel, Geometry, Size};
use crate::heads::{self, Card, HeadSet};
use crate::outputs::{Need, Topics};
use crate::runtime::tensor;

/// Distance along the optical axis.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthMap {
    /// That of the model input.
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
    /// That of the model input.
    pub size: Size,
    /// `[height, width]`, row-major: index among the head's classes, 255 where the camera's image does not
    /// reach.
    pub classes: Vec<u8>,
    /// `[height, width]`: how sure the head is, 0 to 255.
    pub confidence: Vec<u8>,
}

/// The label of pixels that belong to no class.
pub const UNLABELLED: u8 = 255;

/// The heads that there are, and where their taps stand among the engine's.
#[derive(Debug, Default)]
pub struct Dense {
    depth: Option<Tapped>,
    segmentation: Option<Tapped>,
    upsampling: Upsampling,
}

#[derive(Debug)]
struct Tapped {
    engine: HeadEngine,
    /// Ascending.
    taps: Vec<usize>,
}

impl Tapped {
    /// `None` when the engine lacks one of the head's blocks.
    fn new(engine: HeadEngine, engine_taps: &[usize]) -> Option<Self> {
        let position = |block: &usize| engine_taps.iter().position(|tap| tap == block);
        let taps = engine.head().card().taps.iter().map(position).collect::<Option<_>>()?;
        Some(Self { engine, taps })
    }

    fn n_taps(&self) -> usize {
        self.taps.last().map_or(0, |tap| tap + 1)
    }

    fn card(&self) -> &Card {
        self.engine.head().card()
    }

    /// Raw maps `[B, n, h, w]` of what the model has seen at once.
    fn run(&mut self, tokens: &Tokens, pass: Size) -> Result<Tensor, EngineError> {
        let taps = self.taps.iter().filter_map(|&tap| tokens.taps.get(tap).map(Tensor::shallow_clone));
        self.engine.run(&taps.collect::<Vec<_>>(), pass)
    }
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
        let tapped = |head: HeadEngine| {
            let blocks = head.head().card().taps.clone();
            let message =
                || format!("a head reads the blocks {blocks:?}, the engine returns {engine_taps:?}");
            Tapped::new(head, engine_taps).ok_or_else(|| EngineError { message: message() })
        };
        let HeadSet { depth, segmentation } = heads.try_map(tapped)?;
        Ok(Self { depth, segmentation, upsampling })
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

    /// Depth if it is wanted; `calibration` is that of the model input.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn depth(
        &mut self,
        tokens: &Tokens,
        geometry: &Geometry,
        calibration: Option<&CameraModel>,
        wanted: Topics,
    ) -> Result<Option<DepthMap>, EngineError> {
        let (wants, trained) = (self.wants_depth(wanted), self.trained_focal_length());
        let Some(tapped) = self.depth.as_mut().filter(|_| wants) else { return Ok(None) };
        let raw = tapped.run(tokens, geometry.pass())?;
        let Some(depth) = tapped.engine.head().depth(&raw, picture(geometry))? else { return Ok(None) };
        let max_depth = match tapped.card().task {
            heads::Task::Depth { max_depth, .. } => max_depth,
            heads::Task::Segmentation { .. } => return Ok(None),
        };
        // A camera of twice the focal length shows the same image of things twice as far away.
        let scale = match (trained, calibration) {
            (Some(trained), Some(camera)) => camera.focal_length() / trained,
            _ => 1.0,
        };
        let mut meters = tensor::floats(&depth.f_mul_scalar(scale)?.f_flatten(0, -1)?)?;
        blank(&mut meters, geometry, f32::NAN);
        Ok(Some(DepthMap { size: geometry.model, meters, max_meters: (max_depth * scale) as f32 }))
    }

    /// Labels if they are wanted.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn labels(
        &mut self,
        tokens: &Tokens,
        geometry: &Geometry,
        wanted: Topics,
    ) -> Result<Option<LabelMap>, EngineError> {
        let wants = self.wants_labels(wanted);
        let Some(tapped) = self.segmentation.as_mut().filter(|_| wants) else { return Ok(None) };
        let raw = tapped.run(tokens, geometry.pass())?;
        let Some(labels) = tapped.engine.head().labels(&raw, picture(geometry), self.upsampling)? else {
            return Ok(None);
        };
        let confidence = labels.confidence.f_mul_scalar(255.0)?.f_round()?;
        let mut classes = tensor::bytes(&labels.classes.f_to_device(Device::Cpu)?, Kind::Uint8)?;
        let mut confidence = tensor::bytes(&confidence.f_to_device(Device::Cpu)?, Kind::Uint8)?;
        blank(&mut classes, geometry, UNLABELLED);
        blank(&mut confidence, geometry, 0);
        Ok(Some(LabelMap { size: geometry.model, classes, confidence }))
    }
}

/// How the model has seen the image.
fn picture(geometry: &Geometry) -> heads::Coverage {
    match geometry.is_windowed {
        true => heads::Coverage::Windows(geometry.model),
        false => heads::Coverage::Whole(geometry.model),
    }
}

/// Puts `value` where the model input is padding.
fn blank<T: Copy>(map: &mut [T], geometry: &Geometry, value: T) {
    let (inside, width) = (geometry.picture_in_model(), geometry.model.width as usize);
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
    fn padding_is_blank_and_the_picture_stays() {
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
