//! Engines: what runs the backbone on a batch of model inputs.
//!
//! ```text
//!  eager      the tch model, operation by operation
//!  compiled   AOTInductor packages from an engine folder, with the same weights
//!  graph      either of them on a GPU: its own stream, replayed as CUDA graphs
//!  head       a head's network likewise
//!  swap       any of them, until a better one comes
//! ```
//! [`choose`] finds the one that serves: [`proof`] that it is right, [`timing`] that it is no slower than the
//! eager model. [`builder`] makes engine folders.

pub mod arithmetic;
pub mod builder;
pub mod choose;
pub mod compiled;
pub mod device;
pub mod eager;
pub mod graph;
pub mod head;
pub mod int8;
pub mod job;
pub mod kernel;
pub mod proof;
mod prove_all;
pub mod store;
pub mod swap;
pub mod timing;
pub mod verdict;

use tch::{TchError, Tensor};

use crate::ffi;
use crate::heads::HeadError;
use crate::pixio::ModelError;

/// What an engine computes from a batch, on the engine's device.
#[derive(Debug, Default)]
pub struct Tokens {
    /// One `[B, n_cls + P, D]` tensor per tap that was asked for, after the final norm, in their order.
    pub taps: Vec<Tensor>,
}

impl Tokens {
    /// Those of one picture of the batch, still `[1, n_cls + P, D]` each; on the same memory.
    ///
    /// # Errors
    /// There is no such picture.
    pub fn of_picture(&self, index: usize) -> Result<Self, TchError> {
        let one = |tap: &Tensor| tap.f_narrow(0, i64::try_from(index).unwrap_or(i64::MAX), 1);
        Ok(Self { taps: self.taps.iter().map(one).collect::<Result<_, _>>()? })
    }
}

/// Runs the backbone. One thread owns it.
pub trait Engine: Send {
    /// What it is, for logs: `eager`, `compiled`, `compiled + graph`.
    fn kind(&self) -> String;

    /// Blocks whose tokens [`Engine::run`] returns, counted from 1, ascending.
    fn taps(&self) -> &[usize];

    /// Runs a batch as far as the first `n_taps` taps need it: `images` is uint8 `[B, H, W, 3]`, RGB,
    /// contiguous, on any device. The tokens may lie where the next run puts its own: they are to be read
    /// before it. On a GPU they may not be there yet; what this thread does with them waits by itself.
    ///
    /// # Errors
    /// libtorch's own, with its first line; they are fatal for the engine.
    fn run(&mut self, images: &Tensor, n_taps: usize) -> Result<Tokens, EngineError>;

    /// Waits until the last run's tokens are there.
    ///
    /// # Errors
    /// What went wrong on the GPU; fatal for the engine.
    fn wait(&self) -> Result<(), EngineError> {
        Ok(())
    }
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
        Self { message: ffi::first_line(&err) }
    }
}

impl From<ModelError> for EngineError {
    fn from(err: ModelError) -> Self {
        let message = match err {
            ModelError::Libtorch { message } => message,
            other => other.to_string(),
        };
        Self { message }
    }
}

impl From<HeadError> for EngineError {
    fn from(err: HeadError) -> Self {
        let message = match err {
            HeadError::Libtorch { message } => message,
            other => other.to_string(),
        };
        Self { message }
    }
}

impl From<ffi::ShimError> for EngineError {
    fn from(err: ffi::ShimError) -> Self {
        Self { message: err.message }
    }
}
