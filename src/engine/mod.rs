//! Engines: what runs the backbone on a batch of model inputs.
//!
//! ```text
//!  eager      the tch model, operation by operation
//!  compiled   AOTInductor packages from an engine folder, with the same weights
//!  graph      either of them on a GPU: replayed as CUDA graphs on a lane of its own
//!  head       a head's network, on the lane of the engine whose tokens it reads
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
pub mod lane;
pub mod proof;
mod prove_all;
pub mod readback;
mod reference;
pub mod store;
pub mod swap;
pub mod threads;
pub mod timing;
pub mod verdict;

use std::sync::Arc;

use tch::{TchError, Tensor};

use crate::ffi::{self, memory::HostMemory};
use crate::heads::HeadError;
use crate::pixio::ModelError;

use lane::{Lane, RecordingId};

/// What an engine computes from a batch, on the engine's device.
#[derive(Debug, Default)]
pub struct Tokens {
    /// One `[B, n_cls + P, D]` tensor per tap that was asked for, after the final norm, in their order.
    pub taps: Vec<Tensor>,
    /// Where heads may record what they do with them; `None` where nothing is recorded.
    pub lane: Option<Arc<Lane>>,
    /// Where they lie.
    pub place: Place,
}

/// Where tokens lie on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Place {
    /// Somewhere else every time.
    #[default]
    Anywhere,
    /// Where every replay of this recording leaves them.
    Results(RecordingId),
    /// In a part of that, which is another part for every image of the batch.
    PartOf(RecordingId),
}

impl Tokens {
    /// The tokens of one of several images in the batch, still `[1, n_cls + P, D]` each; on the same memory.
    ///
    /// # Errors
    /// There is no such image.
    pub fn of_image(&self, index: usize) -> Result<Self, TchError> {
        let one = |tap: &Tensor| tap.f_narrow(0, i64::try_from(index).unwrap_or(i64::MAX), 1);
        let taps = self.taps.iter().map(one).collect::<Result<_, _>>()?;
        let place = match self.place {
            Place::Results(id) | Place::PartOf(id) => Place::PartOf(id),
            Place::Anywhere => Place::Anywhere,
        };
        Ok(Self { taps, lane: self.lane.clone(), place })
    }
}

/// Runs the backbone. One thread owns it.
pub trait Engine: Send {
    /// What it is, for logs: `eager`, `compiled`, `compiled + graph`.
    fn kind(&self) -> String;

    /// Blocks whose tokens [`Engine::run`] returns, counted from 1, ascending.
    fn taps(&self) -> &[usize];

    /// Whether fewer taps are less work.
    fn stops_early(&self) -> bool;

    /// Where the host's side of copies from and to the device is best.
    fn host_memory(&self) -> HostMemory {
        HostMemory::Pageable
    }

    /// Runs a batch as far as the first `n_taps` taps need it: `images` are its parts in their order, each
    /// uint8 `[b, H, W, 3]`, RGB, contiguous, on any device, and they stay as they are until
    /// [`Engine::wait`]. The tokens may lie where the next run puts its own: they are to be read before it.
    /// On a GPU they may not be there yet; what this thread does with them waits by itself.
    ///
    /// # Errors
    /// libtorch's own, with its first line; they are fatal for the engine.
    fn run(&mut self, images: &[Tensor], n_taps: usize) -> Result<Tokens, EngineError>;

    /// Waits until the last run's tokens are there.
    ///
    /// # Errors
    /// What went wrong on the GPU; fatal for the engine.
    fn wait(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// The parts of a batch as one tensor.
fn joined(images: &[Tensor]) -> Result<Tensor, TchError> {
    match images {
        [one] => Ok(one.shallow_clone()),
        several => Tensor::f_cat(several, 0),
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
