//! CUDA as far as the engines need it: devices, streams, timing, graphs, page-locked memory. All of it lives
//! in `libpixio_cuda.so`, which is opened when it is first asked for and never closed; without a driver,
//! libtorch's CUDA part or that file there is simply no CUDA.

#[cfg(test)]
pub mod fake;
mod table;
mod work;

use std::ffi::c_int;
use std::path::PathBuf;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::Tensor;

use super::memory::HostBytes;
use super::{ShimError, text};
use table::{API_VERSION, Api, DeviceInfo};

pub use table::GraphPool;
pub use work::{Event, Graph, Stream, n_waits};

const PLUGIN: &str = "libpixio_cuda.so";

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

    /// `n_bytes` in page-locked memory, from which and into which the GPU copies by itself.
    ///
    /// # Errors
    /// There is not that much.
    pub fn pinned(self, n_bytes: usize) -> Result<HostBytes, ShimError> {
        let n_bytes = i64::try_from(n_bytes).unwrap_or(i64::MAX);
        // SAFETY: the result, unless null, is a tensor that nobody else owns.
        let tensor = unsafe { (self.0.pinned)(n_bytes) };
        if tensor.is_null() {
            return Err(self.last_error());
        }
        // SAFETY: as above.
        HostBytes::of(unsafe { Tensor::from_ptr(tensor.cast()) })
    }

    /// Queues a copy from `source`, on the CPU, to `target`, on a GPU, on this thread's current stream.
    /// Whoever owns the memory of `source` keeps it and leaves it as it is until the stream was waited for.
    ///
    /// # Errors
    /// They differ in their number of bytes, one is not contiguous, or CUDA's own.
    pub fn upload(self, target: &Tensor, source: &Tensor) -> Result<(), ShimError> {
        alike(target, source)?;
        // SAFETY: both tensors live during the call and have equally many bytes; CUDA reads the memory of
        // `source` as bytes, whatever happens to them meanwhile.
        self.done(unsafe { (self.0.upload)(target.as_ptr().cast(), source.data_ptr()) })
    }

    /// Queues a copy from `source`, on a GPU, to `target`, on the CPU, on this thread's current stream.
    /// The values are there once the stream was waited for; until then `target` is kept.
    ///
    /// # Errors
    /// They differ in their number of bytes, one is not contiguous, or CUDA's own.
    pub fn download(self, target: &Tensor, source: &Tensor) -> Result<(), ShimError> {
        alike(target, source)?;
        // SAFETY: as in `upload`.
        self.done(unsafe { (self.0.download)(target.data_ptr(), source.as_ptr().cast()) })
    }

    fn done(self, done: bool) -> Result<(), ShimError> {
        done.then_some(()).ok_or_else(|| self.last_error())
    }

    fn last_error(self) -> ShimError {
        // SAFETY: a C string of this thread that lives until its next call.
        ShimError::new(unsafe { text((self.0.last_error)()) })
    }
}

/// Whether the bytes of one tensor can become those of the other.
fn alike(target: &Tensor, source: &Tensor) -> Result<(), ShimError> {
    let n_bytes = |tensor: &Tensor| Ok::<_, ShimError>(tensor.numel() * tensor.f_kind()?.elt_size_in_bytes());
    let (to, from) = (n_bytes(target)?, n_bytes(source)?);
    if to != from || !target.is_contiguous() || !source.is_contiguous() {
        return Err(ShimError::new(format!("{from} bytes are to be copied to {to}, both contiguous")));
    }
    Ok(())
}

fn device(index: usize) -> c_int {
    c_int::try_from(index).unwrap_or(c_int::MAX)
}
