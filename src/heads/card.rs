//! The card of a head: what it is, what it was trained on and what it means. It is JSON in the head file's
//! metadata.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The newest form of the card. A linear head on several taps, one that reads positions and a threshold came
/// with it; a card without these is of format 1, which older nodes read.
const FORMAT: u32 = 2;

/// Most channels, blocks and class tokens of a card: products of these fit into 64 bits.
const MOST_CHANNELS: i128 = 1 << 17;

/// Most classes of a segmentation head: 255 is unlabelled in the topics.
pub const MOST_CLASSES: usize = 255;

/// Taps of a DPT head, and most of a linear one.
pub(super) const N_LEVELS: usize = 4;

/// Everything about a head that its tensors do not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// CardFormat of the card.
    pub format: u32,
    /// What the head's maps mean.
    pub task: Task,
    /// How the head is built.
    pub head: HeadKind,
    /// The encoder that it reads.
    pub backbone: EncoderCard,
    /// Blocks that it reads, counted from 1, ascending: one to four, and four for DPT.
    pub taps: Vec<usize>,
    /// Size of the model input that it was trained on, `WIDTHxHEIGHT`.
    pub size: String,
}

/// What a head's maps mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Task {
    /// Distance along the optical axis.
    Depth {
        /// The largest depth that the head can say, metres.
        max_depth: f64,
        /// Focal length of the training images, in pixels of the model input; none when they had many.
        focal_length: Option<f64>,
    },
    /// One class per pixel.
    Segmentation {
        /// The classes in the order of the head's maps.
        classes: Vec<Class>,
        /// Pixels whose likeliest class is less probable than this are unlabelled; 0 labels all.
        #[serde(default, skip_serializing_if = "is_zero")]
        threshold: f64,
    },
}

/// One class of a segmentation head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// For people and for LabelInfo.
    pub name: String,
    /// Red, green, blue.
    pub color: [u8; 3],
}

/// What the labels of a segmentation head mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Legend {
    /// The classes by their numbers.
    pub classes: Arc<[Class]>,
    /// Least confidence of a label.
    pub threshold: f64,
}

/// How a head is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum HeadKind {
    /// Batch norm and a 1x1 convolution on one to four taps.
    Linear {
        /// Whether the centre of the patch is an input too, x and y in the model input from -1 to 1.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        position: bool,
    },
    /// Four taps at four scales, merged.
    Dpt {
        /// Channels of the merged maps.
        features: i64,
        /// Channels of each tap's projection, shallow to deep.
        out_channels: [i64; N_LEVELS],
    },
}

/// The encoder that a head was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderCard {
    /// Name of the model, for people.
    pub model: String,
    /// The weights of the model, as `Pixio::revision`.
    pub revision: String,
    /// Channels of a token.
    pub hidden_size: usize,
    /// Transformer blocks.
    pub num_hidden_layers: usize,
    /// Class tokens.
    pub n_cls_tokens: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl EncoderCard {
    /// Whether a head that was trained on this encoder reads the tokens of `model`.
    ///
    /// # Errors
    /// Both architectures, where they differ.
    pub(super) fn check(&self, model: &Self) -> Result<(), String> {
        let shape = |one: &Self| (one.hidden_size, one.num_hidden_layers, one.n_cls_tokens);
        let words = |one: &Self| {
            let (hidden, layers, n_cls) = shape(one);
            format!("{layers} blocks of {hidden} with {n_cls} class tokens")
        };
        if shape(self) == shape(model) {
            return Ok(());
        }
        let (ours, theirs) = (words(self), words(model));
        Err(format!("it was trained on {} ({ours}), the model is {} ({theirs})", self.model, model.model))
    }
}

impl Card {
    /// What to expect of the head of `file` on the tokens of `encoder`, of which it was trained on other
    /// weights; nothing where it was trained on the same.
    pub fn revision_warning(&self, file: &Path, encoder: &EncoderCard) -> Option<String> {
        let Self { backbone, task, .. } = self;
        (backbone.revision != encoder.revision).then(|| {
            format!(
                "head {} was trained on revision {} of {}, this is revision {}: expect worse {}",
                file.display(),
                backbone.revision,
                backbone.model,
                encoder.revision,
                task.name()
            )
        })
    }
}

