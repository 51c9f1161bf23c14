//! The JSON messages of the protocol; `docs/live.md` describes each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::heads::Class;
use crate::runtime::statistics::Counts;
use crate::stages::camera::Stamp;
use crate::teaching::Written;

/// The version of the protocol.
const VERSION: u32 = 1;

/// What a page is told first, as far as it does not change while the node runs.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// The node's name; `None` with `pixio_node live`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Names of the cameras.
    pub cameras: Vec<String>,
    /// The model.
    pub model: AboutModel,
    /// Whether there is a depth head.
    #[serde(skip)]
    pub has_depth: bool,
    /// The classes of the segmentation head, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<Class>>,
    /// Whether pages may teach.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub teaching: bool,
}

/// How teaching stands.
#[derive(Debug, Serialize)]
pub(super) struct TeachingState {
    classes: Vec<TaughtClass>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fit_ms: Option<f64>,
    has_head: bool,
    can_undo: bool,
    /// Names of heads that can be loaded.
    heads: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TaughtClass {
    #[serde(flatten)]
    class: Class,
    exemplars: usize,
}

impl TeachingState {
    pub(super) fn new(written: &Written, heads: Vec<String>) -> Self {
        let Written { classes, counts, fit_millis, has_head, can_undo, .. } = written;
        let class = |(class, &exemplars): (&Class, &usize)| TaughtClass { class: class.clone(), exemplars };
        let classes = classes.iter().zip(counts).map(class).collect();
        Self { classes, fit_ms: *fit_millis, has_head: *has_head, can_undo: *can_undo, heads }
    }
}

/// The model's card.
#[derive(Clone, Debug, Serialize)]
pub struct AboutModel {
    /// As messages name it.
    pub name: String,
    /// First digits of the weights' hash.
    pub revision: String,
    /// Block that feeds the features.
    pub layer: usize,
    /// Channels of a patch token.
    pub channels: usize,
    /// Width and height of the model input, pixels.
    pub input: [u32; 2],
    /// What runs it.
    pub engine: String,
    /// Where, and in which arithmetic.
    pub place: String,
    /// Why nobody should judge Pixio by these weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Text messages of the node.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToPage {
    Hello(Box<Hello>),
    Source {
        kind: SourceKind,
        mine: bool,
    },
    Teaching(TeachingState),
    Next,
    Status(Box<Status>),
    Notice {
        level: Level,
        text: String,
        /// Whether it is the answer to a request about teaching.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        teaching: bool,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct Hello {
    version: u32,
    mode: Mode,
    #[serde(flatten)]
    about: About,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<DepthColors>,
    max_image_bytes: usize,
}

#[derive(Debug, Serialize)]
struct DepthColors {
    colors: Vec<[u8; 3]>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    Live,
    Node,
}

/// Colours of depth from nothing to the largest depth.
const N_DEPTH_COLORS: usize = 1024;

impl Hello {
    pub(super) fn new(about: About, mode: Mode, folder: Option<String>) -> Self {
        let depth =
            about.has_depth.then(|| DepthColors { colors: crate::encode::depth_scale(N_DEPTH_COLORS) });
        Self { version: VERSION, mode, about, folder, depth, max_image_bytes: super::MAX_IMAGE_BYTES }
    }
}

/// Who feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SourceKind {
    None,
    Folder,
    Page,
}

/// How grave a notice is.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    Info,
    Warning,
}

/// How things stand.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) is_enabled: bool,
    pub(super) counts: Counts,
    pub(super) rate_in: f64,
    pub(super) rate_out: f64,
    pub(super) stages: BTreeMap<&'static str, StageTimes>,
    pub(super) skipped: u64,
    pub(super) n_viewers: usize,
    pub(super) basis: String,
    pub(super) lacks: String,
}

/// Times of a stage, ms.
#[derive(Debug, Serialize)]
pub(super) struct StageTimes {
    pub(super) p50: f64,
    pub(super) p95: f64,
}

