//! One frame as pages get it. The publish thread only copies; what pages ask for is encoded once, on the
//! server's thread, and shared by them.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::body::Bytes;
use half::f16;

use super::framing;
use super::messages::{AboutBlob, AboutFrame, FrameFacts, More, Panel};
use crate::config::FeaturesDtype;
use crate::encode;
use crate::exemplars::Exemplar;
use crate::geometry::{Geometry, Size};
use crate::stages::derive::{Derived, FeatureMap, PatchExemplars};

/// What pages see of a frame.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Counts the frames of the camera that pages were shown.
    pub(super) number: u64,
    facts: FrameFacts,
    received: Instant,
    /// [`crate::stages::camera::Header::frame_id`], which names the page that has sent the image.
    pub(super) frame_id: String,
    parts: Vec<Part>,
    geometry: Geometry,
    exemplars: Option<Arc<PatchExemplars>>,
}

/// A part of a frame, as it was computed and as it travels.
#[derive(Debug)]
struct Part {
    panel: Panel,
    size: Size,
    values: Values,
    encoded: OnceLock<Option<Vec<u8>>>,
}

#[derive(Debug)]
enum Values {
    /// Rows of RGB, to become a JPEG file.
    Image(Vec<u8>),
    /// They travel as they are.
    Bytes(Vec<u8>),
    /// Metres.
    Depth { meters: Vec<f32>, max: f32 },
    /// To become float16.
    Tokens(FeatureMap),
}

/// Steps between nothing and the largest depth; 0 is no depth.
const DEPTH_STEPS: f32 = 65535.0;

impl Snapshot {
    /// The `panels` of `derived`, as far as they are there.
    pub(super) fn of(derived: &Derived, number: u64, panels: &[Panel]) -> Self {
        let geometry = &derived.geometry;
        let part = |&panel: &Panel| {
            let (size, values) = values(derived, panel)?;
            Some(Part { panel, size, values, encoded: OnceLock::new() })
        };
        let m = geometry.model_from_camera.matrix();
        let stamp = derived.header.stamp;
        let intrinsics = derived.input_info.clone().map(|model| {
            let k = model.into_intrinsics().k;
            [k[0], k[4], k[2], k[5]]
        });
        let sides = |size: Size| [size.width, size.height];
        Self {
            number,
            geometry: geometry.clone(),
            exemplars: derived.exemplars.clone(),
            facts: FrameFacts {
                frame: number,
                camera: derived.camera,
                stamp: (stamp.sec, stamp.nanosec),
                size: sides(geometry.camera),
                model: sides(geometry.model),
                grid: sides(geometry.grid()),
                model_from_camera: [m.m11, m.m12, m.m13, m.m21, m.m22, m.m23],
                intrinsics,
                processing_ms: 0.0,
            },
            received: derived.received,
            frame_id: derived.header.frame_id.clone(),
            parts: panels.iter().filter_map(part).collect(),
        }
    }

    /// The exemplars under `pixels` of the camera's image.
    ///
    /// # Errors
    /// The model sees nothing there, or the frame came before anybody could point at it.
    pub(super) fn exemplars_under(&self, pixels: &[[f64; 2]]) -> Result<Vec<Exemplar>, String> {
        let exemplars = self.exemplars.as_ref().ok_or("nothing can be learnt of this image: point again")?;
        exemplars.under(pixels, &self.geometry)
    }

    /// The message for a page that looks at `panels`.
    ///
    /// # Errors
    /// None: all numbers are finite or JSON's null.
    pub(super) fn message(&self, panels: &[Panel]) -> serde_json::Result<Bytes> {
        let wanted = self.parts.iter().filter(|part| panels.contains(&part.panel));
        let parts: Vec<_> = wanted.filter_map(|part| Some((part, part.encoded()?))).collect();
        let blobs: Vec<_> = parts.iter().map(|(part, bytes)| part.about(bytes.len())).collect();
        let processing_ms = self.received.elapsed().as_secs_f64() * 1e3;
        let facts = FrameFacts { processing_ms, ..self.facts.clone() };
        let bytes: Vec<_> = parts.into_iter().map(|(_, bytes)| bytes).collect();
        framing::join(&AboutFrame::new(&facts, &blobs), &bytes)
    }
}

