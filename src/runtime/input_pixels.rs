//! Memory for model inputs: page-locked where a GPU reads it, and used again.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use tch::{Kind, Tensor};

use crate::ffi::ShimError;
use crate::ffi::memory::{HostBytes, HostMemory};
use crate::runtime::lock::lock;

/// Where the model inputs of one camera lie. Buffers of the size that came last come back.
#[derive(Clone, Debug, Default)]
pub struct InputPool {
    memory: HostMemory,
    free: Arc<Mutex<Vec<HostBytes>>>,
}

impl InputPool {
    /// A pool in `memory`.
    pub fn new(memory: HostMemory) -> Self {
        Self { memory, free: Arc::default() }
    }

    /// Room for one model input.
    pub fn lease(&self) -> InputPixels {
        InputPixels { bytes: None, home: self.clone() }
    }

    /// A buffer of exactly `n_bytes`.
    fn take(&self, n_bytes: usize) -> Result<HostBytes, ShimError> {
        let mut free = lock(&self.free);
        free.retain(|bytes| bytes.len() == n_bytes);
        match free.pop() {
            Some(bytes) => Ok(bytes),
            None => self.memory.take(n_bytes),
        }
    }
}

/// The pixels of a model input, row-major RGB. Empty until it is known how many there are.
#[derive(Debug, Default)]
pub struct InputPixels {
    bytes: Option<HostBytes>,
    home: InputPool,
}

impl InputPixels {
    /// Room for exactly `n_bytes`, with what was there before or anything else.
    ///
    /// # Errors
    /// There is not that much memory.
    pub fn take(&mut self, n_bytes: usize) -> Result<&mut [u8], ShimError> {
        let bytes = match self.bytes.take() {
            Some(bytes) if bytes.len() == n_bytes => bytes,
            _ => self.home.take(n_bytes)?,
        };
        Ok(self.bytes.insert(bytes))
    }

    /// The pixels as a uint8 tensor of this shape, on the same memory.
    ///
    /// # Errors
    /// There are fewer pixels than `shape` has.
    pub fn tensor(&self, shape: &[i64]) -> Result<Tensor, ShimError> {
        match &self.bytes {
            Some(bytes) => bytes.view(0, Kind::Uint8, shape),
            None => Ok(Tensor::f_zeros(shape, (Kind::Uint8, tch::Device::Cpu))?),
        }
    }
}

impl Deref for InputPixels {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }
}

impl Drop for InputPixels {
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            lock(&self.home.free).push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_the_size_that_came_last_are_used_again() {
        let pool = InputPool::default();
        let mut first = pool.lease();
        assert!(first.is_empty());
        first.take(300).unwrap().fill(7);
        let shown = first.tensor(&[10, 10, 3]).unwrap();
        first.take(300).unwrap()[299] = 9;
        assert_eq!((shown.int64_value(&[0, 0, 0]), shown.int64_value(&[9, 9, 2])), (7, 9));
        let address = first.as_ptr();
        drop((first, shown));
        let mut second = pool.lease();
        second.take(300).unwrap();
        assert_eq!(second.as_ptr(), address);
        drop(second);
        pool.lease().take(60).unwrap();
        assert_eq!(lock(&pool.free).iter().map(|bytes| bytes.len()).collect::<Vec<_>>(), [60]);
    }
}
