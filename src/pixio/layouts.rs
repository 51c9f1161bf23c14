//! The four ways in which checkpoints name the parameters.

use std::collections::{BTreeMap, BTreeSet};

use super::weights::{BlockPart, Part, TensorRole};

use crate::text;

/// How the names of the first block's parameters begin.
const BLOCKS: [&str; 3] = ["layers.0.", "blocks.0.", "encoder.layer.0."];

/// How one checkpoint names its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    spelling: Spelling,
    /// In checkpoints of transformers' `PixioBackbone` its module's name `pixio.`, or `encoder.` as 5.17
    /// saves it; else empty.
    prefix: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// Module names of transformers 5.17: `layers.0.attention.q_proj`.
    Module,
    /// The published conversion: `encoder.layer.0.mlp.fc1`.
    Hub,
    /// `save_pretrained` of transformers 5.17: `encoder.layer.0.intermediate.dense`.
    Saved,
    /// The original .pth: `blocks.0.attn.qkv`.
    Original,
}

impl Layout {
    /// Transformers' module names, also the names under which random weights are drawn.
    pub(super) const MODULE: Self = Self { spelling: Spelling::Module, prefix: "" };

    /// Recognises the layout by the names of the blocks' parameters.
    pub(super) fn detect<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<Self> {
        for prefix in ["", "pixio.", "encoder."] {
            let mut layout = None;
            for name in names.clone().filter_map(|name| name.strip_prefix(prefix)) {
                let spelling = if name.starts_with("layers.") {
                    Spelling::Module
                } else if name.starts_with("blocks.") {
                    Spelling::Original
                } else if name.starts_with("encoder.layer.") && name.contains(".intermediate.dense.") {
                    Spelling::Saved
                } else if name.starts_with("encoder.layer.") && name.contains(".mlp.fc1.") {
                    Spelling::Hub
                } else {
                    continue;
                };
                layout = Some(Self { spelling, prefix });
                break;
            }
            if layout.is_some() {
                return layout;
            }
        }
        None
    }

    /// Finds what wraps the encoder, such as `model.`, and the layout within. Training programs save an
    /// encoder as part of something else.
    ///
    /// # Errors
    /// There is no encoder among `names`, or there are several.
    pub(super) fn unwrap<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Result<(String, Self), String> {
        if let Some(layout) = Self::detect(names.clone()) {
            return Ok((String::new(), layout));
        }
        let mut found: BTreeMap<String, (&str, Self)> = BTreeMap::new();
        // The shorter ones first: the layout may have a prefix of its own.
        for wrapper in names.clone().flat_map(wrappers).collect::<BTreeSet<_>>() {
            let within = names.clone().filter_map(|name| name.strip_prefix(wrapper));
            let Some(layout) = Self::detect(within.clone()) else { continue };
            let class_token = layout.names(Part::ClsToken);
            if within.clone().any(|name| class_token[0] == name) {
                found.entry(format!("{wrapper}{}", layout.prefix)).or_insert((wrapper, layout));
            }
        }
        let mut encoders = found.into_values();
        match (encoders.next(), encoders.next()) {
            (None, _) => Err(format!(
                "no Pixio encoder in it: no tensor is called layers.*, encoder.layer.* or blocks.*, with or \
                 without a prefix; it has {}",
                text::list(names.take(4))
            )),
            (Some((wrapper, layout)), None) => Ok((wrapper.to_owned(), layout)),
            (Some((first, _)), Some((second, _))) => Err(format!(
                "it has an encoder under {} and one under {}: save the one that is meant alone",
                text::foreign(first),
                text::foreign(second)
            )),
        }
    }

    /// Whether a tensor that nobody has read is one of the encoder's: another configuration would have read
    /// it.
    pub(super) fn is_of_encoder(self, name: &str) -> bool {
        let parts: &[&str] = match self.spelling {
            Spelling::Module => &["layers.", "embeddings.", "layernorm."],
            Spelling::Hub | Spelling::Saved => &["encoder.layer.", "embeddings.", "layernorm."],
            Spelling::Original => &["blocks.", "patch_embed.", "cls_token", "pos_embed", "norm."],
        };
        let within = name.strip_prefix(self.prefix).unwrap_or_default();
        // The mask is of training.
        parts.iter().any(|part| within.starts_with(part)) && !within.ends_with("mask_token")
    }

