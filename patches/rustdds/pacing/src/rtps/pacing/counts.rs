#![warn(warnings)]
//! What became of the samples of a topic.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of the samples of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCounts {
  /// Samples that were sent whole.
  pub sent: u64,
  /// Samples that a newer one replaced before anything of them was sent.
  pub replaced: u64,
  /// How often a sample had to wait for the rate.
  pub deferred: u64,
  /// Bytes that were sent again because a reader asked for them.
  pub repaired_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
  sent: AtomicU64,
  replaced: AtomicU64,
  deferred: AtomicU64,
  repaired_bytes: AtomicU64,
}

impl Tally {
  pub(crate) fn add_sent(&self, samples: u64) {
    self.sent.fetch_add(samples, Ordering::Relaxed);
  }

  pub(crate) fn add_replaced(&self, samples: u64) {
    self.replaced.fetch_add(samples, Ordering::Relaxed);
  }

  pub(crate) fn add_deferred(&self) {
    self.deferred.fetch_add(1, Ordering::Relaxed);
  }

  pub(crate) fn add_repaired(&self, bytes: usize) {
    self
      .repaired_bytes
      .fetch_add(bytes as u64, Ordering::Relaxed);
  }

  pub(super) fn read(&self) -> SendCounts {
    SendCounts {
      sent: self.sent.load(Ordering::Relaxed),
      replaced: self.replaced.load(Ordering::Relaxed),
      deferred: self.deferred.load(Ordering::Relaxed),
      repaired_bytes: self.repaired_bytes.load(Ordering::Relaxed),
    }
  }
}
