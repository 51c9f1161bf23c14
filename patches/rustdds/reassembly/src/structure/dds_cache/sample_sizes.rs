#![warn(warnings)]

//! The largest sample that the Readers of a Topic take, and those that were
//! larger.

use super::TopicCache;
use crate::{
  dds::topic::{Topic, TopicDescription},
  structure::sequence_number::SequenceNumber,
  GUID,
};

/// Bytes of the largest sample where the application has not said otherwise: a
/// request with a text of a megabyte is still heard, and can be refused in words.
const DEFAULT_MAX_SAMPLE_SIZE: usize = 2 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct SampleSizes {
  max: usize,
  n_oversized: u64,
  /// The last one that was counted: each of its fragments comes by.
  last_oversized: Option<(GUID, SequenceNumber)>,
}

impl Default for SampleSizes {
  fn default() -> Self {
    Self {
      max: DEFAULT_MAX_SAMPLE_SIZE,
      n_oversized: 0,
      last_oversized: None,
    }
  }
}

impl TopicCache {
  pub(crate) fn max_sample_size(&self) -> usize {
    self.sample_sizes.max
  }

  pub(crate) fn count_oversized(&mut self, writer: GUID, sn: SequenceNumber) {
    if self.sample_sizes.last_oversized.replace((writer, sn)) != Some((writer, sn)) {
      self.sample_sizes.n_oversized += 1;
    }
  }
}

impl Topic {
  /// Sets the size in bytes of the largest sample that Readers take which are
  /// created on this topic from now on. The size counts the serialized sample,
  /// and larger ones are passed over. The default is 1 MiB. Samples that fit in
  /// one datagram are always taken.
  pub fn limit_sample_size(&self, bytes: usize) {
    self.with_cache(|cache| cache.sample_sizes.max = bytes);
  }

  /// How many samples were passed over because they were too large.
  pub fn n_oversized_samples(&self) -> u64 {
    self
      .with_cache(|cache| cache.sample_sizes.n_oversized)
      .unwrap_or(0)
  }

  fn with_cache<R>(&self, f: impl FnOnce(&mut TopicCache) -> R) -> Option<R> {
    // Without a participant there are no Readers any more.
    let participant = TopicDescription::participant(self)?;
    let caches = participant.dds_cache();
    let cache = caches
      .read()
      .ok()?
      .get_existing_topic_cache(&TopicDescription::name(self))
      .ok()?;
    let mut cache = cache.lock().ok()?;
    Some(f(&mut cache))
  }
}
