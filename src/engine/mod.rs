//! Engines: what runs the backbone on a batch of model inputs.

pub mod device;
pub mod eager;

use tch::Tensor;

/// What an engine computes from a batch, on the engine's device.
#[derive(Debug, Default)]
pub struct Tokens {
    /// One `[B, n_cls + P, D]` tensor per tap that was asked for, after the final norm, in their order.
    pub taps: Vec<Tensor>,
}

/// Runs the backbone. One thread owns it.
pub trait Engine: Send {
    /// Blocks whose tokens [`Engine::run`] returns, counted from 1, ascending.
    fn taps(&self) -> &[usize];

    /// Runs a batch as far as the first `n_taps` taps need it: `images` is uint8 `[B, H, W, 3]`, RGB,
    /// contiguous, on any device.
    ///
    /// # Errors
    /// libtorch's own, with its first line; they are fatal for the engine.
    fn run(&mut self, images: &Tensor, n_taps: usize) -> Result<Tokens, EngineError>;
}

/// An engine that can no longer serve.
#[derive(Debug, thiserror::Error)]
#[error("the model failed: {message}")]
pub struct EngineError {
    /// First line of what libtorch said.
    pub message: String,
}

impl From<tch::TchError> for EngineError {
    fn from(err: tch::TchError) -> Self {
        // What follows the first line is a C++ backtrace.
        let message = err.to_string().lines().next().unwrap_or_default().to_owned();
        Self { message }
    }
}
