//! The encoder as a backbone: feature maps of the stages that config.json names.

use tch::Tensor;

use super::Pixio;
use super::error::ModelError;
use crate::geometry::PATCH;

/// What transformers calls `PixioBackbone`, with the norm that the checkpoint has.
#[derive(Debug)]
pub struct Backbone {
    pixio: Pixio,
    stages: Vec<usize>,
}

impl Backbone {
    /// Takes the stages from `out_features` and `out_indices` of the model's configuration.
    ///
    /// # Errors
    /// The configuration names stages that the model does not have.
    pub fn new(pixio: Pixio) -> Result<Self, ModelError> {
        let malformed = |reason| ModelError::Malformed { file: "config.json".into(), reason };
        let stages = pixio.config().stages().map_err(malformed)?;
        Ok(Self { pixio, stages })
    }

    /// One map per stage: `[B, D, H/16, W/16]` with `reshape_hidden_states`, else `[B, n_cls + P, D]`; after
    /// the final norm with `apply_layernorm`. `pixel_values` is `[B, 3, H, W]`, normalised. The norm is the
    /// backbone's own if the checkpoint has one that was trained, else the model's.
    ///
    /// # Errors
    /// Another input, or libtorch's own.
    pub fn forward(&self, pixel_values: &Tensor) -> Result<Vec<Tensor>, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let embedded = self.pixio.embeddings.of_values(pixel_values)?;
        let (batch, _, height, width) = pixel_values.size4()?;
        let grid = [height / i64::from(PATCH), width / i64::from(PATCH)];
        let tokens = self.pixio.after_blocks(embedded, &self.stages)?;
        tokens.into_iter().map(|tokens| self.feature_map(tokens, batch, grid)).collect()
    }

    fn feature_map(
        &self,
        tokens: Tensor,
        batch: i64,
        [rows, columns]: [i64; 2],
    ) -> Result<Tensor, ModelError> {
        let config = self.pixio.config();
        let norm = self.pixio.stage_norm.as_ref().unwrap_or(&self.pixio.final_norm);
        let tokens = match config.apply_layernorm {
            true => norm.forward(&tokens)?,
            false => tokens,
        };
        if !config.reshape_hidden_states {
            return Ok(tokens);
        }
        let patches = tokens.f_narrow(1, config.n_cls_tokens as i64, rows * columns)?;
        let map = patches.f_reshape([batch, rows, columns, config.hidden_size as i64])?;
        Ok(map.f_permute([0, 3, 1, 2])?.f_contiguous()?)
    }
}
