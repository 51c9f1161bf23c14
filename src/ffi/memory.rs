//! The host's memory: the C library's allocator, from which Rust's memory comes as well, and bytes that are
//! tensors at the same time.

use std::ops::{Deref, DerefMut};
use std::slice;

use tch::{Device, Kind, TchError, Tensor};

use super::ShimError;
use super::cuda::Cuda;

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    // SAFETY: it takes no pointer and locks what it touches; any thread may call it at any time.
    safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
}

/// Returns freed memory to the system, which glibc by itself keeps up to 64 MB of for each thread. It takes
/// milliseconds: for rare moments.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    malloc_trim(0);
}

/// The bytes of `tensor`'s values, in the machine's order.
///
/// # Errors
/// The tensor is not on the CPU, or not contiguous.
pub fn values(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    if tensor.device() != Device::Cpu || !tensor.is_contiguous() {
        return Err(TchError::Kind(format!("a tensor on {:?} has no bytes in a row", tensor.device())));
    }
    let n_bytes = tensor.numel() * tensor.f_kind()?.elt_size_in_bytes();
    if n_bytes == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: a contiguous tensor on the CPU, alive during the call.
    Ok(unsafe { slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), n_bytes) }.to_vec())
}

/// The bytes of `bytes`, uint8 `[n]` on any device, from `start` on as a tensor of this type and shape, on the
/// same memory.
///
/// # Errors
/// There are too few bytes, or values of this type cannot begin there.
pub fn view(bytes: &Tensor, start: usize, kind: Kind, shape: &[i64]) -> Result<Tensor, TchError> {
    let start = i64::try_from(start).unwrap_or(i64::MAX);
    let n_bytes = shape.iter().product::<i64>() * i64::try_from(kind.elt_size_in_bytes()).unwrap_or(1);
    bytes.f_narrow(0, start, n_bytes)?.f_view_dtype(kind)?.f_view(shape)
}

/// Where bytes lie that go to the model's device or come from there.
#[derive(Clone, Copy, Debug, Default)]
pub enum HostMemory {
    /// Anywhere.
    #[default]
    Pageable,
    /// In page-locked memory, which a GPU reads and writes by itself.
    Pinned(Cuda),
}

impl HostMemory {
    /// `n_bytes` of it, contents and all.
    ///
    /// # Errors
    /// There is not that much.
    pub fn take(self, n_bytes: usize) -> Result<HostBytes, ShimError> {
        match self {
            Self::Pageable => {
                let n_bytes = i64::try_from(n_bytes).unwrap_or(i64::MAX);
                HostBytes::of(Tensor::f_empty([n_bytes], (Kind::Uint8, Device::Cpu))?)
            }
            Self::Pinned(cuda) => cuda.pinned(n_bytes),
        }
    }
}

/// Bytes in the host's memory that tensors show without a copy.
#[derive(Debug)]
pub struct HostBytes(Tensor);

impl HostBytes {
    /// `tensor` must be uint8 `[n]` on the CPU, contiguous.
    pub(super) fn of(tensor: Tensor) -> Result<Self, ShimError> {
        let (kind, device) = (tensor.f_kind()?, tensor.device());
        if kind != Kind::Uint8 || device != Device::Cpu || tensor.dim() != 1 || !tensor.is_contiguous() {
            return Err(ShimError::new(format!("{kind:?} {:?} on {device:?} are no bytes", tensor.size())));
        }
        Ok(Self(tensor))
    }

    /// The bytes from `start` on as a tensor of this type and shape, on the same memory: it shows what is
    /// written here later.
    ///
    /// # Errors
    /// There are too few bytes, or values of this type cannot begin there.
    pub fn view(&self, start: usize, kind: Kind, shape: &[i64]) -> Result<Tensor, ShimError> {
        Ok(view(&self.0, start, kind, shape)?)
    }
}

impl Deref for HostBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        if self.0.numel() == 0 {
            return &[];
        }
        // SAFETY: a contiguous uint8 tensor on the CPU, alive as long as `self`.
        unsafe { slice::from_raw_parts(self.0.data_ptr().cast(), self.0.numel()) }
    }
}

impl DerefMut for HostBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        if self.0.numel() == 0 {
            return &mut [];
        }
        // SAFETY: as above; tensors that show the same memory are read and written through libtorch alone.
        unsafe { slice::from_raw_parts_mut(self.0.data_ptr().cast(), self.0.numel()) }
    }
}
