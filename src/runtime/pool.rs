//! Buffers that come back: a lease returns its bytes to the pool when it is dropped, also when
//! the frame that held it was displaced.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

use super::scratch::{self, Recent};
use crate::ffi;
use crate::runtime::lock::lock;

/// A pool of buffers. It grows to the largest number of leases ever out at once, each as large as usual ones
/// need.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    shared: Arc<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<Vec<u8>>,
    recent: Recent,
}

impl Pool {
    /// A buffer that was used before, contents and all, or a fresh empty one.
    pub fn lease(&self) -> Lease {
        let used = self.shared.lock().free.pop();
        Lease { bytes: used.unwrap_or_default(), home: Some(Arc::clone(&self.shared)) }
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn take_back(&self, bytes: Vec<u8>) {
        let mut state = self.lock();
        let usual = state.recent.note(bytes.len());
        state.free.push(bytes);
        // All of them: one that grew while outliers were usual may not be leased again.
        let n_shrunk =
            state.free.iter_mut().map(|free| usize::from(scratch::shrink(free, usual))).sum::<usize>();
        drop(state);
        if n_shrunk > 0 {
            ffi::memory::give_back();
        }
    }
}

/// A buffer on loan from a [`Pool`].
#[derive(Debug)]
pub struct Lease {
    bytes: Vec<u8>,
    home: Option<Arc<Shelf>>,
}

impl From<Vec<u8>> for Lease {
    /// Bytes without a pool: they are freed as usual.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, home: None }
    }
}

impl Deref for Lease {
    type Target = Vec<u8>;
    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.take_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_is_leased_again() {
        let pool = Pool::default();
        let mut first = pool.lease();
        first.resize(1000, 7);
        let address = first.as_ptr();
        drop(first);
        let second = pool.lease();
        assert_eq!((second.as_ptr(), second.len()), (address, 1000));
        assert!(pool.lease().is_empty());
    }

    #[test]
    fn no_buffer_of_the_pool_stays_beyond_what_is_usual() {
        let (pool, usual) = (Pool::default(), 2 << 20);
        let use_both = |n_bytes| {
            let mut leases = [pool.lease(), pool.lease()];
            leases.iter_mut().for_each(|lease| lease.resize(n_bytes, 0));
        };
        let largest = || pool.shared.lock().free.iter().map(Vec::capacity).max();
        use_both(usual);
        use_both(50 << 20);
        assert_eq!(largest(), Some(50 << 20));
        // One at a time: the other one is never leased again.
        for _ in 0..8 {
            pool.lease().resize(usual, 0);
        }
        assert_eq!(largest(), Some(usual));
    }
}
