#![warn(warnings)]

//! What is believed of a Writer's account of its samples. It tells of ranges in
//! HEARTBEAT and GAP, and a wrong one must neither cost much nor make the Reader
//! deaf.

use std::cmp::min;

use super::RtpsWriterProxy;
use crate::{
  messages::submessages::submessages::Heartbeat,
  rtps::constant::MAX_TRACKED_CHANGES_PER_WRITER,
  structure::sequence_number::{SequenceNumber, SequenceNumberRange},
};

/// Most samples that one ACKNACK can ask for.
const ACKNACK_SPAN: i64 = 256;

/// Samples that a Writer that was heard of lately can be ahead.
const MAX_LEAP: i64 = 1 << 20;

/// A HEARTBEAT that was seen already has a count among as many before the last
/// one. One that is farther back is of a Writer that has begun anew, or the last
/// one was not from the Writer.
const HEARTBEATS_REMEMBERED: i32 = 1000;

/// The last sample to ask for when those from `first` to `last` may be missing.
pub(super) fn last_to_ask_for(first: SequenceNumber, last: SequenceNumber) -> SequenceNumber {
  min(last, first + SequenceNumber::new(ACKNACK_SPAN - 1))
}

/// The samples of a gap from `from` to `before` that are remembered. The Writer
/// tells of the others again when they are asked for.
pub(super) fn to_remember(from: SequenceNumber, before: SequenceNumber) -> SequenceNumberRange {
  let most = SequenceNumber::new(MAX_TRACKED_CHANGES_PER_WRITER as i64 / 2);
  SequenceNumber::range_inclusive(from, min(before, from + most) - SequenceNumber::new(1))
}

impl RtpsWriterProxy {
  /// Whether the Writer can have got to `sn`, as far as is known of it.
  pub(crate) fn can_reach(&self, sn: SequenceNumber) -> bool {
    self.last_received_sequence_number <= SequenceNumber::zero()
      || sn <= self.last_received_sequence_number + SequenceNumber::new(MAX_LEAP)
  }

  /// Whether a sample `sn` shows that the Writer never said that it has nothing
  /// before `ack_base`: it is newer than all samples, or lies far behind.
  pub(super) fn is_contradicted_by(&self, sn: SequenceNumber) -> bool {
    let newest = self.last_received_sequence_number;
    sn < self.ack_base
      && sn > newest
      && (newest > SequenceNumber::zero() || self.ack_base - sn > SequenceNumber::new(MAX_LEAP))
  }

  /// Whether `heartbeat` is new and can be true, and remembers it then.
  pub(crate) fn accepts_heartbeat(&mut self, heartbeat: &Heartbeat) -> bool {
    let back = self.received_heartbeat_count.wrapping_sub(heartbeat.count);
    if (0..HEARTBEATS_REMEMBERED).contains(&back) || !self.can_reach(heartbeat.first_sn) {
      return false;
    }
    self.received_heartbeat_count = heartbeat.count;
    true
  }
}

#[cfg(test)]
mod tests {
  use super::*;
  use crate::structure::{
    guid::{EntityId, GUID},
    time::Timestamp,
  };

  fn sn(n: i64) -> SequenceNumber {
    SequenceNumber::new(n)
  }

  fn proxy(received: &[i64]) -> RtpsWriterProxy {
    let mut proxy = RtpsWriterProxy::new(GUID::GUID_UNKNOWN, vec![], vec![], EntityId::UNKNOWN);
    for n in received {
      proxy.received_changes_add(sn(*n), Timestamp::INVALID);
    }
    proxy
  }

  fn heartbeat(first: i64, count: i32) -> Heartbeat {
    Heartbeat {
      reader_id: EntityId::UNKNOWN,
      writer_id: EntityId::UNKNOWN,
      first_sn: sn(first),
      last_sn: sn(first),
      count,
    }
  }

  #[test]
  fn a_range_costs_no_more_than_can_be_asked_for() {
    let far = 1 << 50;
    let missing = proxy(&[1, 2]).missing_seqnums(sn(1), sn(far));
    assert_eq!(missing, (3..259).map(sn).collect::<Vec<_>>());
    let mut proxy = proxy(&[1, 2]);
    proxy.irrelevant_changes_range(sn(5), sn(far));
    assert!(proxy.tracked_changes_count() <= MAX_TRACKED_CHANGES_PER_WRITER);
    assert_eq!(proxy.all_ackable_before(), sn(3));
    assert!(!proxy.should_ignore_change(sn(3)) && proxy.should_ignore_change(sn(6)));
  }

  #[test]
  fn a_gap_that_is_no_gap_makes_nobody_deaf() {
    // A stream of which the next sample comes.
    let mut running = proxy(&[1, 2, 3]);
    running.irrelevant_changes_range(sn(1), sn(1 << 40));
    for n in 4..8 {
      assert!(!running.should_ignore_change(sn(n)), "{n}");
      running.received_changes_add(sn(n), Timestamp::INVALID);
      assert!(running.should_ignore_change(sn(n)), "{n} again");
      assert_eq!(running.all_ackable_before(), sn(n + 1));
    }
    // One that begins.
    let mut begun = proxy(&[]);
    begun.irrelevant_changes_range(sn(1), sn(1 << 40));
    assert!(!begun.should_ignore_change(sn(1)));
    // What a Writer has not any more is not waited for.
    let mut late = proxy(&[]);
    late.irrelevant_changes_up_to(sn(100));
    assert!(late.should_ignore_change(sn(99)) && !late.should_ignore_change(sn(100)));
  }

  #[test]
  fn heartbeats_are_heeded_once_and_whatever_a_false_one_said() {
    let mut proxy = proxy(&[1, 2, 3]);
    let mut check = |first, count, expect| {
      assert_eq!(proxy.accepts_heartbeat(&heartbeat(first, count)), expect, "{first} {count}");
    };
    check(1, 1, true);
    check(1, 1, false);
    check(1, 5, true);
    check(1, 4, false);
    check(1 << 40, 6, false);
    check(1, 6, true);
    check(1, i32::MAX, true);
    check(1, 7, true);
    check(1, 7, false);
    check(1, i32::MIN, true);
    check(1, 8, true);
  }
}
