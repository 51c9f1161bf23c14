//! The pixel of a camera's image that was queried last.

use std::sync::{Mutex, MutexGuard};

use crate::runtime::lock::lock;

/// The newest pixel that was pointed at and that no frame has answered yet.
#[derive(Debug, Default)]
pub struct Query(Mutex<Option<[f64; 2]>>);

impl Query {
    /// Asks for `pixel`, x and y in the camera's image, instead of what was asked before.
    pub fn ask(&self, pixel: [f64; 2]) {
        *self.lock() = Some(pixel);
    }

    /// Takes what was asked.
    pub fn take(&self) -> Option<[f64; 2]> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<[f64; 2]>> {
        lock(&self.0)
    }
}
