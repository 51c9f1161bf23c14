//! CUDA as far as the engines need it: devices, streams, timing, graphs, page-locked memory. All of it lives
//! in `libpixio_cuda.so`, which is opened when it is first asked for and never closed; without a driver,
//! libtorch's CUDA part or that file there is simply no CUDA.

use std::ffi::{c_char, c_int, c_void};
use std::path::PathBuf;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::Tensor;

use super::{ShimError, text};

const PLUGIN: &str = "libpixio_cuda.so";
/// Of the table of functions; both sides must agree.
const API_VERSION: u32 = 1;

/// Why there is no CUDA here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// No NVIDIA driver, so no GPU.
    #[error("there is no NVIDIA driver here (libcuda.so.1)")]
    NoDriver,
    /// The plug-in is not where it should be.
    #[error(
        "{PLUGIN} is not beside the executable: build the node where CUDA's headers are, see scripts/setup"
    )]
    NoPlugin,
    /// The plug-in, or libtorch's CUDA part, cannot be loaded.
    #[error("libtorch's CUDA part cannot be loaded: {reason}")]
    Unloadable {
        /// What the loader said.
        reason: String,
    },
}

impl From<Absent> for ShimError {
    fn from(absent: Absent) -> Self {
        Self::new(absent.to_string())
    }
}

/// CUDA, loaded.
#[derive(Clone, Copy, Debug)]
pub struct Cuda(&'static Api);

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// As the driver calls it, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Compute capability, such as `9.0`.
    pub capability: String,
}

/// Device memory that libtorch holds, bytes, graphs and caches included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DeviceMemory {
    /// Now.
    pub reserved: u64,
    /// The most it ever was.
    pub peak: u64,
}

/// Loads CUDA once; later calls say the same again.
///
/// # Errors
/// CUDA is not available.
pub fn load() -> Result<Cuda, Absent> {
    static LOADED: OnceLock<Result<Cuda, Absent>> = OnceLock::new();
    LOADED.get_or_init(open).clone()
}

fn open() -> Result<Cuda, Absent> {
    // Asked first: loading libtorch's CUDA part takes a second, and most machines without a GPU lack the
    // driver.
    // SAFETY: the driver's library has no initialisers that matter to us, and it stays loaded.
    let driver = unsafe { Library::open(Some("libcuda.so.1"), RTLD_NOW) }.map_err(|_| Absent::NoDriver)?;
    std::mem::forget(driver);
    let file = plugin().ok_or(Absent::NoPlugin)?;
    let unloadable = |err: libloading::Error| Absent::Unloadable { reason: err.to_string() };
    // Global, so that compiled packages find libtorch's functions for CUDA.
    // SAFETY: this is the plug-in that was built with this binary; its initialisers are libtorch's.
    let library = unsafe { Library::open(Some(&file), RTLD_NOW | RTLD_GLOBAL) }.map_err(unloadable)?;
    // SAFETY: the symbol has this type in cuda.cpp.
    let entry = unsafe { library.get::<unsafe extern "C" fn() -> *const Api>(b"pixio_cuda_api\0") }
        .map_err(unloadable)?;
    // SAFETY: it returns a static table, which lives because the library is never closed.
    let api: &'static Api = unsafe { &*entry() };
    std::mem::forget(library);
    if api.version != API_VERSION {
        let reason = format!("{} is of another build of the node", file.display());
        return Err(Absent::Unloadable { reason });
    }
    Ok(Cuda(api))
}

/// Beside the executable, where an installation puts libraries, or where cargo left it.
fn plugin() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    let folder = exe.parent()?;
    let places = [folder.join(PLUGIN), folder.join("..").join(PLUGIN), folder.join("../lib").join(PLUGIN)];
    places.into_iter().find(|file| file.is_file())
}

impl Cuda {
    /// How many GPUs there are, at least one.
    ///
    /// # Errors
    /// None that can be used, and why.
    pub fn device_count(self) -> Result<usize, ShimError> {
        let mut n = 0;
        // SAFETY: `n` is written during the call.
        self.done(unsafe { (self.0.device_count)(&raw mut n) })?;
        Ok(usize::try_from(n).unwrap_or_default())
    }

