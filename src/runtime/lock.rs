//! Locks of values that are whole at any time: a thread that panicked while it had the lock leaves nothing
//! half-written, so poison carries no news.

use std::sync::{LockResult, Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, whether or not a thread has panicked meanwhile.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    whole(mutex.lock())
}

/// What a lock, or a wait for a condition, gives, poisoned or not.
pub fn whole<T>(guard: LockResult<T>) -> T {
    guard.unwrap_or_else(PoisonError::into_inner)
}
