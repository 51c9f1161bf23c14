//! Where an engine and the heads behind it work on a GPU: one stream, and the memory of what is recorded on it.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};

use tch::Device;

use super::EngineError;
use crate::ffi::cuda::{Cuda, Graph, GraphPool, Stream};

/// Runs before a recording: they load kernels, choose algorithms and fill the allocator's cache, none of
/// which can be recorded.
const WARM_UP_RUNS: usize = 3;

/// A recording among those of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordingId(usize);

/// Recorded work.
#[derive(Debug)]
pub struct Recording<T> {
    /// To be replayed.
    pub graph: Graph,
    /// What the work returned: it lies where every replay leaves it.
    pub made: T,
    /// Which one it is.
    pub id: RecordingId,
}

/// Recordings on one lane, at most. What comes later runs kernel by kernel: an input may have any number of
/// sizes, and each recording takes memory for good.
pub const MOST_RECORDINGS: usize = 64;

/// A stream of a GPU, and the recordings on it. All of them share their memory, because nothing runs beside
/// anything else on a stream. What a recording needs while it runs may lie where an earlier one has had the
/// same, or where a later one leaves its results, but never on the results of an earlier one. So what is
/// replayed while the results of another are still to be read must have been recorded after that other.
#[derive(Debug)]
pub struct Lane {
    /// Its work.
    pub stream: Stream,
    pool: GraphPool,
    n_recordings: AtomicUsize,
    /// CUDA.
    pub cuda: Cuda,
    /// The GPU.
    pub device: Device,
}

impl Lane {
    /// A lane of its own on the GPU `index`, which libtorch calls `device`.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn new(cuda: Cuda, index: usize, device: Device) -> Result<Self, EngineError> {
        let (stream, pool) = (cuda.stream(index)?, cuda.graph_pool()?);
        Ok(Self { stream, pool, n_recordings: AtomicUsize::new(0), cuda, device })
    }

    /// Runs `work` until it is warm and records it once more. `None` if it has to run kernel by kernel, which
    /// the log says, with `what` it is. This lane's stream must be the thread's current one.
    ///
    /// # Errors
    /// Those of `work` while it is not recorded.
    pub fn record<T>(
        &self,
        what: impl Display,
        mut work: impl FnMut() -> Result<T, EngineError>,
    ) -> Result<Option<Recording<T>>, EngineError> {
        for _ in 0..WARM_UP_RUNS {
            work()?;
        }
        let id = RecordingId(self.n_recordings.fetch_add(1, Ordering::Relaxed));
        if MOST_RECORDINGS <= id.0 {
            tracing::warn!(
                "no CUDA graph for {what}, it runs kernel by kernel: there are {MOST_RECORDINGS} already"
            );
            return Ok(None);
        }
        self.stream.wait()?;
        match self.stream.record(self.pool, work) {
            Ok((graph, made)) => Ok(Some(Recording { graph, made, id })),
            Err(EngineError { message }) => {
                tracing::warn!("no CUDA graph for {what}, it runs kernel by kernel: {message}");
                Ok(None)
            }
        }
    }
}
