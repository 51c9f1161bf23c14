#![warn(warnings)]
//! What a writer sends next when newer samples replace those that wait.

use std::collections::BTreeSet;

use super::{SampleCursor, Writer};
use crate::{
  rtps::{outbound::TrafficClass, pacing::Errand, writer::DeliveryMode, MessageBuilder},
  structure::{
    entity::RTPSEntity,
    guid::{EntityId, GuidPrefix, GUID},
    sequence_number::SequenceNumber,
  },
};

impl Writer {
  pub(super) fn is_built_in(&self) -> bool {
    self.my_guid.entity_id.kind().is_built_in()
  }

  pub(super) fn push_errand(&self) -> Errand {
    Errand::Push(self.entity_id())
  }

  /// First and last sequence number for a HEARTBEAT: what is retained and was
  /// sent whole. A sample that is still on its way is not announced, or readers
  /// would ask for what has not left yet.
  pub(super) fn announced(&self) -> (SequenceNumber, SequenceNumber) {
    let first = self.send_buffer.first_change_sequence_number();
    (first.min(self.last_sent.plus_1()), self.last_sent)
  }

  /// Stops in the middle of the sample after `last_sent`, or before it.
  pub(super) fn pause_at(&mut self, cursor: SampleCursor) {
    self.sample_cursor = cursor;
    if cursor == SampleCursor::Fresh {
      self.send_buffer.put_back();
    }
  }

  /// Passes over samples that newer ones have replaced before they were begun,
  /// and tells reliable readers that they will not come.
  pub(super) fn skip_replaced(&mut self) {
    self.tally.add_replaced(self.send_buffer.take_replaced());
    if !self.send_buffer.newest_wins() || self.sample_cursor != SampleCursor::Fresh {
      return;
    }
    let first_skipped = self.last_sent.plus_1();
    let Some(next) = self.send_buffer.first_from(first_skipped) else {
      return;
    };
    if next == first_skipped {
      return;
    }
    let last_skipped = next - SequenceNumber::new(1);
    self.last_sent = last_skipped;
    self.send_buffer.set_sent_frontier(last_skipped);
    for reader in self.readers.values_mut() {
      for sn in SequenceNumber::range_inclusive(first_skipped, last_skipped) {
        reader.mark_change_sent(sn);
      }
    }
    if self.is_reliable() {
      let skipped = SequenceNumber::range_inclusive(first_skipped, last_skipped);
      let gap = MessageBuilder::new()
        .gap_msg(
          &BTreeSet::from_iter(skipped),
          self.entity_id(),
          self.endianness,
          GUID::new(GuidPrefix::UNKNOWN, EntityId::UNKNOWN),
        )
        .add_header_and_build(self.my_guid.prefix);
      self.send_message_to_readers(
        DeliveryMode::Multicast,
        gap,
        &mut self.readers.values(),
        TrafficClass::Control,
      );
    }
  }
}
