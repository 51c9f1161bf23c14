//! Work for a GPU: streams, moments in them, and recordings.

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tch::Tensor;

use super::table::GraphPool;
use super::{Cuda, ShimError, device};

/// libtorch's allocator takes one recording at a time for granted.
static RECORDING: Mutex<()> = Mutex::new(());

static WAITS: AtomicU64 = AtomicU64::new(0);

/// How often this process has waited for a stream so far.
pub fn n_waits() -> u64 {
    WAITS.load(Ordering::Relaxed)
}

/// Work for a GPU, in order.
#[derive(Debug)]
pub struct Stream {
    raw: NonNull<c_void>,
    cuda: Cuda,
    device: c_int,
}

// SAFETY: a stream has no ties to the thread that made it; only `use_here` is about threads.
unsafe impl Send for Stream {}
// SAFETY: no method changes the stream, and CUDA takes work for a stream from any thread.
unsafe impl Sync for Stream {}

impl Cuda {
    /// A stream on the GPU `index`.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn stream(self, index: usize) -> Result<Stream, ShimError> {
        let device = device(index);
        // SAFETY: the result, unless null, is a stream that is ours to free.
        let raw = unsafe { (self.0.stream_new)(device) };
        Ok(Stream { raw: NonNull::new(raw).ok_or_else(|| self.last_error())?, cuda: self, device })
    }

    /// Marks this moment in this thread's current stream on the GPU `index`.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn event(self, index: usize) -> Result<Event, ShimError> {
        // SAFETY: the result, unless null, is an event that is ours to free.
        let raw = unsafe { (self.0.event_record)(device(index)) };
        Ok(Event { raw: NonNull::new(raw).ok_or_else(|| self.last_error())?, cuda: self })
    }

    /// The cudaStream_t on which this thread's work for the GPU `index` is queued.
    pub(in crate::ffi) fn current_stream(self, index: usize) -> Result<*mut c_void, ShimError> {
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` is written during the call.
        self.done(unsafe { (self.0.current_stream)(device(index), &raw mut raw) })?;
        Ok(raw)
    }

    /// Memory for recordings on one stream. What one of them leaves there is to be read before the next is
    /// replayed.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn graph_pool(self) -> Result<GraphPool, ShimError> {
        let mut pool = GraphPool::default();
        // SAFETY: `pool` is written during the call.
        self.done(unsafe { (self.0.pool_new)(&raw mut pool) })?;
        Ok(pool)
    }
}

impl Stream {
    /// Makes it this thread's current stream: what libtorch is asked from here on is queued on it.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn use_here(&self) -> Result<(), ShimError> {
        // SAFETY: the stream is alive.
        self.cuda.done(unsafe { (self.cuda.0.stream_use)(self.raw.as_ptr()) })
    }

    /// Waits until all that was queued on it is done. Other streams go on.
    ///
    /// # Errors
    /// What went wrong on the GPU.
    pub fn wait(&self) -> Result<(), ShimError> {
        WAITS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the stream is alive.
        self.cuda.done(unsafe { (self.cuda.0.stream_wait)(self.raw.as_ptr()) })
    }

    /// Queues a copy from `source` to `target`, both on the GPU, on this thread's current stream.
    ///
    /// # Errors
    /// Their sizes differ, or CUDA's own.
    pub fn copy(&self, target: &Tensor, source: &Tensor) -> Result<(), ShimError> {
        // SAFETY: both tensors live during the call; what is queued refers to their memory, which libtorch
        // does not hand to others before the stream has passed.
        self.cuda.done(unsafe { (self.cuda.0.copy)(target.as_ptr().cast(), source.as_ptr().cast()) })
    }

    /// Records what `work` asks of this thread's current stream, which must be this one and warm, instead of
    /// doing it; what it allocates comes from `pool`. The tensors that `work` reads and writes are where
    /// [`Graph::replay`] will read and write: they, and the graph's own, must be kept as long as it is
    /// replayed. One recording at a time: a second waits until the first has ended.
    ///
    /// # Errors
    /// Something that cannot be recorded; nothing is recorded then, and the stream is as before.
    pub fn record<T, E: From<ShimError>>(
        &self,
        pool: GraphPool,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Graph, T), E> {
        let cuda = self.cuda;
        let one_at_a_time = RECORDING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: `pool` lives during the call; the result, unless null, is a recording that is ours to end
        // and to free.
        let raw = unsafe { (cuda.0.graph_begin)(self.device, &raw const pool) };
        let graph = Graph { raw: NonNull::new(raw).ok_or_else(|| cuda.last_error())?, cuda };
        let worked = work();
        // Also after a failure: the stream must leave the recording.
        // SAFETY: the graph is alive and recording.
        let ended = cuda.done(unsafe { (cuda.0.graph_end)(raw) });
        // A graph that failed takes the lock itself when it goes.
        drop(one_at_a_time);
        let worked = worked?;
        ended?;
        Ok((graph, worked))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: this is its only owner. The stream itself is libtorch's and outlives us.
        unsafe { (self.cuda.0.stream_free)(self.raw.as_ptr()) };
    }
}

/// A moment in a stream.
#[derive(Debug)]
pub struct Event {
    raw: NonNull<c_void>,
    cuda: Cuda,
}

impl Event {
    /// Milliseconds of the GPU from this moment to `end`; waits for it.
    ///
    /// # Errors
    /// What went wrong on the GPU.
    pub fn millis_until(&self, end: &Self) -> Result<f64, ShimError> {
        let mut millis = 0.0;
        let (start, end) = (self.raw.as_ptr(), end.raw.as_ptr());
        // SAFETY: both events are alive, `millis` is written during the call.
        self.cuda.done(unsafe { (self.cuda.0.event_elapsed)(start, end, &raw mut millis) })?;
        Ok(f64::from(millis))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: this is its only owner.
        unsafe { (self.cuda.0.event_free)(self.raw.as_ptr()) };
    }
}

/// Recorded work.
#[derive(Debug)]
pub struct Graph {
    raw: NonNull<c_void>,
    cuda: Cuda,
}

// SAFETY: a graph has no ties to the thread that recorded it.
unsafe impl Send for Graph {}

impl Graph {
    /// Queues the recorded work on this thread's current stream.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn replay(&self) -> Result<(), ShimError> {
        // SAFETY: the graph is alive and was recorded to its end.
        self.cuda.done(unsafe { (self.cuda.0.graph_replay)(self.raw.as_ptr()) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _none_records = RECORDING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: this is its only owner.
        unsafe { (self.cuda.0.graph_free)(self.raw.as_ptr()) };
    }
}
