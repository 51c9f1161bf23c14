//! The tch model as an engine.

use tch::Tensor;

use super::{Engine, EngineError, Tokens, joined};
use crate::pixio::{ModelError, Pixio};

/// Runs the encoder operation by operation.
#[derive(Debug)]
pub struct Eager {
    pixio: Pixio,
    taps: Vec<usize>,
}

impl Eager {
    /// An engine that returns the normalised tokens after the blocks `taps` (counted from 1, ascending).
    ///
    /// # Errors
    /// No taps, taps that do not ascend, or blocks that the model does not have.
    pub fn new(pixio: Pixio, taps: &[usize]) -> Result<Self, ModelError> {
        let n_blocks = pixio.config().num_hidden_layers;
        let in_range = taps.iter().all(|tap| (1..=n_blocks).contains(tap));
        if taps.is_empty() || !in_range || !taps.is_sorted_by(|a, b| a < b) {
            let rule = "at least one, counted from 1, ascending";
            return Err(ModelError::Blocks { blocks: taps.to_vec(), n_blocks, rule });
        }
        Ok(Self { pixio, taps: taps.to_vec() })
    }

    /// The model that runs.
    pub fn pixio(&self) -> &Pixio {
        &self.pixio
    }
}

impl Engine for Eager {
    fn kind(&self) -> String {
        "eager".into()
    }

    fn taps(&self) -> &[usize] {
        &self.taps
    }

    fn stops_early(&self) -> bool {
        true
    }

    fn run(&mut self, images: &[Tensor], n_taps: usize) -> Result<Tokens, EngineError> {
        let hidden_states = self.pixio.encode(&joined(images)?, &self.taps[..n_taps.min(self.taps.len())])?;
        let taps = hidden_states.iter().map(|tokens| self.pixio.normalize(tokens));
        let taps = taps.collect::<Result<Vec<_>, _>>()?;
        Ok(Tokens { taps, ..Tokens::default() })
    }
}
