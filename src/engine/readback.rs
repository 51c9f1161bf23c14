//! What the model has made, on its way to the host: all that a batch of frames leaves is gathered on the device,
//! copied at once behind the work itself, and waited for once.

use tch::{Device, Kind, Tensor};

use super::{Engine, EngineError};
use crate::ffi::memory::{self, HostBytes, HostMemory};

/// Where values of any type may begin.
const ALIGNMENT: usize = 64;

/// The least size of a chunk, bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// Copies to the host. On a CPU there are none: tensors are there already.
#[derive(Debug, Default)]
pub struct Readback {
    memory: HostMemory,
    /// One, which holds what usual batches leave; more while a batch leaves more than those before it. They
    /// stay: page-locked memory is slow to get.
    chunks: Vec<Chunk>,
}

/// Memory on both sides.
#[derive(Debug)]
struct Chunk {
    /// uint8, as long as `host`.
    device: Tensor,
    host: HostBytes,
    n_used: usize,
}

impl Readback {
    /// Brings tensors into `memory`, which is the engine's [`Engine::host_memory`].
    pub fn new(memory: HostMemory) -> Self {
        Self { memory, ..Self::default() }
    }

    /// Whether values are there only after [`Readback::wait`].
    pub fn is_deferred(&self) -> bool {
        matches!(self.memory, HostMemory::Pinned(_))
    }

    /// Forgets the tensors of the batch before: their memory is written anew.
    pub fn begin(&mut self) {
        // The last is the largest: the others would fit into it.
        let n_small = self.chunks.len().saturating_sub(1);
        self.chunks.drain(..n_small);
        self.chunks.iter_mut().for_each(|chunk| chunk.n_used = 0);
    }

    /// Gathers `tensor` as `kind`, behind what this thread has asked of its device. Returns where it goes:
    /// the values are there after [`Readback::wait`], until [`Readback::begin`].
    ///
    /// # Errors
    /// There is no memory, or CUDA's own.
    pub fn bring(&mut self, tensor: &Tensor, kind: Kind) -> Result<Tensor, EngineError> {
        if !self.is_deferred() {
            return Ok(tensor.f_to_kind(kind)?);
        }
        let shape = tensor.size();
        let n_bytes = (tensor.numel() * kind.elt_size_in_bytes()).next_multiple_of(ALIGNMENT);
        let chunk = self.chunk(n_bytes, tensor.device())?;
        let start = chunk.n_used;
        chunk.n_used += n_bytes;
        memory::view(&chunk.device, start, kind, &shape)?.f_copy_(tensor)?;
        Ok(chunk.host.view(start, kind, &shape)?)
    }

    /// Queues the copy of what was gathered and waits for `engine`, from which it came.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn wait(&mut self, engine: &dyn Engine) -> Result<(), EngineError> {
        if let HostMemory::Pinned(cuda) = self.memory {
            for Chunk { device, host, n_used } in self.chunks.iter().filter(|chunk| 0 < chunk.n_used) {
                let n_used = i64::try_from(*n_used).unwrap_or(i64::MAX);
                cuda.download(&host.view(0, Kind::Uint8, &[n_used])?, &device.f_narrow(0, 0, n_used)?)?;
            }
        }
        engine.wait()
    }

    /// One with room for `n_bytes` more.
    fn chunk(&mut self, n_bytes: usize, device: Device) -> Result<&mut Chunk, EngineError> {
        let n_left = self.chunks.last().map_or(0, |chunk| chunk.host.len() - chunk.n_used);
        if n_left < n_bytes {
            // Of twice what there is, so that the next batch of this kind finds room in it alone.
            let n_before: usize = self.chunks.iter().map(|chunk| chunk.host.len()).sum();
            let n_bytes = (n_bytes + 2 * n_before).max(CHUNK_BYTES);
            let n = i64::try_from(n_bytes).unwrap_or(i64::MAX);
            let device = Tensor::f_empty([n], (Kind::Uint8, device))?;
            self.chunks.push(Chunk { device, host: self.memory.take(n_bytes)?, n_used: 0 });
        }
        self.chunks.last_mut().ok_or_else(|| EngineError { message: "there is no memory".into() })
    }
}