    /// The tensors that make up `part`, to be joined along the first axis; none if this layout lacks it.
    pub(super) fn names(self, part: Part) -> Vec<String> {
        let original = self.spelling == Spelling::Original;
        let (stems, role): (Vec<String>, _) = match part {
            Part::ClsToken if original => return vec![format!("{}cls_token", self.prefix)],
            Part::ClsToken => return vec![format!("{}embeddings.cls_token", self.prefix)],
            Part::Position if original => return vec![format!("{}pos_embed", self.prefix)],
            Part::Position => return vec![format!("{}embeddings.position_embeddings", self.prefix)],
            Part::Patch(role) if original => (vec!["patch_embed.proj".into()], role),
            Part::Patch(role) => (vec!["embeddings.patch_embeddings.projection".into()], role),
            Part::FinalNorm(role) if original => (vec!["norm".into()], role),
            Part::FinalNorm(role) => (vec!["layernorm".into()], role),
            Part::StageNorm(_) if self.prefix.is_empty() => return Vec::new(),
            Part::StageNorm(role) => return vec![format!("layernorm.{}", role_name(role))],
            Part::Block(index, layer, role) => {
                let block = match self.spelling {
                    Spelling::Module => "layers",
                    Spelling::Hub | Spelling::Saved => "encoder.layer",
                    Spelling::Original => "blocks",
                };
                let layers = self.block_layers(layer).iter();
                (layers.map(|layer| format!("{block}.{index}.{layer}")).collect(), role)
            }
        };
        stems.iter().map(|stem| format!("{}{stem}.{}", self.prefix, role_name(role))).collect()
    }

    fn block_layers(self, layer: BlockPart) -> &'static [&'static str] {
        use Spelling::{Hub, Module, Original, Saved};
        match (layer, self.spelling) {
            (BlockPart::Norm1, Module) => &["layernorm_before"],
            (BlockPart::Norm1, _) => &["norm1"],
            (BlockPart::Norm2, Module) => &["layernorm_after"],
            (BlockPart::Norm2, _) => &["norm2"],
            (BlockPart::Qkv, Module) => &["attention.q_proj", "attention.k_proj", "attention.v_proj"],
            (BlockPart::Qkv, Original) => &["attn.qkv"],
            (BlockPart::Qkv, Hub | Saved) => {
                &["attention.attention.query", "attention.attention.key", "attention.attention.value"]
            }
            (BlockPart::Projection, Module) => &["attention.o_proj"],
            (BlockPart::Projection, Original) => &["attn.proj"],
            (BlockPart::Projection, Hub | Saved) => &["attention.output.dense"],
            (BlockPart::Fc1, Saved) => &["intermediate.dense"],
            (BlockPart::Fc1, _) => &["mlp.fc1"],
            (BlockPart::Fc2, Saved) => &["output.dense"],
            (BlockPart::Fc2, _) => &["mlp.fc2"],
        }
    }
}

/// What may stand before an encoder of which `name` is a tensor of a block, with a dot at its end.
fn wrappers(name: &str) -> impl Iterator<Item = &str> {
    let ends = name.match_indices('.').map(|(at, dot)| at + dot.len());
    let is_block = |rest: &str| BLOCKS.iter().any(|block| rest.starts_with(block));
    let within = ["", "pixio.", "encoder."];
    let is_wrapper =
        move |rest: &str| within.iter().any(|prefix| rest.strip_prefix(prefix).is_some_and(is_block));
    ends.filter(move |&end| is_wrapper(&name[end..])).map(|end| &name[..end])
}

