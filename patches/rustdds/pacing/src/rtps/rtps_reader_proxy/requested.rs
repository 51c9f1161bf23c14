#![warn(warnings)]
//! The fragments that a reader has asked for again.

use bit_vec::BitVec;

use super::RtpsReaderProxy;
use crate::structure::sequence_number::SequenceNumber;

impl RtpsReaderProxy {
  /// Notes fragments of a sample of `num_frags`; numbers that it does not have
  /// are passed over.
  pub(crate) fn request_frags(
    &mut self,
    sn: SequenceNumber,
    num_frags: u32,
    frags: impl Iterator<Item = u32>,
  ) {
    let requested = self
      .frags_requested
      .entry(sn)
      .or_insert_with(|| BitVec::from_elem(num_frags as usize, false));
    for frag in frags.filter(|frag| (1..=num_frags).contains(frag)) {
      if let Some(mut bit) = requested.get_mut(frag as usize - 1) {
        *bit = true;
      }
    }
    if requested.none() {
      self.frags_requested.remove(&sn);
    }
  }

  /// Notes all fragments of a sample.
  pub(crate) fn request_all_frags(&mut self, sn: SequenceNumber, num_frags: u32) {
    self
      .frags_requested
      .insert(sn, BitVec::from_elem(num_frags as usize, true));
  }

  /// Notes a whole sample.
  pub(crate) fn request_change(&mut self, sn: SequenceNumber) {
    self.unsent_changes.insert(sn);
  }

  /// The first fragments that follow each other: sample, first of them (from
  /// 1), and how many.
  pub(crate) fn first_requested_run(&self) -> Option<(SequenceNumber, u32, u32)> {
    let (sn, requested) = self.frags_requested.iter().next()?;
    let start = requested.iter().position(|bit| bit)?;
    let run = requested.iter().skip(start).take_while(|bit| *bit).count();
    Some((*sn, start as u32 + 1, run as u32))
  }

  /// Takes off the `n` fragments from `start` on.
  pub(crate) fn frags_sent(&mut self, sn: SequenceNumber, start: u32, n: u32) {
    let Some(requested) = self.frags_requested.get_mut(&sn) else {
      return;
    };
    for frag in start..start + n {
      if let Some(mut bit) = requested.get_mut(frag as usize - 1) {
        *bit = false;
      }
    }
    if requested.none() {
      self.frags_requested.remove(&sn);
    }
  }

  /// Takes off a sample that is gone.
  pub(crate) fn forget_frags(&mut self, sn: SequenceNumber) {
    self.frags_requested.remove(&sn);
  }
}
