//! Random weights of known architectures, for benchmarks and dry runs. The same name gives the same numbers
//! on every machine, and libtorch's global generator is left alone.

use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use super::config::PixioConfig;
use super::error::ModelError;
use super::layouts::Layout;
use super::weights::{BlockPart, Part, TensorRole, Weights};

/// Names the numbers: another seed would be another model.
const SEED: u64 = 0;

const KNOWN: [RandomModel; 6] = [
    RandomModel { name: "tiny", hidden_size: 192, n_blocks: 4, n_heads: 3 },
    RandomModel { name: "vitb16", hidden_size: 768, n_blocks: 12, n_heads: 12 },
    RandomModel { name: "vitl16", hidden_size: 1024, n_blocks: 24, n_heads: 16 },
    RandomModel { name: "vith16", hidden_size: 1280, n_blocks: 32, n_heads: 16 },
    RandomModel { name: "vit1b16", hidden_size: 1536, n_blocks: 48, n_heads: 24 },
    RandomModel { name: "vit5b16", hidden_size: 3072, n_blocks: 48, n_heads: 32 },
];

/// A model of random weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomModel {
    /// The name behind `random:`.
    pub name: &'static str,
    hidden_size: usize,
    n_blocks: usize,
    n_heads: usize,
}

impl RandomModel {
    /// The architecture of this name.
    ///
    /// # Errors
    /// There is no such model; the message lists the names.
    pub fn named(name: &str) -> Result<Self, ModelError> {
        KNOWN.into_iter().find(|model| model.name == name).ok_or_else(|| {
            let known = KNOWN.map(|model| model.name).join(", ");
            ModelError::UnknownRandom { name: name.to_owned(), known }
        })
    }

    /// Architecture of the random model.
    pub fn config(&self) -> PixioConfig {
        PixioConfig {
            hidden_size: self.hidden_size,
            num_hidden_layers: self.n_blocks,
            num_attention_heads: self.n_heads,
            ..PixioConfig::default()
        }
    }

    /// What the revision of this model is the hash of.
    pub(super) fn identity(&self) -> String {
        format!("random:{} seed {SEED}", self.name)
    }
}

impl Weights for RandomModel {
    fn has(&self, part: Part) -> bool {
        !Layout::MODULE.names(part).is_empty()
    }

    fn read(&mut self, part: Part, shape: &[i64], kind: Kind) -> Result<Tensor, ModelError> {
        // Norms away from one and zero, so that a model that forgot them would not pass for one that did not.
        let (mean, deviation) = match part {
            Part::FinalNorm(TensorRole::Weight)
            | Part::Block(_, BlockPart::Norm1 | BlockPart::Norm2, TensorRole::Weight) => (1.0, 0.2),
            Part::FinalNorm(TensorRole::Bias)
            | Part::Block(_, BlockPart::Norm1 | BlockPart::Norm2, TensorRole::Bias) => (0.0, 0.1),
            _ => (0.0, 0.02),
        };
        let identity = format!("{SEED} {}", Layout::MODULE.names(part).join(" "));
        let mut bells = Bells::new(&identity);
        let n_values = shape.iter().product::<i64>();
        let values: Vec<f32> = (0..n_values).map(|_| mean + deviation * bells.draw()).collect();
        Ok(Tensor::f_from_slice(&values)?.f_reshape(shape)?.f_to_kind(kind)?)
    }
}

/// Bell-shaped numbers of mean 0 and deviation 1, none beyond 3.5.
struct Bells(u64);

impl Bells {
    fn new(identity: &str) -> Self {
        let digest = Sha256::digest(identity.as_bytes());
        Self(digest.iter().take(8).fold(0, |state, &byte| state << 8 | u64::from(byte)))
    }

    fn draw(&mut self) -> f32 {
        // SplitMix64; the sum of its four 16-bit quarters is nearly normal and bounded.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ mixed >> 31;
        let sum = (0..4).map(|quarter| (mixed >> (16 * quarter) & 0xffff) as u32).sum::<u32>();
        (sum as f32 / 65536.0 - 2.0) * 3.0_f32.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_bell_shaped_and_the_same_again() {
        let draw = |identity| {
            let mut bells = Bells::new(identity);
            (0..100_000).map(|_| bells.draw()).collect::<Vec<_>>()
        };
        let values = draw("a");
        assert_eq!(values, draw("a"));
        assert_ne!(values[0], draw("b")[0]);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert!(values.iter().all(|value| value.abs() < 3.5));
    }

    #[test]
    fn the_huge_model_is_the_default_configuration() {
        assert_eq!(RandomModel::named("vith16").unwrap().config(), PixioConfig::default());
    }
}
