//! `config.json` of a Pixio checkpoint, as transformers writes it.

use std::path::Path;

use serde::Deserialize;

use super::error::ModelError;
use crate::files;
use crate::geometry::PATCH;

/// Most channels of a token, or of the MLP. Pixio's largest model has 3072 and four times as many.
const MOST_CHANNELS: usize = 1 << 17;
/// Most transformer blocks.
const MOST_BLOCKS: usize = 1024;
/// Most class tokens.
const MOST_CLASS_TOKENS: usize = 1024;
/// Longest side of training images in pixels.
const MOST_SIDE: usize = 1 << 14;
/// Most bytes of config.json.
const MOST_BYTES: u64 = 1 << 20;

/// Architecture of a Pixio encoder: the fields and defaults of transformers' `PixioConfig`. Keys that are
/// not listed here are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct PixioConfig {
    /// `pixio`.
    pub model_type: String,
    /// Channels of a token, D.
    pub hidden_size: usize,
    /// Transformer blocks.
    pub num_hidden_layers: usize,
    /// Attention heads; they divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Hidden channels of the MLP over `hidden_size`.
    pub mlp_ratio: f64,
    /// Activation of the MLP: `gelu`, the exact one.
    pub hidden_act: String,
    /// Training only.
    pub hidden_dropout_prob: f64,
    /// Training only.
    pub attention_probs_dropout_prob: f64,
    /// Training only.
    pub initializer_range: f64,
    /// Epsilon of every layer norm.
    pub layer_norm_eps: f64,
    /// Side in pixels of the square that the position embedding was learned on.
    pub image_size: Side,
    /// Side of a patch in pixels: 16.
    pub patch_size: Side,
    /// Channels of an image: 3.
    pub num_channels: usize,
    /// Whether q, k and v have biases.
    pub qkv_bias: bool,
    /// Training only.
    pub drop_path_rate: f64,
    /// Stages that a backbone returns, by name (`stem`, `stage1`, …).
    pub out_features: Option<Vec<String>>,
    /// Stages that a backbone returns, by index (0 = stem); negative ones count from the end.
    pub out_indices: Option<Vec<i64>>,
    /// Whether a backbone applies the final norm to its stages.
    pub apply_layernorm: bool,
    /// Whether a backbone returns `[B, D, H/16, W/16]` without class tokens instead of `[B, n_cls + P, D]`.
    pub reshape_hidden_states: bool,
    /// Class tokens in front of the patch tokens.
    pub n_cls_tokens: usize,
}

/// One side of a square, or height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Side {
    /// Both sides.
    Square(usize),
    /// Height and width.
    Sides([usize; 2]),
}

impl Side {
    fn square(self) -> Option<usize> {
        match self {
            Self::Square(side) => Some(side),
            Self::Sides([height, width]) => (height == width).then_some(height),
        }
    }
}

impl Default for PixioConfig {
    fn default() -> Self {
        Self {
            model_type: "pixio".into(),
            hidden_size: 1280,
            num_hidden_layers: 32,
            num_attention_heads: 16,
            mlp_ratio: 4.0,
            hidden_act: "gelu".into(),
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            initializer_range: 0.02,
            layer_norm_eps: 1e-6,
            image_size: Side::Square(256),
            patch_size: Side::Square(16),
            num_channels: 3,
            qkv_bias: true,
            drop_path_rate: 0.0,
            out_features: None,
            out_indices: None,
            apply_layernorm: true,
            reshape_hidden_states: true,
            n_cls_tokens: 8,
        }
    }
}

impl PixioConfig {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// The file cannot be read or parsed, or holds a value that is not supported; the message names it.
    pub fn read(file: &Path) -> Result<Self, ModelError> {
        let text = files::read_text(file, MOST_BYTES)
            .map_err(|reason| ModelError::Io { file: file.into(), reason })?;
        Self::parse(&text, file)
    }

