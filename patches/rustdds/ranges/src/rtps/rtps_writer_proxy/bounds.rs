#![warn(warnings)]

//! What is believed of a Writer's account of its samples. It tells of ranges in
//! HEARTBEAT and GAP, and a wrong one must neither cost much nor make the Reader
//! deaf.

use std::cmp::min;

use super::RtpsWriterProxy;
use crate::{
  dds::qos::{policy::History, QosPolicies},
  messages::submessages::submessages::Heartbeat,
  rtps::constant::MAX_TRACKED_CHANGES_PER_WRITER,
  structure::sequence_number::{SequenceNumber, SequenceNumberRange},
};

/// Most samples that one ACKNACK can ask for.
const ACKNACK_SPAN: i64 = 256;

const MIN_REACH: i64 = 16;

/// Samples that a Writer that was heard of lately can be ahead.
const MAX_LEAP: i64 = 1 << 20;

/// A HEARTBEAT that was seen already has a count among as many before the last
/// one. One that is farther back is of a Writer that has begun anew, or the last
/// one was not from the Writer. One that is late does no harm.
const HEARTBEATS_REMEMBERED: i32 = 8;

/// The samples that a Reliable Reader takes beyond the first one that is
/// missing. It cannot hand them over, and the Writer repeats those behind.
/// Readers of the last samples take few, so that one that is not from the
/// Writer is passed, or given up, soon.
pub(crate) fn reach(qos: &QosPolicies, is_built_in: bool) -> i64 {
  match qos.history() {
    Some(History::KeepLast { depth }) if !is_built_in => {
      (4 * i64::from(depth)).clamp(MIN_REACH, ACKNACK_SPAN)
    }
    _ => ACKNACK_SPAN,
  }
}

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

  /// Whether a Reliable Reader that reaches as far as `reach` says leaves `sn`
  /// for later.
  pub(crate) fn is_out_of_reach(&self, sn: SequenceNumber, reach: i64) -> bool {
    sn > self.ack_base + SequenceNumber::new(reach)
  }

  /// Whether a sample `sn` shows that the Writer never said that it has nothing
  /// before `ack_base`: it is newer than all samples, or goes on where others
  /// were written off.
  pub(crate) fn is_contradicted_by(&self, sn: SequenceNumber) -> bool {
    let newest = self.last_received_sequence_number;
    sn < self.ack_base
      && ((sn > newest && newest > SequenceNumber::zero())
        || self.written_off.was_never_gone(sn, self.ack_base))
  }

  /// Forgets all that was said of samples from `sn` on.
  pub(super) fn go_back_to(&mut self, sn: SequenceNumber) {
    self.changes.clear();
    self.written_off.go_back_to(sn);
    self.ack_base = sn;
    self.last_received_sequence_number = sn - SequenceNumber::new(1);
  }

  /// Notes that `sn` came and is ignored.
  pub(crate) fn note_ignored(&mut self, sn: SequenceNumber) {
    self.written_off.note_ignored(sn);
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
  fn a_sample_that_is_no_sample_makes_nobody_deaf() {
    // Whatever else is said of what lies before it.
    let said: [fn(&mut RtpsWriterProxy); 4] = [
      |proxy| proxy.irrelevant_changes_up_to(sn(5000)),
      |proxy| proxy.irrelevant_changes_range(sn(1), sn(5000)),
      |proxy| proxy.irrelevant_changes_range(sn(150), sn(5000)),
      |_| (),
    ];
    for (before, after) in said.iter().flat_map(|b| said.iter().map(move |a| (b, a))) {
      let mut proxy = proxy(&[98, 99, 100]);
      proxy.irrelevant_changes_up_to(sn(98));
      before(&mut proxy);
      proxy.received_changes_add(sn(5000), Timestamp::INVALID);
      after(&mut proxy);
      for n in 101..200 {
        assert!(!proxy.should_ignore_change(sn(n)), "{n}");
        proxy.received_changes_add(sn(n), Timestamp::INVALID);
        assert!(proxy.should_ignore_change(sn(n)), "{n} again");
      }
    }
  }

  #[test]
  fn samples_out_of_reach_wait_for_those_before_them() {
    let keep = |history| QosPolicies::builder().history(history).build();
    let few = reach(&keep(History::KeepLast { depth: 2 }), false);
    assert_eq!(few, MIN_REACH);
    assert_eq!(reach(&keep(History::KeepLast { depth: 2 }), true), ACKNACK_SPAN);
    assert_eq!(reach(&keep(History::KeepAll), false), ACKNACK_SPAN);
    let proxy = proxy(&[1, 2, 3]);
    assert!(!proxy.is_out_of_reach(sn(4 + few), few) && proxy.is_out_of_reach(sn(5 + few), few));
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
