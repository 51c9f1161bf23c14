#![warn(warnings)]

//! Samples that never came and that nobody waits for any more, because HEARTBEAT
//! or GAP said that they are gone. If the Writer sends them all the same, that
//! was not from it.

use std::ops::Range;

use crate::structure::sequence_number::SequenceNumber;

/// Ranges that are told apart. The two with fewest samples between them become
/// one, so that none is lost.
const MAX_RANGES: usize = 16;

/// A Writer that has sent so many samples since has left a range behind.
const SETTLED_AFTER: u64 = 256;

/// No sample is overtaken by as many others on its way.
const MAX_DELAY: i64 = 256;

/// Two late samples that are so close belong together.
const CLOSE: i64 = 8;

#[derive(Debug, Default)]
pub(super) struct WrittenOff {
  /// In the order of their numbers, each with the count of `n_received` when it
  /// was written off.
  ranges: Vec<(Range<SequenceNumber>, u64)>,
  n_received: u64,
  /// The last one of these samples that came and was ignored.
  last_ignored: Option<SequenceNumber>,
}

impl WrittenOff {
  /// Notes that the samples from `from` to `before` are not waited for.
  pub(super) fn add(&mut self, from: SequenceNumber, before: SequenceNumber) {
    if from >= before {
      return;
    }
    let at = self.ranges.partition_point(|(range, _)| range.start <= from);
    self.ranges.insert(at, (from..before, self.n_received));
    if self.ranges.len() > MAX_RANGES {
      self.merge_closest();
    }
  }

  fn merge_closest(&mut self) {
    let between = |i: &usize| i64::from(self.ranges[i + 1].0.start) - i64::from(self.ranges[*i].0.end);
    if let Some(i) = (0..self.ranges.len() - 1).min_by_key(between) {
      let (range, since) = self.ranges.remove(i + 1);
      let (merged, merged_since) = &mut self.ranges[i];
      merged.end = range.end.max(merged.end);
      *merged_since = since.max(*merged_since);
    }
  }

  /// Notes that the Writer has sent a sample that was awaited.
  pub(super) fn count_received(&mut self) {
    self.n_received += 1;
    let n = self.n_received;
    self.ranges.retain(|(_, since)| n - since < SETTLED_AFTER);
  }

  /// Forgets what lies behind `sn`, from where the Writer goes on. That may not be
  /// from it either, so what lies before it is kept.
  pub(super) fn go_back_to(&mut self, sn: SequenceNumber) {
    self.ranges.retain(|(range, _)| range.start < sn);
    for (range, _) in &mut self.ranges {
      range.end = range.end.min(sn);
    }
    self.last_ignored = None;
  }

  /// Notes that `sn` came and was ignored.
  pub(super) fn note_ignored(&mut self, sn: SequenceNumber) {
    if self.contains(sn) {
      self.last_ignored = Some(sn);
    }
  }

  /// Whether `sn` cannot be late, when all before `base` has come or is written
  /// off: it is too old for that, or the second one in a row.
  pub(super) fn was_never_gone(&self, sn: SequenceNumber, base: SequenceNumber) -> bool {
    let goes_on = |last: SequenceNumber| last < sn && sn <= last + SequenceNumber::new(CLOSE);
    self.contains(sn)
      && (base - sn > SequenceNumber::new(MAX_DELAY) || self.last_ignored.is_some_and(goes_on))
  }

  fn contains(&self, sn: SequenceNumber) -> bool {
    self.ranges.iter().any(|(range, _)| range.contains(&sn))
  }
}

#[cfg(test)]
mod tests {
  use super::*;

  fn sn(n: i64) -> SequenceNumber {
    SequenceNumber::new(n)
  }

  #[test]
  fn a_late_sample_stays_ignored_and_two_in_a_row_or_a_very_old_one_do_not() {
    let mut written_off = WrittenOff::default();
    written_off.add(sn(101), sn(200));
    assert!(!written_off.was_never_gone(sn(150), sn(200)));
    written_off.note_ignored(sn(150));
    for (n, expect) in [(150, false), (151, true), (158, true), (159, false), (149, false), (200, false)] {
      assert_eq!(written_off.was_never_gone(sn(n), sn(200)), expect, "{n}");
    }
    written_off.add(sn(200), sn(5000));
    assert!(written_off.was_never_gone(sn(102), sn(5000)));
    // What was received before is repeated now and then.
    written_off.note_ignored(sn(99));
    assert!(!written_off.was_never_gone(sn(100), sn(5000)));
  }

  #[test]
  fn who_goes_back_to_a_wrong_place_can_go_back_farther() {
    let mut written_off = WrittenOff::default();
    written_off.add(sn(101), sn(5000));
    written_off.add(sn(5001), sn(10_000));
    for back in [7000, 5000, 4000] {
      written_off.go_back_to(sn(back));
      assert!(written_off.was_never_gone(sn(101), sn(back)), "{back}");
      assert!(!written_off.contains(sn(back)), "{back}");
    }
    written_off.go_back_to(sn(101));
    assert!(written_off.ranges.is_empty());
  }

  #[test]
  fn many_leaps_hide_none() {
    let mut written_off = WrittenOff::default();
    for n in 0..1000 {
      written_off.add(sn(101 + 5000 * n), sn(5000 * (n + 1)));
      written_off.count_received();
      assert!(n > 200 || written_off.was_never_gone(sn(101), sn(5000 * (n + 1))), "{n}");
      assert!(written_off.ranges.len() <= MAX_RANGES);
    }
  }

  #[test]
  fn a_writer_that_goes_on_for_long_has_left_them_behind() {
    let mut written_off = WrittenOff::default();
    written_off.add(sn(1), sn(1000));
    for n in 0..SETTLED_AFTER {
      assert!(written_off.was_never_gone(sn(1), sn(1000)), "{n}");
      written_off.count_received();
    }
    assert!(!written_off.was_never_gone(sn(1), sn(1000)));
  }
}