impl Task {
    /// In one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Depth { .. } => "depth",
            Self::Segmentation { .. } => "segmentation",
        }
    }
}

impl Card {
    /// Reads and checks a card.
    ///
    /// # Errors
    /// The text is not a card, is of a newer format, or contradicts itself.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct CardFormat {
            format: u32,
        }
        let CardFormat { format } = serde_json::from_str(text).map_err(|err| err.to_string())?;
        if !(1..=FORMAT).contains(&format) {
            return Err(format!("its card has format {format}, this node reads formats 1 to {FORMAT}"));
        }
        let card: Self = serde_json::from_str(text).map_err(|err| err.to_string())?;
        let n_taps = match card.head {
            HeadKind::Linear { .. } if format == 1 => 1..=1,
            HeadKind::Linear { .. } => 1..=N_LEVELS,
            HeadKind::Dpt { .. } => N_LEVELS..=N_LEVELS,
        };
        card.check_bounds()?;
        if format < card.format() {
            return Err(format!(
                "positions and a threshold need format {FORMAT}, its card has format {format}"
            ));
        }
        let in_range = card.taps.iter().all(|tap| (1..=card.backbone.num_hidden_layers).contains(tap));
        if !n_taps.contains(&card.taps.len()) || !in_range || !card.taps.is_sorted_by(|a, b| a < b) {
            let (n_blocks, least, most) = (card.backbone.num_hidden_layers, n_taps.start(), n_taps.end());
            let needed = if least == most { most.to_string() } else { format!("{least} to {most}") };
            return Err(format!(
                "taps {:?}: {needed} are needed, ascending, of blocks 1 to {n_blocks}",
                card.taps
            ));
        }
        match &card.task {
            Task::Depth { max_depth, .. } if !(max_depth.is_finite() && 0.0 < *max_depth) => {
                Err(format!("max_depth is {max_depth}, it must be positive"))
            }
            Task::Depth { focal_length: Some(focal), .. } if !(focal.is_finite() && 0.0 < *focal) => {
                Err(format!("focal_length is {focal}, it must be positive"))
            }
            Task::Segmentation { classes, .. } if classes.is_empty() || MOST_CLASSES < classes.len() => {
                Err(format!("it has {} classes, 1 to {MOST_CLASSES} are possible", classes.len()))
            }
            Task::Segmentation { threshold, .. } if !(0.0..=1.0).contains(threshold) => {
                Err(format!("threshold is {threshold}, 0 to 1 are possible"))
            }
            _ => Ok(card),
        }
    }

    /// Whether the shapes of tensors can be computed from it.
    fn check_bounds(&self) -> Result<(), String> {
        let EncoderCard { hidden_size, num_hidden_layers, n_cls_tokens, .. } = self.backbone;
        let mut numbers = vec![
            ("hidden_size", hidden_size as i128),
            ("num_hidden_layers", num_hidden_layers as i128),
            ("n_cls_tokens", n_cls_tokens as i128),
        ];
        if let HeadKind::Dpt { features, out_channels } = self.head {
            numbers.push(("features", features.into()));
            numbers.extend(out_channels.map(|n| ("out_channels", i128::from(n))));
        }
        match numbers.into_iter().find(|(_, n)| !(1..=MOST_CHANNELS).contains(n)) {
            Some((name, n)) => Err(format!("{name} is {n}, 1 to {MOST_CHANNELS} are possible")),
            None => Ok(()),
        }
    }

    /// The oldest format that says what the card says.
    pub fn format(&self) -> u32 {
        let reads_more = match self.head {
            HeadKind::Linear { position } => position || 1 < self.taps.len(),
            HeadKind::Dpt { .. } => false,
        };
        let leaves_out = match self.task {
            Task::Segmentation { threshold, .. } => 0.0 < threshold,
            Task::Depth { .. } => false,
        };
        if reads_more || leaves_out { 2 } else { 1 }
    }

    /// Channels of a patch that a linear head reads.
    pub(super) fn n_inputs(&self) -> i64 {
        let n_positions = if self.reads_position() { 2 } else { 0 };
        2 * (self.taps.len() * self.backbone.hidden_size) as i64 + n_positions
    }

    /// Whether the head reads where a patch lies, which windows over an image do not know.
    pub fn reads_position(&self) -> bool {
        matches!(self.head, HeadKind::Linear { position: true })
    }

    /// Maps that the head returns.
    pub fn n_outputs(&self) -> i64 {
        match &self.task {
            Task::Depth { .. } => 1,
            Task::Segmentation { classes, .. } => classes.len() as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = r#"{"format": 1, "task": {"kind": "depth", "max_depth": 10.0, "focal_length": null},
        "head": {"kind": "dpt", "features": 32, "out_channels": [32, 64, 128, 128]},
        "backbone": {"model": "m", "revision": "0123456789ab", "hidden_size": 192, "num_hidden_layers": 4,
        "n_cls_tokens": 8}, "taps": [1, 2, 3, 4], "size": "256x256"}"#;

    /// Spoils a good card and looks for `expect` in the answer.
    fn check(from: &str, to: &str, expect: &str) {
        assert!(CARD.contains(from), "{from} is not in the card");
        let answer = Card::parse(&CARD.replacen(from, to, 1)).map_or_else(|why| why, |card| card.size);
        assert!(answer.contains(expect), "{expect:?} is not in: {answer}");
    }

    #[test]
    fn a_card_that_contradicts_itself_is_refused() {
        check("256x256", "256x256", "256x256");
        check("\"format\": 1", "\"format\": 3", "its card has format 3, this node reads formats 1 to 2");
        check("\"format\": 1", "\"format\": 2", "256x256");
        check("[1, 2, 3, 4]", "[4]", "taps [4]: 4 are needed, ascending, of blocks 1 to 4");
        check("[1, 2, 3, 4]", "[1, 2, 3, 5]", "of blocks 1 to 4");
        check("[1, 2, 3, 4]", "[1, 3, 2, 4]", "ascending");
        check("192", "9223372036854775807", "hidden_size is 9223372036854775807, 1 to 131072 are possible");
        check(
            "\"n_cls_tokens\": 8",
            "\"n_cls_tokens\": 18446744073709551615",
            "n_cls_tokens is 18446744073709551615",
        );
        check("\"features\": 32", "\"features\": -1", "features is -1, 1 to");
        check("128]", "0]", "out_channels is 0, 1 to");
        check("10.0", "0.0", "max_depth is 0, it must be positive");
        check("null", "-1.0", "focal_length is -1, it must be positive");
        check("[32, 64, 128, 128]", "[32, 64, 128]", "invalid length 3");
        check("\"depth\"", "\"normals\"", "unknown variant `normals`");
        let none = r#"{"kind": "segmentation", "classes": []}"#;
        check(
            r#"{"kind": "depth", "max_depth": 10.0, "focal_length": null}"#,
            none,
            "it has 0 classes, 1 to 255",
        );
    }

    const LINEAR: &str = r#"{"format": 2, "task": {"kind": "segmentation", "classes": [{"name": "a",
        "color": [0, 0, 0]}], "threshold": 0.5}, "head": {"kind": "linear", "position": true},
        "backbone": {"model": "m", "revision": "0123456789ab", "hidden_size": 192, "num_hidden_layers": 4,
        "n_cls_tokens": 8}, "taps": [2, 4], "size": "256x256"}"#;

    #[test]
    fn a_linear_head_of_format_2_reads_several_taps_positions_and_a_threshold() {
        let card = Card::parse(LINEAR).unwrap();
        assert_eq!((card.format(), card.n_inputs(), card.reads_position()), (2, 2 * 2 * 192 + 2, true));
        let again = serde_json::to_string(&card).unwrap();
        assert_eq!(Card::parse(&again).unwrap(), card);
        let check = |from: &str, to: &str, expect: &str| {
            let answer = Card::parse(&LINEAR.replacen(from, to, 1)).unwrap_err();
            assert!(answer.contains(expect), "{expect:?} is not in: {answer}");
        };
        check("\"format\": 2", "\"format\": 1", "positions and a threshold need format 2");
        check("[2, 4]", "[]", "1 to 4 are needed");
        check("[2, 4]", "[0, 1, 2, 3, 4]", "1 to 4 are needed");
        check("0.5", "1.5", "threshold is 1.5, 0 to 1 are possible");
        let plain = LINEAR.replace(", \"threshold\": 0.5", "").replace(", \"position\": true", "");
        assert_eq!(Card::parse(&plain.replace("[2, 4]", "[4]")).unwrap().format(), 1);
    }
}
