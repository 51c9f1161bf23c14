#![warn(warnings)]

//! Writers of which somebody else pretended that they had got further.

use crate::structure::{guid::GUID, sequence_number::SequenceNumber};
use super::TopicCache;

impl TopicCache {
  /// Goes back to where `writer` goes on, which is at `sn`. What there is from
  /// there on is not from it.
  pub(crate) fn rewind(&mut self, writer: GUID, sn: SequenceNumber) {
    if let Some(samples) = self.sequence_numbers.get_mut(&writer) {
      for instant in samples.split_off(&sn).into_values() {
        self.changes.remove(&instant);
      }
      if samples.is_empty() {
        self.sequence_numbers.remove(&writer);
      }
    }
    self.received_reliably_before.insert(writer, sn);
    self.rewound.insert(writer, sn - SequenceNumber::new(1));
  }

  /// The last sample that a Reliable DataReader has read of `writer`, which was
  /// `last_read` before it was rewound.
  pub(super) fn last_read(&self, writer: GUID, last_read: SequenceNumber) -> SequenceNumber {
    match self.rewound.get(&writer) {
      // Nobody else has read what is still missing.
      Some(rewound) if last_read >= self.reliable_before(writer) => *rewound,
      _ => last_read,
    }
  }
}
