//! The Pixio encoder in tch: configuration, checkpoints in four key layouts, the vision transformer, and the
//! backbone with stages. It equals transformers' `PixioModel` and `PixioBackbone` to float rounding.
//!
//! ```text
//!  Source -> config.json + Checkpoint -> Pixio: images -> Embeddings -> Block, Block, … -> final norm
//! ```

mod backbone;
mod checkpoint;
mod config;
mod embeddings;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod hub;
mod layers;
mod layouts;
mod linear;
mod processor;
mod random;
mod revision;
mod source;
mod weights;

use std::path::Path;

use tch::{Device, Kind, Tensor};

pub use self::backbone::Backbone;
pub use self::config::{PixioConfig, Side};
pub use self::error::ModelError;
pub use self::processor::{Preparation, Processor};
pub use self::random::RandomModel;
pub use self::source::Source;

use crate::text;

use self::checkpoint::Checkpoint;
use self::embeddings::Embeddings;
use self::layers::{Block, Norm};
use self::weights::{Loader, Part, TensorRole};

/// A Pixio encoder with its weights on a device.
#[derive(Debug)]
pub struct Pixio {
    config: PixioConfig,
    processor: Processor,
    name: String,
    revision: String,
    embeddings: Embeddings,
    blocks: Vec<Block>,
    final_norm: Norm,
    /// A trained norm that the checkpoint of a backbone has beside the model's own.
    stage_norm: Option<Norm>,
}

/// Everything that transformers' `PixioModel` returns.
#[derive(Debug)]
pub struct PixioOutput {
    /// Tokens after the final norm, `[B, n_cls + P, D]`, class tokens first.
    pub last_hidden_state: Tensor,
    /// Mean of the class tokens after the final norm, `[B, D]`.
    pub pooler_output: Tensor,
    /// Tokens before the final norm: embeddings, then the output of every block, each `[B, n_cls + P, D]`.
    pub hidden_states: Vec<Tensor>,
}

impl Pixio {
    /// Reads configuration and weights and puts them on `device` as `kind` (float32, bfloat16 or float16).
    ///
    /// # Errors
    /// A file is missing, broken or does not fit; the message names it and the tensor.
    pub fn load(source: &Source, device: Device, kind: Kind) -> Result<Self, ModelError> {
        if !matches!(kind, Kind::Float | Kind::BFloat16 | Kind::Half) {
            let expected = "Float, BFloat16 or Half".into();
            return Err(ModelError::Input { found: format!("precision {kind:?}"), expected });
        }
        let _no_grad = tch::no_grad_guard();
        match source {
            Source::Folder { path, name } => Self::from_folder(path, name, device, kind),
            Source::Random(model) => {
                tracing::warn!("{} has RANDOM WEIGHTS: its features mean nothing", source.name());
                let revision = revision::of_text(&model.identity());
                let mut weights = *model;
                let mut loader = Loader::new(&mut weights, device, kind);
                Self::build(model.config(), Processor::default(), &mut loader, source.name(), revision)
            }
        }
    }

    fn from_folder(folder: &Path, name: &str, device: Device, kind: Kind) -> Result<Self, ModelError> {
        let mut checkpoint = Checkpoint::open(folder)?;
        let config = PixioConfig::read(&folder.join("config.json"))?;
        let processor = Processor::read(folder)?;
        let revision = revision::of_files(&checkpoint.files())?;
        let revision = match processor.identity() {
            Some(identity) => revision::of_text(&format!("{revision} {identity}")),
            None => revision,
        };
        let mut loader = Loader::new(&mut checkpoint, device, kind);
        let pixio = Self::build(config, processor, &mut loader, name.to_owned(), revision)?;
        let [of_encoder, others] = checkpoint.unread();
        if !of_encoder.is_empty() {
            tracing::warn!(
                "{name}: {} tensors of the encoder are not used, because config.json describes an encoder \
                 without them (num_hidden_layers, qkv_bias): {}",
                of_encoder.len(),
                text::list(of_encoder)
            );
        }
        if !others.is_empty() {
            tracing::debug!(
                "{name}: {} tensors are not of the encoder: {}",
                others.len(),
                text::list(others)
            );
        }
        Ok(pixio)
    }

    fn build(
        config: PixioConfig,
        processor: Processor,
        loader: &mut Loader<'_>,
        name: String,
        revision: String,
    ) -> Result<Self, ModelError> {
        let embeddings = Embeddings::load(&config, &processor, loader)?;
        let blocks = (0..config.num_hidden_layers).map(|index| Block::load(&config, loader, index));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        let final_norm = Norm::load(&config, loader, Part::FinalNorm)?;
        // transformers starts a backbone's own norm afresh when it loads a model's checkpoint into it.
        let stage_norm = match loader.weights.has(Part::StageNorm(TensorRole::Weight)) {
            true => Some(Norm::load(&config, loader, Part::StageNorm)?),
            false => None,
        };
        let stage_norm = match stage_norm {
            Some(norm) if norm.is_untrained()? => None,
            norm => norm,
        };
        Ok(Self { config, processor, name, revision, embeddings, blocks, final_norm, stage_norm })
    }