fn role_name(role: TensorRole) -> &'static str {
    match role {
        TensorRole::Weight => "weight",
        TensorRole::Bias => "bias",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(first: &str, expect: &str) {
        let names = ["decoder_blocks.0.norm1.weight", "embeddings.cls_token", first, "layernorm.weight"];
        let answer = Layout::detect(names.into_iter()).map_or_else(
            || "none".into(),
            |layout| {
                let parts =
                    [Part::Block(3, BlockPart::Fc2, TensorRole::Bias), Part::StageNorm(TensorRole::Weight)];
                parts.map(|part| layout.names(part).join(" ")).join(" ")
            },
        );
        assert_eq!(answer.trim(), expect, "{first}");
    }

    #[test]
    fn a_layout_is_known_by_its_blocks() {
        check("layers.0.mlp.fc1.weight", "layers.3.mlp.fc2.bias");
        check("encoder.layer.1.mlp.fc1.bias", "encoder.layer.3.mlp.fc2.bias");
        check("encoder.layer.0.intermediate.dense.weight", "encoder.layer.3.output.dense.bias");
        check("blocks.0.attn.qkv.weight", "blocks.3.mlp.fc2.bias");
        let backbone = "pixio.encoder.layer.3.output.dense.bias layernorm.weight";
        check("pixio.encoder.layer.0.intermediate.dense.weight", backbone);
        let saved = "encoder.encoder.layer.3.output.dense.bias layernorm.weight";
        check("encoder.encoder.layer.0.intermediate.dense.weight", saved);
        check("transformer.h.0.weight", "none");
    }

    fn check_unwrapped(names: &[&str], expect: &str) {
        let answer = Layout::unwrap(names.iter().copied()).map_or_else(
            |why| why,
            |(wrapper, layout)| format!("{wrapper}|{}", layout.names(Part::ClsToken)[0]),
        );
        assert!(answer.starts_with(expect), "{answer} is not {expect}");
    }

    #[test]
    fn a_common_prefix_is_found() {
        check_unwrapped(&["layers.0.mlp.fc1.weight", "embeddings.cls_token"], "|embeddings.cls_token");
        for wrapper in ["model.", "module.", "backbone.", "_orig_mod.", "module.model.", "student.backbone."]
        {
            let named = |name: &str| format!("{wrapper}{name}");
            let (block, token) = (named("blocks.0.attn.qkv.weight"), named("cls_token"));
            check_unwrapped(&["head.weight", &block, &token], &format!("{wrapper}|cls_token"));
            let (block, token) = (named("encoder.layer.0.mlp.fc1.bias"), named("embeddings.cls_token"));
            check_unwrapped(&[&block, &token], &format!("{wrapper}|embeddings.cls_token"));
            let (block, token) = (named("pixio.layers.0.mlp.fc1.bias"), named("pixio.embeddings.cls_token"));
            check_unwrapped(&[&token, &block], &format!("{wrapper}|pixio.embeddings.cls_token"));
        }
    }

    #[test]
    fn several_encoders_or_none_are_named() {
        let two = ["teacher.blocks.0.a", "teacher.cls_token", "student.blocks.0.a", "student.cls_token"];
        check_unwrapped(&two, "it has an encoder under student. and one under teacher.");
        check_unwrapped(&["decoder.blocks.0.a", "model.blocks.0.a", "model.cls_token"], "model.|cls_token");
        check_unwrapped(
            &["transformer.h.0.weight"],
            "no Pixio encoder in it: no tensor is called layers.*, encoder.layer.* or blocks.*, with or \
             without a prefix; it has transformer.h.0.weight",
        );
    }

    #[test]
    fn what_another_configuration_would_read_is_of_the_encoder() {
        let (_, layout) = Layout::unwrap(["encoder.layer.0.mlp.fc1.bias"].into_iter()).unwrap();
        for name in ["encoder.layer.7.norm1.weight", "embeddings.extra", "layernorm.bias"] {
            assert!(layout.is_of_encoder(name), "{name}");
        }
        for name in ["decoder.layer.0.norm1.weight", "embeddings.mask_token", "head.weight"] {
            assert!(!layout.is_of_encoder(name), "{name}");
        }
    }

    #[test]
    fn query_key_and_value_are_joined_in_this_order() {
        let names = Layout::MODULE.names(Part::Block(0, BlockPart::Qkv, TensorRole::Weight));
        let expect = ["q", "k", "v"].map(|one| format!("layers.0.attention.{one}_proj.weight"));
        assert_eq!(names, expect);
    }
}
