#![warn(warnings)]
//! A buffer in which the newest sample wins.
//!
//! KEEP_LAST says how many samples matter, and for a stream only the newest do.
//! So a sample that waits is replaced by a newer one, and beside the newest only
//! one is kept: the one that is being sent or, once it was sent, repaired. That
//! bounds memory and time whatever readers do.

use super::{Inner, WriterSendBuffer};
use crate::structure::{cache_change::CacheChange, sequence_number::SequenceNumber};

/// Drops what neither is among the newest nor is being sent or repaired.
pub(super) fn trim(inner: &mut Inner) {
  let Some(depth) = inner.keep_newest else {
    return;
  };
  let mut newest_first = inner.changes.keys().rev();
  let Some(oldest_of_newest) = newest_first.by_ref().take(depth).last().copied() else {
    return;
  };
  // A sample that has begun is finished. Else the newest of those that were
  // sent is kept while a reliable reader lacks it.
  let under_way = inner.sent_frontier.plus_1();
  let kept = newest_first
    .copied()
    .find(|sn| {
      if inner.begun {
        *sn == under_way
      } else {
        *sn <= inner.sent_frontier
      }
    })
    .filter(|sn| *sn == under_way || (inner.reliable_readers_present && *sn >= inner.acked_before));
  let sent_frontier = inner.sent_frontier;
  let mut replaced = 0;
  inner.changes.retain(|sn, _| {
    let keep = *sn >= oldest_of_newest || Some(*sn) == kept;
    if !keep && *sn > sent_frontier {
      replaced += 1;
    }
    keep
  });
  inner.replaced += replaced;
  if let Some(first) = inner.changes.keys().next() {
    inner.first_seq = *first;
  }
}

impl WriterSendBuffer {
  /// From now on the newest `depth` samples win.
  pub fn keep_newest(&self, depth: usize) {
    let mut inner = self.shared.inner.lock().unwrap();
    inner.keep_newest = Some(depth.max(1));
    trim(&mut inner);
  }

  pub fn newest_wins(&self) -> bool {
    self.shared.inner.lock().unwrap().keep_newest.is_some()
  }

  /// The first retained sample from `sn` on.
  pub fn first_from(&self, sn: SequenceNumber) -> Option<SequenceNumber> {
    let inner = self.shared.inner.lock().unwrap();
    inner.changes.range(sn..).next().map(|(sn, _)| *sn)
  }

  /// Fetches a sample to send it: it is not replaced until it was sent or put
  /// back.
  pub fn begin(&self, sn: SequenceNumber) -> Option<CacheChange> {
    let mut inner = self.shared.inner.lock().unwrap();
    let found = inner.changes.get(&sn).cloned();
    inner.begun = found.is_some() && sn == inner.sent_frontier.plus_1();
    found
  }

  /// Nothing of the sample was sent after all: it waits again.
  pub fn put_back(&self) {
    let mut inner = self.shared.inner.lock().unwrap();
    inner.begun = false;
    trim(&mut inner);
  }

  /// How many samples were replaced since the last call.
  pub fn take_replaced(&self) -> u64 {
    std::mem::take(&mut self.shared.inner.lock().unwrap().replaced)
  }
}