    /// The architecture.
    pub fn config(&self) -> &PixioConfig {
        &self.config
    }

    /// How images were prepared for the weights. The model itself does what this says of values.
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// Hugging Face id, name of the folder, or `random:NAME`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First 12 hexadecimal digits of the SHA-256 over the weight files in the order of their names; of that
    /// and of how bytes become values where this is not as for the published models.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Element type of its parameters and tokens.
    pub fn kind(&self) -> Kind {
        self.embeddings.kind()
    }

    /// The same model on the same memory.
    pub fn shallow_clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            processor: self.processor.clone(),
            name: self.name.clone(),
            revision: self.revision.clone(),
            embeddings: self.embeddings.shallow_clone(),
            blocks: self.blocks.iter().map(Block::shallow_clone).collect(),
            final_norm: self.final_norm.shallow_clone(),
            stage_norm: self.stage_norm.as_ref().map(Norm::shallow_clone),
        }
    }

    /// Every parameter that uint8 images of `grid` (rows and columns of patches) meet, under the names of
    /// `python/pixio_engine/model.py`, contiguous; the position embedding is that of `grid`.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn constants(&self, grid: [i64; 2]) -> Result<Vec<(String, Tensor)>, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let mut constants = self.embeddings.constants(grid)?;
        for (index, block) in self.blocks.iter().enumerate() {
            constants.extend(block.constants(&format!("blocks.{index}")));
        }
        constants.extend(self.final_norm.constants("norm"));
        Ok(constants)
    }

    /// Tokens `[B, n_cls + P, D]` before the final norm after each of `blocks` (0 = embeddings, k = output of
    /// block k), class tokens first. `images` is uint8 `[B, H, W, 3]`, RGB, on any device, H and W divisible
    /// by 16. No block past the last one asked for is computed.
    ///
    /// # Errors
    /// Another input, a block that the model does not have, or libtorch's own.
    pub fn encode(&self, images: &Tensor, blocks: &[usize]) -> Result<Vec<Tensor>, ModelError> {
        let _no_grad = tch::no_grad_guard();
        self.check_blocks(blocks)?;
        self.after_blocks(self.embeddings.of_bytes(images)?, blocks)
    }

    /// The final norm over `[…, D]`.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn normalize(&self, tokens: &Tensor) -> Result<Tensor, ModelError> {
        let _no_grad = tch::no_grad_guard();
        self.final_norm.forward(tokens)
    }

    /// The whole encoder on normalised images `[B, 3, H, W]` of any float type, H and W divisible by 16.
    ///
    /// # Errors
    /// Another input, or libtorch's own.
    pub fn forward(&self, pixel_values: &Tensor) -> Result<PixioOutput, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let all: Vec<usize> = (0..=self.blocks.len()).collect();
        let hidden_states = self.after_blocks(self.embeddings.of_values(pixel_values)?, &all)?;
        let last_hidden_state = self.final_norm.forward(&hidden_states[self.blocks.len()])?;
        let class_tokens = last_hidden_state.f_narrow(1, 0, self.config.n_cls_tokens as i64)?;
        let pooler_output = class_tokens.f_mean_dim(1, false, None)?;
        Ok(PixioOutput { last_hidden_state, pooler_output, hidden_states })
    }

    fn check_blocks(&self, blocks: &[usize]) -> Result<(), ModelError> {
        match blocks.iter().all(|&block| block <= self.blocks.len()) {
            true => Ok(()),
            false => Err(ModelError::Blocks {
                blocks: blocks.to_vec(),
                n_blocks: self.blocks.len(),
                rule: "0 is the embeddings, k the output of block k",
            }),
        }
    }

    fn after_blocks(&self, embedded: Tensor, blocks: &[usize]) -> Result<Vec<Tensor>, ModelError> {
        let last = blocks.iter().copied().max().unwrap_or(0);
        let mut hidden_states: Vec<Option<Tensor>> = (0..=last).map(|_| None).collect();
        let mut x = embedded;
        for (index, kept) in hidden_states.iter_mut().enumerate() {
            if index > 0 {
                x = self.blocks[index - 1].forward(&x)?;
            }
            if blocks.contains(&index) {
                *kept = Some(x.shallow_clone());
            }
        }
        let asked = blocks.iter().filter_map(|&block| hidden_states[block].as_ref());
        Ok(asked.map(Tensor::shallow_clone).collect())
    }
}

// One thread owns the model, but it need not be the one that loaded it.
const _: () = {
    const fn send<T: Send>() {}
    send::<Pixio>();
};