    pub(super) fn parse(text: &str, file: &Path) -> Result<Self, ModelError> {
        let malformed = |reason: String| ModelError::Malformed { file: file.into(), reason };
        let config: Self = serde_json::from_str(text).map_err(|err| malformed(err.to_string()))?;
        let unsupported = |key, found: String, supported: String| {
            Err(ModelError::Unsupported { file: file.into(), key, found, supported })
        };
        let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
        if config.model_type != "pixio" {
            return unsupported("model_type", format!("{:?}", config.model_type), "\"pixio\"".into());
        }
        if config.hidden_act != "gelu" {
            return unsupported("hidden_act", format!("{:?}", config.hidden_act), "\"gelu\"".into());
        }
        if config.patch_size.square() != Some(PATCH as usize) {
            return unsupported("patch_size", format!("{:?}", config.patch_size), PATCH.to_string());
        }
        if config.num_channels != 3 {
            return unsupported("num_channels", config.num_channels.to_string(), "3".into());
        }
        if config.image_size.square().is_none_or(|side| side == 0 || side % PATCH as usize != 0) {
            let supported = format!("a square with a side divisible by {PATCH}");
            return unsupported("image_size", format!("{:?}", config.image_size), supported);
        }
        if heads == 0 || hidden == 0 || !hidden.is_multiple_of(heads) {
            let supported = format!("a divisor of hidden_size {hidden}");
            return unsupported("num_attention_heads", heads.to_string(), supported);
        }
        if config.num_hidden_layers == 0 || config.n_cls_tokens == 0 || config.mlp_hidden() == 0 {
            return Err(malformed("num_hidden_layers, n_cls_tokens and mlp_ratio must be positive".into()));
        }
        for (key, found, most) in config.bounds() {
            if most < found {
                return unsupported(key, found.to_string(), format!("up to {most}"));
            }
        }
        if !(config.layer_norm_eps.is_finite() && 0.0 <= config.layer_norm_eps) {
            return unsupported("layer_norm_eps", config.layer_norm_eps.to_string(), "0 and more".into());
        }
        config.stages().map_err(malformed)?;
        Ok(config)
    }

