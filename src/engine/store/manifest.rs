//! `manifest.json` of an engine folder: what was compiled, for what, and how well it does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::Kind;

use super::machine::Machine;
use crate::config::model_size_from_text;
use crate::engine::arithmetic::Arithmetic;
use crate::engine::int8::Kernel;
use crate::engine::verdict::Comparison;
use crate::ffi::package::ConstantForm;
use crate::geometry::Size;
use crate::pixio::PixioConfig;

/// Name of the file. It is written last: a folder without it is no engine.
pub const FILE: &str = "manifest.json";

/// The form of the manifest that this node writes and reads.
pub const FORMAT: u32 = 3;

/// The part that every engine has.
pub const BACKBONE: &str = "backbone";

/// An engine on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Of the encoder; the weights are not in the engine.
    pub architecture: Architecture,
    /// Blocks whose normalised tokens it returns, counted from 1, ascending.
    pub taps: Vec<usize>,
    /// Arithmetic of the engine.
    pub precision: Arithmetic,
    /// What multiplies its integers; `None` for an engine without.
    pub int8_kernel: Option<Kernel>,
    /// Version of the libtorch that it was compiled with.
    pub torch: String,
    /// Where it runs.
    pub machine: Machine,
    /// The compiled parts.
    pub packages: Vec<PackageEntry>,
}

/// Everything about an encoder that a compiled one is bound to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Channels of a token.
    pub hidden_size: usize,
    /// Transformer blocks.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Hidden channels of the MLP.
    pub mlp_hidden: usize,
    /// Class tokens.
    pub n_cls_tokens: usize,
    /// Epsilon of every layer norm.
    pub layer_norm_eps: f64,
    /// Whether q, k and v have biases.
    pub qkv_bias: bool,
}

/// One compiled part for one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackageEntry {
    /// [`BACKBONE`], or the task of a head: `depth`, `segmentation`.
    pub part: String,
    /// Name of the file in the engine's folder.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Size of the model input, `WIDTHxHEIGHT`.
    pub size: String,
    /// Fewest and most images of a batch.
    pub batch: [i64; 2],
    /// Every constant that it is given, by name.
    pub constants: BTreeMap<String, Constant>,
    /// How well it agreed with the eager model in float32 when it was built.
    pub parity: Vec<Parity>,
    /// How long it took beside the eager model when it was built, on the machine of the manifest.
    pub times: Vec<Comparison>,
}

/// What a constant must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constant {
    /// Element type as torch spells it: `float32`, `int8`.
    pub dtype: String,
    /// Shape of the tensor.
    pub shape: Vec<i64>,
    /// Whether the second axis, of channels, lies innermost in memory, as convolutions on a GPU want their
    /// weights; the last does otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub channels_last: bool,
}

/// Agreement of an engine's tokens with the eager model's in float32, on one fixed batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parity {
    /// Images of the batch.
    pub batch: i64,
    /// Smallest cosine of a tap.
    pub cosine: f64,
    /// Largest difference over the largest value.
    pub largest_difference: f64,
}

impl Architecture {
    /// Of the encoder that `config` describes.
    pub fn of(config: &PixioConfig) -> Self {
        Self {
            hidden_size: config.hidden_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            mlp_hidden: config.mlp_hidden(),
            n_cls_tokens: config.n_cls_tokens,
            layer_norm_eps: config.layer_norm_eps,
            qkv_bias: config.qkv_bias,
        }
    }

    /// What differs, named with both values; `self` is the engine's.
    fn check(&self, model: &Self) -> Result<(), String> {
        let [built, asked] = [self, model].map(|one| serde_json::to_value(one).unwrap_or_default());
        let parts = built.as_object().into_iter().flatten();
        let differing = parts.filter(|(key, value)| asked.get(key) != Some(value));
        let texts: Vec<_> =
            differing.map(|(key, value)| format!("{key} {value}, the model has {}", asked[key])).collect();
        if texts.is_empty() { Ok(()) } else { Err(format!("it was built for {}", texts.join("; for "))) }
    }
}

/// What an engine must be to serve.
#[derive(Debug)]
pub struct Requirements<'a> {
    /// The model's.
    pub architecture: Architecture,
    /// Blocks whose tokens are needed, ascending.
    pub taps: &'a [usize],
    /// Arithmetic of the engine.
    pub precision: Arithmetic,
    /// Sizes of the model input, of which at least one must be there; each that is there must serve every
    /// batch.
    pub sizes: &'a [Size],
    /// Images of the batches that come.
    pub batches: &'a [i64],
    /// Where it is to run.
    pub machine: &'a Machine,
    /// Version of the libtorch in use.
    pub torch: &'a str,
}