    /// What the GPU `index` is.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn gpu(self, index: usize) -> Result<Gpu, ShimError> {
        let mut info = DeviceInfo { name: [0; 256], major: 0, minor: 0 };
        // SAFETY: `info` is written during the call.
        self.done(unsafe { (self.0.device_info)(device(index), &raw mut info) })?;
        // SAFETY: cuda.cpp ends the name with a zero.
        let name = unsafe { text(info.name.as_ptr()) };
        Ok(Gpu { name, capability: format!("{}.{}", info.major, info.minor) })
    }

    /// Memory that libtorch holds on the GPU `index`.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn memory(self, index: usize) -> Result<DeviceMemory, ShimError> {
        let mut memory = DeviceMemory::default();
        // SAFETY: `memory` is written during the call.
        self.done(unsafe { (self.0.memory)(device(index), &raw mut memory) })?;
        Ok(memory)
    }

    /// Gives back device memory that libtorch keeps for later.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn empty_cache(self) -> Result<(), ShimError> {
        // SAFETY: takes nothing.
        self.done(unsafe { (self.0.empty_cache)() })
    }

    /// A stream on the GPU `index`.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn stream(self, index: usize) -> Result<Stream, ShimError> {
        // SAFETY: the result, unless null, is a stream that is ours to free.
        let raw = unsafe { (self.0.stream_new)(device(index)) };
        Ok(Stream { raw: NonNull::new(raw).ok_or_else(|| self.last_error())?, cuda: self })
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
    pub(super) fn current_stream(self, index: usize) -> Result<*mut c_void, ShimError> {
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` is written during the call.
        self.done(unsafe { (self.0.current_stream)(device(index), &raw mut raw) })?;
        Ok(raw)
    }

    /// uint8 `[n_bytes]` in page-locked memory, from which the GPU copies by itself.
    ///
    /// # Errors
    /// There is not that much.
    pub fn pinned(self, n_bytes: i64) -> Result<Tensor, ShimError> {
        // SAFETY: the result, unless null, is a tensor that nobody else owns.
        let tensor = unsafe { (self.0.pinned)(n_bytes) };
        if tensor.is_null() {
            return Err(self.last_error());
        }
        // SAFETY: as above.
        Ok(unsafe { Tensor::from_ptr(tensor.cast()) })
    }

    fn done(self, done: bool) -> Result<(), ShimError> {
        done.then_some(()).ok_or_else(|| self.last_error())
    }

    fn last_error(self) -> ShimError {
        // SAFETY: a C string of this thread that lives until its next call.
        ShimError::new(unsafe { text((self.0.last_error)()) })
    }
}

/// Work for a GPU, in order.
#[derive(Debug)]
pub struct Stream {
    raw: NonNull<c_void>,
    cuda: Cuda,
}

// SAFETY: a stream has no ties to the thread that made it; only `use_here` is about threads.
unsafe impl Send for Stream {}

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
        // SAFETY: the stream is alive.
        self.cuda.done(unsafe { (self.cuda.0.stream_wait)(self.raw.as_ptr()) })
    }

    /// Queues a copy from `source` to `target` on this thread's current stream. Both must be kept until it is
    /// done.
    ///
    /// # Errors
    /// Their sizes differ, or CUDA's own.
    pub fn copy(&self, target: &Tensor, source: &Tensor) -> Result<(), ShimError> {
        // SAFETY: both tensors live during the call; what is queued refers to their memory, which libtorch
        // does not hand to others before the stream has passed.
        self.cuda.done(unsafe { (self.cuda.0.copy)(target.as_ptr().cast(), source.as_ptr().cast()) })
    }

    /// Records what `work` asks of this thread's current stream, which must be this one and warm, instead of
    /// doing it. The tensors that `work` reads and writes are where [`Graph::replay`] will read and write:
    /// they, and the graph's own, must be kept as long as it is replayed.
    ///
    /// # Errors
    /// Something that cannot be recorded; nothing is recorded then, and the stream is as before.
    pub fn record<T, E: From<ShimError>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Graph, T), E> {
        let cuda = self.cuda;
        // SAFETY: takes nothing; the result, unless null, is a graph that is ours to free.
        let raw = unsafe { (cuda.0.graph_new)() };
        let graph = Graph { raw: NonNull::new(raw).ok_or_else(|| cuda.last_error())?, cuda };
        // SAFETY: the graph is alive and has recorded nothing.
        cuda.done(unsafe { (cuda.0.graph_begin)(raw) })?;
        let worked = work();
        // Also after a failure: the stream must leave the recording.
        // SAFETY: the graph is alive and recording.
        let ended = cuda.done(unsafe { (cuda.0.graph_end)(raw) });
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
        // SAFETY: this is its only owner.
        unsafe { (self.cuda.0.graph_free)(self.raw.as_ptr()) };
    }
}

fn device(index: usize) -> c_int {
    c_int::try_from(index).unwrap_or(c_int::MAX)
}

#[repr(C)]
struct DeviceInfo {
    name: [c_char; 256],
    major: i32,
    minor: i32,
}

/// `PixioCudaApi` in cuda.cpp.
#[repr(C)]
#[derive(Debug)]
struct Api {
    version: u32,
    last_error: unsafe extern "C" fn() -> *const c_char,
    device_count: unsafe extern "C" fn(*mut i32) -> bool,
    device_info: unsafe extern "C" fn(c_int, *mut DeviceInfo) -> bool,
    memory: unsafe extern "C" fn(c_int, *mut DeviceMemory) -> bool,
    empty_cache: unsafe extern "C" fn() -> bool,
    stream_new: unsafe extern "C" fn(c_int) -> *mut c_void,
    stream_free: unsafe extern "C" fn(*mut c_void),
    stream_use: unsafe extern "C" fn(*const c_void) -> bool,
    current_stream: unsafe extern "C" fn(c_int, *mut *mut c_void) -> bool,
    stream_wait: unsafe extern "C" fn(*const c_void) -> bool,
    event_record: unsafe extern "C" fn(c_int) -> *mut c_void,
    event_elapsed: unsafe extern "C" fn(*mut c_void, *mut c_void, *mut f32) -> bool,
    event_free: unsafe extern "C" fn(*mut c_void),
    pinned: unsafe extern "C" fn(i64) -> *mut c_void,
    copy: unsafe extern "C" fn(*const c_void, *const c_void) -> bool,
    graph_new: unsafe extern "C" fn() -> *mut c_void,
    graph_free: unsafe extern "C" fn(*mut c_void),
    graph_begin: unsafe extern "C" fn(*mut c_void) -> bool,
    graph_end: unsafe extern "C" fn(*mut c_void) -> bool,
    graph_replay: unsafe extern "C" fn(*mut c_void) -> bool,
}