    /// What the shapes of tensors are computed from, with the most that this node takes: products of these
    /// fit into 64 bits.
    fn bounds(&self) -> [(&'static str, usize, usize); 5] {
        [
            ("hidden_size", self.hidden_size, MOST_CHANNELS),
            ("mlp_ratio", self.mlp_hidden(), MOST_CHANNELS),
            ("num_hidden_layers", self.num_hidden_layers, MOST_BLOCKS),
            ("n_cls_tokens", self.n_cls_tokens, MOST_CLASS_TOKENS),
            ("image_size", self.image_size.square().unwrap_or(0), MOST_SIDE),
        ]
    }

    /// Hidden channels of the MLP.
    pub fn mlp_hidden(&self) -> usize {
        // Truncated as Python's int() does.
        (self.hidden_size as f64 * self.mlp_ratio) as usize
    }

    /// Side of the grid of patches that the position embedding was learned on.
    pub fn trained_grid(&self) -> usize {
        self.image_size.square().unwrap_or(0) / PATCH as usize
    }

    /// Indices of the stages that a backbone returns (0 = stem, k = output of block k), ascending.
    ///
    /// # Errors
    /// A sentence about what is wrong with `out_features` or `out_indices`.
    pub fn stages(&self) -> Result<Vec<usize>, String> {
        let last = self.num_hidden_layers;
        let by_name = self.out_features.as_ref().map(|names| {
            let named = names
                .iter()
                .map(|name| self.stage_of(name).ok_or_else(|| format!("out_features: no stage {name:?}")));
            named.collect::<Result<Vec<_>, _>>()
        });
        let by_index = self.out_indices.as_ref().map(|indices| {
            let values = indices.iter().map(|&index| {
                let from_front = if index < 0 { index + last as i64 + 1 } else { index };
                let stage = usize::try_from(from_front).ok().filter(|&stage| stage <= last);
                stage.ok_or_else(|| format!("out_indices: no stage {index}"))
            });
            values.collect::<Result<Vec<_>, _>>()
        });
        let stages = match (by_name.transpose()?, by_index.transpose()?) {
            (None, None) => vec![last],
            (Some(stages), None) | (None, Some(stages)) => stages,
            (Some(names), Some(indices)) if names == indices => names,
            (Some(_), Some(_)) => return Err("out_features and out_indices name different stages".into()),
        };
        if !stages.is_sorted_by(|a, b| a < b) {
            return Err("the stages of out_features and out_indices must ascend".into());
        }
        Ok(stages)
    }

    fn stage_of(&self, name: &str) -> Option<usize> {
        (0..=self.num_hidden_layers).find(|&stage| match stage {
            0 => name == "stem",
            _ => name.strip_prefix("stage") == Some(stage.to_string().as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: &str) {
        let answer = PixioConfig::parse(json, Path::new("config.json"))
            .map_or_else(|err| err.to_string(), |config| format!("{:?}", config.stages().unwrap()));
        assert!(answer.contains(expect), "{json}: {answer}");
    }

    #[test]
    fn an_empty_object_is_the_huge_model() {
        let config = PixioConfig::parse("{}", Path::new("config.json")).unwrap();
        assert_eq!(config, PixioConfig::default());
        assert_eq!((config.mlp_hidden(), config.trained_grid()), (5120, 16));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        check(r#"{"model_type": "dinov2"}"#, r#"config.json: model_type is "dinov2""#);
        check(r#"{"hidden_act": "gelu_new"}"#, r#"hidden_act is "gelu_new", but only "gelu" is supported"#);
        check(r#"{"patch_size": 14}"#, "patch_size is Square(14), but only 16");
        check(r#"{"patch_size": [16, 16], "future_key": [1]}"#, "[32]");
        check(r#"{"image_size": [256, 512]}"#, "image_size");
        check(r#"{"num_channels": 4}"#, "num_channels is 4, but only 3");
        check(
            r#"{"num_attention_heads": 7}"#,
            "num_attention_heads is 7, but only a divisor of hidden_size 1280",
        );
        check(r#"{"hidden_size": "wide"}"#, "config.json: invalid type");
        check(r#"{"num_hidden_layers": 0}"#, "must be positive");
        check("{", "config.json: EOF");
        check(
            r#"{"n_cls_tokens": 18446744073709551615}"#,
            "n_cls_tokens is 18446744073709551615, but only up to",
        );
        check(
            r#"{"num_hidden_layers": 9223372036854775807, "out_features": ["stage8"]}"#,
            "num_hidden_layers is",
        );
        check(r#"{"hidden_size": 1099511627776, "num_attention_heads": 1}"#, "hidden_size is 1099511627776");
        check(r#"{"mlp_ratio": 1e300}"#, "mlp_ratio is 18446744073709551615, but only up to 131072");
        check(r#"{"mlp_ratio": -1}"#, "must be positive");
        check(r#"{"image_size": 4294967296}"#, "image_size is 4294967296, but only up to 16384");
        check(r#"{"layer_norm_eps": -1e-6}"#, "layer_norm_eps is -0.000001");
    }

    #[test]
    fn stages_follow_names_and_indices() {
        check("{}", "[32]");
        check(r#"{"out_features": ["stem", "stage8"]}"#, "[0, 8]");
        check(r#"{"out_indices": [0, 8, -1]}"#, "[0, 8, 32]");
        check(r#"{"out_features": ["stage8"], "out_indices": [8]}"#, "[8]");
        check(r#"{"out_features": ["stage8"], "out_indices": [9]}"#, "different stages");
        check(r#"{"out_features": ["stage33"]}"#, "no stage \"stage33\"");
        check(r#"{"out_indices": [-34]}"#, "no stage -34");
        check(r#"{"out_indices": [2, 2]}"#, "must ascend");
    }
}