/// Text messages of a page.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FromPage {
    Look { camera: usize, panels: Vec<Panel> },
    Drawn,
    Query { x: f64, y: f64 },
    ResetBasis,
    Source { kind: SourceKind },
    Teach { frame: u64, class: String, pixels: Vec<[f64; 2]> },
    Forget { class: String },
    Undo,
    SaveHead { name: String },
    LoadHead { name: String },
}

/// A part of a frame that a page may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Panel {
    Image,
    Pca,
    Depth,
    Labels,
    Tokens,
    Similarity,
}

impl Panel {
    pub(super) const ALL: [Self; 6] =
        [Self::Image, Self::Pca, Self::Depth, Self::Labels, Self::Tokens, Self::Similarity];
}

/// What stands before an image of a page.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AboutImage {
    stamp: (i32, u32),
}

impl AboutImage {
    /// When the image was captured, by the page's clock.
    pub(super) fn stamp(&self) -> Stamp {
        let (sec, nanosec) = self.stamp;
        Stamp { sec, nanosec: nanosec.min(999_999_999) }
    }
}

/// What stands before the parts of a frame.
#[derive(Debug, Serialize)]
pub(super) struct AboutFrame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    frame: &'a FrameFacts,
    blobs: &'a [AboutBlob],
}

impl<'a> AboutFrame<'a> {
    pub(super) fn new(frame: &'a FrameFacts, blobs: &'a [AboutBlob]) -> Self {
        Self { kind: "frame", frame, blobs }
    }
}

/// What is the same for all parts of a frame.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FrameFacts {
    pub(super) frame: u64,
    pub(super) camera: usize,
    pub(super) stamp: (i32, u32),
    pub(super) size: [u32; 2],
    pub(super) model: [u32; 2],
    pub(super) grid: [u32; 2],
    pub(super) model_from_camera: [f64; 6],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) intrinsics: Option<[f64; 4]>,
    pub(super) processing_ms: f64,
}

/// One part of a frame.
#[derive(Clone, Debug, Serialize)]
pub(super) struct AboutBlob {
    pub(super) name: Panel,
    pub(super) bytes: usize,
    pub(super) size: [u32; 2],
    #[serde(flatten)]
    pub(super) more: More,
}

/// What only some parts have.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum More {
    /// Metres of one step, and those of the last colour.
    Depth {
        scale: f32,
        max: f32,
    },
    /// Values for each patch.
    Tokens {
        channels: usize,
    },
    Nothing {},
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_page_are_read_strictly() {
        let read = |text| serde_json::from_str::<FromPage>(text).ok();
        let look = r#"{"type": "look", "camera": 1, "panels": ["pca", "tokens"]}"#;
        assert_eq!(read(look), Some(FromPage::Look { camera: 1, panels: vec![Panel::Pca, Panel::Tokens] }));
        assert_eq!(read(r#"{"type": "drawn"}"#), Some(FromPage::Drawn));
        let teach = r#"{"type": "teach", "frame": 7, "class": "door", "pixels": [[1, 2.5]]}"#;
        let pixels = vec![[1.0, 2.5]];
        assert_eq!(read(teach), Some(FromPage::Teach { frame: 7, class: "door".into(), pixels }));
        assert_eq!(read(r#"{"type": "undo"}"#), Some(FromPage::Undo));
        for text in [
            "",
            "[]",
            r#"{"type": "dawn"}"#,
            r#"{"type": "look", "camera": -1, "panels": []}"#,
            r#"{"type": "look", "camera": 0, "panels": ["points"]}"#,
            r#"{"type": "query", "x": 1}"#,
            r#"{"type": "teach", "frame": 1, "class": "door", "pixels": [[1, 2, 3]]}"#,
            r#"{"type": "teach", "frame": -1, "class": "door", "pixels": []}"#,
            r#"{"type": "save_head"}"#,
            r#"{"type": "query", "x": 1, "y": 2, "z": 3}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