/// What `panel` shows of `derived`, and its size.
fn values(derived: &Derived, panel: Panel) -> Option<(Size, Values)> {
    Some(match panel {
        Panel::Image => (derived.geometry.model, Values::Image(derived.pixels.to_vec())),
        Panel::Pca => {
            let image = derived.pca.as_ref()?;
            (image.size, Values::Bytes(image.bytes.clone()))
        }
        Panel::Depth => {
            let map = derived.depth.as_ref()?;
            (map.size, Values::Depth { meters: map.meters.clone(), max: map.max_meters })
        }
        Panel::Labels => {
            let map = derived.labels.as_ref()?;
            (map.size, Values::Bytes(map.classes.clone()))
        }
        Panel::Tokens => {
            let map = derived.features.as_ref()?;
            (map.grid, Values::Tokens(map.clone()))
        }
        Panel::Similarity => {
            let map = derived.similarity.as_ref()?;
            (map.grid, Values::Bytes(map.bytes.clone()))
        }
    })
}

impl Part {
    fn encoded(&self) -> Option<&[u8]> {
        if let Values::Bytes(bytes) = &self.values {
            return Some(bytes);
        }
        let encode = || match &self.values {
            Values::Image(rgb) => encode::jpeg(rgb, self.size).ok(),
            Values::Bytes(_) => None,
            Values::Depth { meters, max } => Some(steps(meters, *max)),
            Values::Tokens(map) => Some(halves(map)),
        };
        self.encoded.get_or_init(encode).as_deref()
    }

    fn about(&self, bytes: usize) -> AboutBlob {
        let more = match &self.values {
            Values::Depth { max, .. } => More::Depth { scale: max / DEPTH_STEPS, max: *max },
            Values::Tokens(map) => More::Tokens { channels: map.channels },
            Values::Image(_) | Values::Bytes(_) => More::Nothing {},
        };
        AboutBlob { name: self.panel, bytes, size: [self.size.width, self.size.height], more }
    }
}

/// `meters` as 16-bit numbers of steps, of which `max` is the last; 0 where there is no depth.
fn steps(meters: &[f32], max: f32) -> Vec<u8> {
    let step = |&depth: &f32| match depth.is_finite() {
        true => (depth * (DEPTH_STEPS / max)).round().clamp(1.0, DEPTH_STEPS) as u16,
        false => 0,
    };
    meters.iter().flat_map(|depth| step(depth).to_le_bytes()).collect()
}

/// `map` in float16.
fn halves(map: &FeatureMap) -> Vec<u8> {
    match map.dtype {
        FeaturesDtype::Float16 => map.bytes.clone(),
        FeaturesDtype::Float32 => {
            let (values, _) = map.bytes.as_chunks::<4>();
            values.iter().flat_map(|value| f16::from_f32(f32::from_le_bytes(*value)).to_le_bytes()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_keeps_a_step_and_what_is_none_stays_none() {
        let meters = [0.0, 2.5, 10.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let bytes = steps(&meters, 10.0);
        let steps: Vec<_> = bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!(steps, [1, 16384, 65535, 0, 0, 0]);
    }

    #[test]
    fn tokens_travel_as_halves() {
        let bytes = [1.0f32, -0.5].iter().flat_map(|value| value.to_le_bytes()).collect();
        let grid = Size { width: 1, height: 1 };
        let map = FeatureMap { grid, channels: 2, dtype: FeaturesDtype::Float32, bytes };
        assert_eq!(halves(&map), [0x00, 0x3c, 0x00, 0xb8]);
    }
}