impl Manifest {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// The text is not a manifest, or one of a newer format.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        let FormatOnly { format } = serde_json::from_str(text).map_err(|err| err.to_string())?;
        if format != FORMAT {
            let age = if format < FORMAT { "an older" } else { "a newer" };
            return Err(format!(
                "it has format {format}, of {age} pixio_node; this one reads format {FORMAT}"
            ));
        }
        let manifest: Self = serde_json::from_str(text).map_err(|err| err.to_string())?;
        for package in &manifest.packages {
            package.size()?;
            if package.file.contains('/') || package.file.starts_with('.') {
                return Err(format!("{:?} is not the name of a file in this folder", package.file));
            }
        }
        Ok(manifest)
    }

    /// Whether this engine can serve as `wanted`.
    ///
    /// # Errors
    /// The first thing that does not fit, both sides named.
    pub fn check(&self, wanted: &Requirements<'_>) -> Result<(), String> {
        if self.torch != wanted.torch {
            return Err(format!("it was built with torch {}, this node runs {}", self.torch, wanted.torch));
        }
        wanted.machine.runs(&self.machine)?;
        self.architecture.check(&wanted.architecture)?;
        if self.precision != wanted.precision {
            return Err(format!("it computes in {}, {} was asked for", self.precision, wanted.precision));
        }
        if let Some(tap) = wanted.taps.iter().find(|tap| !self.taps.contains(tap)) {
            return Err(format!("it returns the blocks {:?}, block {tap} is needed", self.taps));
        }
        let sizes = self.sizes();
        if !wanted.sizes.iter().any(|size| sizes.contains(size)) {
            let list = |sizes: &[Size]| sizes.iter().map(Size::to_string).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "it was built for {}, the model input is {}",
                list(&sizes),
                list(wanted.sizes)
            ));
        }
        for size in wanted.sizes.iter().filter(|size| sizes.contains(size)) {
            let built = self.parts(BACKBONE).filter(|package| package.size().is_ok_and(|of| of == *size));
            let ranges = built.map(|package| package.batch);
            let is_built = |batch: &i64| ranges.clone().any(|[least, most]| (least..=most).contains(batch));
            if let Some(batch) = wanted.batches.iter().find(|batch| !is_built(batch)) {
                let at = if wanted.sizes.len() == 1 { String::new() } else { format!(" at {size}") };
                let batches = batches(ranges);
                return Err(format!("it was built for batches of {batches}{at}, one of {batch} is needed"));
            }
        }
        Ok(())
    }

    /// Sizes of the model input that it serves.
    pub fn sizes(&self) -> Vec<Size> {
        let mut sizes: Vec<_> = self.parts(BACKBONE).filter_map(|package| package.size().ok()).collect();
        sizes.dedup();
        sizes
    }

    /// The packages of one part.
    pub fn parts(&self, part: &str) -> impl Iterator<Item = &PackageEntry> + Clone {
        self.packages.iter().filter(move |package| package.part == part)
    }
}

/// Batch sizes in words: `1 to 8` of a package that serves them all, `1, 2, 4` of three that serve one each.
pub fn batches(ranges: impl Iterator<Item = [i64; 2]>) -> String {
    let words = ranges
        .map(|[least, most]| if least == most { least.to_string() } else { format!("{least} to {most}") });
    words.collect::<Vec<_>>().join(", ")
}

impl Constant {
    /// The element type; `None` for one that no engine uses.
    pub fn kind(&self) -> Option<Kind> {
        match self.dtype.as_str() {
            "float32" => Some(Kind::Float),
            "bfloat16" => Some(Kind::BFloat16),
            "float16" => Some(Kind::Half),
            "int8" => Some(Kind::Int8),
            "int32" => Some(Kind::Int),
            _ => None,
        }
    }
}

impl PackageEntry {
    /// What the constant `name` must be; `None` where the package has no such constant.
    pub fn form(&self, name: &str) -> Option<ConstantForm> {
        let constant = self.constants.get(name)?;
        let Constant { shape, channels_last, .. } = constant.clone();
        Some(ConstantForm { kind: constant.kind()?, shape, channels_last })
    }

