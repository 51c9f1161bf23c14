//! Buffers that come back: a lease returns its value to the pool when it is dropped, also when
//! the frame that held it was displaced.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// A pool of reusable values. It grows to the largest number of leases ever out at once.
#[derive(Debug)]
pub struct Pool<T> {
    free: Arc<Mutex<Vec<T>>>,
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self { free: Arc::clone(&self.free) }
    }
}

impl<T: Default> Default for Pool<T> {
    fn default() -> Self {
        Self { free: Arc::default() }
    }
}

impl<T: Default> Pool<T> {
    /// A value that was used before, contents and all, or a fresh default one.
    pub fn lease(&self) -> Lease<T> {
        // A panic elsewhere cannot leave the list half-written, so poison carries no news.
        let used = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Lease { value: used.unwrap_or_default(), home: Some(Arc::clone(&self.free)) }
    }
}

/// A value on loan from a [`Pool`].
#[derive(Debug)]
pub struct Lease<T: Default> {
    value: T,
    home: Option<Arc<Mutex<Vec<T>>>>,
}

impl<T: Default> From<T> for Lease<T> {
    /// A value without a pool: it is freed as usual.
    fn from(value: T) -> Self {
        Self { value, home: None }
    }
}

impl<T: Default> Deref for Lease<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Default> DerefMut for Lease<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Default> Drop for Lease<T> {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_is_leased_again() {
        let pool = Pool::<Vec<u8>>::default();
        let mut first = pool.lease();
        first.resize(1000, 7);
        let address = first.as_ptr();
        drop(first);
        let second = pool.lease();
        assert_eq!((second.as_ptr(), second.len()), (address, 1000));
        assert!(pool.lease().is_empty());
    }
}
