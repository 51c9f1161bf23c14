#![warn(warnings)]
//! Writers of participants that are gone, and may come back.

use crate::structure::guid::GuidPrefix;
use super::TopicCache;

impl TopicCache {
  /// Forgets which samples came from a participant. Discovery repeats one
  /// sample as long as nothing changes: when the participant comes back, it is
  /// news again.
  pub(crate) fn forget_samples_of(&mut self, participant: GuidPrefix) {
    self
      .sequence_numbers
      .retain(|writer, _| writer.prefix != participant);
  }
}