    /// Size of the model input.
    ///
    /// # Errors
    /// The text is not a manifest.
    pub fn size(&self) -> Result<Size, String> {
        model_size_from_text(&self.size).map_err(|why| format!("{}: size {:?}: {why}", self.file, self.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: &str =
        r#"{"kind": "cpu", "name": "A CPU", "architecture": "x86_64", "instructions": ["avx2"]}"#;

    fn text() -> String {
        format!(
            r#"{{"format": 3, "architecture": {{"hidden_size": 192, "num_hidden_layers": 4,
            "num_attention_heads": 3, "mlp_hidden": 768, "n_cls_tokens": 8, "layer_norm_eps": 1e-6,
            "qkv_bias": true}}, "taps": [2, 4], "precision": "float32", "int8_kernel": null,
            "torch": "2.11.0", "machine": {CPU}, "packages": [{{"part": "backbone",
            "file": "backbone-256x256.pt2", "sha256": "", "size": "256x256", "batch": [1, 8],
            "constants": {{}}, "parity": [], "times": []}}]}}"#
        )
    }

    /// Spoils a manifest that fits and looks for `expect` in the answer.
    fn check(from: &str, to: &str, expect: &str) {
        let architecture = Architecture {
            hidden_size: 192,
            num_hidden_layers: 4,
            num_attention_heads: 3,
            mlp_hidden: 768,
            n_cls_tokens: 8,
            layer_norm_eps: 1e-6,
            qkv_bias: true,
        };
        let wanted = Requirements {
            architecture,
            taps: &[4],
            precision: Arithmetic::Float32,
            sizes: &[Size { width: 256, height: 256 }],
            batches: &[1, 2],
            machine: &serde_json::from_str(CPU).unwrap(),
            torch: "2.11.0",
        };
        let text = text();
        assert!(text.contains(from), "{from} is not in the manifest");
        let parsed = Manifest::parse(&text.replace(from, to));
        let answer =
            parsed.and_then(|manifest| manifest.check(&wanted)).map_or_else(|why| why, |()| "fits".into());
        assert_eq!(answer, expect);
    }

    #[test]
    fn what_does_not_fit_is_named_with_both_sides() {
        check("2.11.0", "2.11.0", "fits");
        check("2.11.0", "2.12.1", "it was built with torch 2.12.1, this node runs 2.11.0");
        check("x86_64", "aarch64", "it was built for a CPU of kind aarch64, this one is x86_64");
        check("avx2", "amx_int8", "it was built for a CPU with amx_int8, which this one lacks");
        check("192", "384", "it was built for hidden_size 384, the model has 192");
        check("1e-6", "1e-5", "it was built for layer_norm_eps 0.00001, the model has 1e-6");
        check("float32", "int8", "it computes in int8, float32 was asked for");
        check("[2, 4]", "[2]", "it returns the blocks [2], block 4 is needed");
        check("[1, 8]", "[2, 8]", "it was built for batches of 2 to 8, one of 1 is needed");
        check("[1, 8]", "[4, 4]", "it was built for batches of 4, one of 1 is needed");
        check("[1, 8]", "[1, 1]", "it was built for batches of 1, one of 2 is needed");
        check("\"256x256\"", "\"336x192\"", "it was built for 336x192, the model input is 256x256");
    }

    #[test]
    fn every_size_that_is_there_must_serve_every_batch() {
        let mut manifest = Manifest::parse(&text()).unwrap();
        let mut wide = manifest.packages[0].clone();
        (wide.size, wide.batch) = ("336x192".into(), [1, 1]);
        manifest.packages.push(wide);
        let [square, wide, tall] =
            [(256, 256), (336, 192), (192, 336)].map(|(width, height)| Size { width, height });
        let machine = serde_json::from_str(CPU).unwrap();
        let check = |sizes: &[Size], batches: &[i64], expect: &str| {
            let wanted = Requirements {
                architecture: manifest.architecture.clone(),
                taps: &[4],
                precision: Arithmetic::Float32,
                sizes,
                batches,
                machine: &machine,
                torch: "2.11.0",
            };
            assert_eq!(manifest.check(&wanted).map_or_else(|why| why, |()| "fits".into()), expect);
        };
        check(&[square, wide, tall], &[1], "fits");
        check(&[square], &[1, 2], "fits");
        check(&[square, tall], &[1, 2], "fits");
        let answer = "it was built for batches of 1 at 336x192, one of 2 is needed";
        check(&[square, wide, tall], &[1, 2], answer);
        check(&[tall], &[1], "it was built for 256x256, 336x192, the model input is 192x336");
    }

    #[test]
    fn what_is_no_manifest_of_ours_is_refused() {
        check(
            "\"format\": 3",
            "\"format\": 4",
            "it has format 4, of a newer pixio_node; this one reads format 3",
        );
        check(
            "\"format\": 3",
            "\"format\": 2",
            "it has format 2, of an older pixio_node; this one reads format 3",
        );
        check(
            "backbone-256x256.pt2",
            "../../x.pt2",
            "\"../../x.pt2\" is not the name of a file in this folder",
        );
        check("\"256x256\"", "\"256\"", "backbone-256x256.pt2: size \"256\": ");
        assert!(Manifest::parse("{").unwrap_err().starts_with("EOF"));
        assert_eq!(Manifest::parse("{}").unwrap_err(), "missing field `format` at line 1 column 2");
    }

    #[test]
    fn a_constant_is_contiguous_unless_it_says_otherwise() {
        let mut constant = serde_json::from_str::<Constant>(r#"{"dtype": "int8", "shape": [2]}"#).unwrap();
        assert!(!constant.channels_last);
        assert_eq!(serde_json::to_string(&constant).unwrap(), r#"{"dtype":"int8","shape":[2]}"#);
        constant.channels_last = true;
        let again = serde_json::to_string(&constant).unwrap();
        assert_eq!(serde_json::from_str::<Constant>(&again).unwrap(), constant);
    }

    #[test]
    fn a_manifest_is_written_as_it_is_read() {
        let manifest = Manifest::parse(&text()).unwrap();
        assert_eq!(Manifest::parse(&serde_json::to_string(&manifest).unwrap()).unwrap(), manifest);
    }
}
