//! The four ways in which checkpoints name the parameters.

use super::weights::{BlockPart, Part, TensorRole};

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

    #[test]
    fn query_key_and_value_are_joined_in_this_order() {
        let names = Layout::MODULE.names(Part::Block(0, BlockPart::Qkv, TensorRole::Weight));
        let expect = ["q", "k", "v"].map(|one| format!("layers.0.attention.{one}_proj.weight"));
        assert_eq!(names, expect);
    }
}
