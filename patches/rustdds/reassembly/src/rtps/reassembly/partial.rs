#![warn(warnings)]

//! One sample of which some fragments are here. It holds what has been
//! received and nothing for what has only been announced.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::structure::{sequence_number::FragmentNumber, time::Timestamp};

/// A submessage of the protocol can name fragments as far apart as this.
const NACK_FRAG_SPAN: usize = 256;

/// First reservation for a sample, in bytes. Later ones are `GROWTH` times the
/// previous one, so that few bytes are moved.
const FIRST_RESERVATION: usize = 64 * 1024;
const GROWTH: usize = 4;

pub(super) struct PartialSample {
  /// Bytes of the whole sample.
  size: usize,
  /// Bytes of each fragment but the last.
  fragment_size: usize,
  /// Everything up to the first gap.
  head: Vec<u8>,
  /// Runs of fragments after the first gap, by the offset of their first byte.
  islands: BTreeMap<usize, Vec<u8>>,
  /// Bytes of all islands.
  n_island_bytes: usize,
  modified: Timestamp,
}

/// Why a run of fragments was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
  /// It ends after the sample, or has no fragment.
  OutOfBounds,
  /// It has fewer bytes than its fragments.
  TooShort,
}

impl PartialSample {
  pub(super) fn new(size: usize, fragment_size: usize) -> Self {
    Self {
      size,
      fragment_size,
      head: Vec::new(),
      islands: BTreeMap::new(),
      n_island_bytes: 0,
      modified: Timestamp::now(),
    }
  }

  /// Whether a fragment that claims these sizes can be a part of this sample.
  pub(super) fn has_sizes(&self, size: usize, fragment_size: usize) -> bool {
    self.size == size && self.fragment_size == fragment_size
  }

  /// Takes `count` fragments from number `first` on, counted from 0. What is
  /// here already, wholly or in part, changes nothing.
  pub(super) fn insert(&mut self, first: usize, count: usize, payload: &[u8]) -> Result<(), Refusal> {
    let start = first.saturating_mul(self.fragment_size);
    let end = first
      .saturating_add(count)
      .saturating_mul(self.fragment_size);
    // Only the last fragment may be smaller than the others.
    if start >= self.size || end >= self.size.saturating_add(self.fragment_size) || start >= end {
      return Err(Refusal::OutOfBounds);
    }
    let end = end.min(self.size);
    let bytes = payload.get(..end - start).ok_or(Refusal::TooShort)?;
    self.modified = Timestamp::now();

    if start > self.head.len() {
      let island = self.islands.entry(start).or_default();
      if island.len() < bytes.len() {
        self.n_island_bytes += bytes.len() - island.len();
        *island = bytes.to_vec();
      }
      return Ok(());
    }
    self.append(start, bytes);
    while let Some(island) = self.islands.first_entry() {
      if *island.key() > self.head.len() {
        break;
      }
      let (start, bytes) = island.remove_entry();
      self.n_island_bytes -= bytes.len();
      self.append(start, &bytes);
    }
    Ok(())
  }

  /// Adds what `bytes`, which begin at `start` or before the end of the head,
  /// have more than the head.
  fn append(&mut self, start: usize, bytes: &[u8]) {
    let Some(new) = bytes.get(self.head.len() - start..) else {
      return;
    };
    let needed = self.head.len() + new.len();
    if needed > self.head.capacity() {
      let ahead = (self.head.capacity() * GROWTH).max(FIRST_RESERVATION);
      let capacity = ahead.min(self.size).max(needed);
      self.head.reserve_exact(capacity - self.head.len());
    }
    self.head.extend_from_slice(new);
  }

  pub(super) fn is_complete(&self) -> bool {
    self.head.len() == self.size
  }

  pub(super) fn into_bytes(self) -> Bytes {
    Bytes::from(self.head)
  }

  /// Bytes of memory.
  pub(super) fn held(&self) -> usize {
    self.head.capacity() + self.n_island_bytes
  }

  pub(super) fn modified(&self) -> Timestamp {
    self.modified
  }

  /// The missing fragments, in order, as far as one NACK_FRAG can name them.
  pub(super) fn missing(&self) -> impl Iterator<Item = FragmentNumber> + '_ {
    let first = self.head.len() / self.fragment_size;
    let last = self
      .size
      .div_ceil(self.fragment_size)
      .min(first.saturating_add(NACK_FRAG_SPAN));
    (first..last)
      .filter(|fragment| !self.is_on_island(fragment * self.fragment_size))
      .filter_map(|fragment| u32::try_from(fragment + 1).ok())
      .map(FragmentNumber::new)
  }

  fn is_on_island(&self, offset: usize) -> bool {
    // Islands may overlap, and an earlier one may reach farther than the last.
    let islands = self.islands.range(..=offset).rev();
    islands
      .take(NACK_FRAG_SPAN)
      .any(|(start, bytes)| offset < start + bytes.len())
  }
}

#[cfg(test)]
mod tests {
  use super::*;

  const FRAGMENT: usize = 10;

  fn sample() -> Vec<u8> {
    (0..95).collect()
  }

  fn run(first: usize, count: usize) -> (usize, usize, Vec<u8>) {
    let all = sample();
    let end = ((first + count) * FRAGMENT).min(all.len());
    (first, count, all[first * FRAGMENT..end].to_vec())
  }

  #[test]
  fn fragments_make_the_sample_in_every_order() {
    let orders: [&[(usize, usize)]; 6] = [
      &[(0, 10)],
      &[(0, 4), (4, 4), (8, 2)],
      &[(8, 2), (4, 4), (0, 4)],
      &[(5, 5), (0, 3), (2, 4)],
      &[(9, 1), (3, 5), (3, 5), (1, 4), (0, 2), (0, 2), (7, 3)],
      &[(1, 9), (1, 2), (0, 1)],
    ];
    for order in orders {
      let mut partial = PartialSample::new(95, FRAGMENT);
      for (n, &(first, count)) in order.iter().enumerate() {
        assert!(!partial.is_complete(), "{order:?} before {n}");
        let (first, count, bytes) = run(first, count);
        partial.insert(first, count, &bytes).unwrap();
      }
      assert!(partial.is_complete(), "{order:?}");
      assert_eq!(partial.into_bytes(), sample(), "{order:?}");
    }
  }

  #[test]
  fn runs_that_do_not_fit_are_refused() {
    let mut partial = PartialSample::new(95, FRAGMENT);
    let mut check = |first, count, n_bytes, expect| {
      assert_eq!(partial.insert(first, count, &vec![0; n_bytes]), expect, "{first} {count} {n_bytes}");
    };
    check(0, 0, 10, Err(Refusal::OutOfBounds));
    check(10, 1, 10, Err(Refusal::OutOfBounds));
    check(9, 2, 20, Err(Refusal::OutOfBounds));
    check(usize::MAX, usize::MAX, 10, Err(Refusal::OutOfBounds));
    check(0, 1, 9, Err(Refusal::TooShort));
    check(9, 1, 4, Err(Refusal::TooShort));
    check(9, 1, 5, Ok(()));
    check(9, 1, 8, Ok(()));
  }

  #[test]
  fn memory_follows_what_was_received() {
    let mut partial = PartialSample::new(u32::MAX as usize, 1);
    partial.insert(u32::MAX as usize - 1, 1, &[1]).unwrap();
    assert!(partial.held() <= 1, "{}", partial.held());
    partial.insert(0, 1, &[1]).unwrap();
    assert!(partial.held() <= FIRST_RESERVATION + 1, "{}", partial.held());
    assert_eq!(partial.missing().count(), NACK_FRAG_SPAN);
  }

  #[test]
  fn what_is_missing_is_named() {
    let missing = |partial: &PartialSample| partial.missing().map(u32::from).collect::<Vec<_>>();
    let mut partial = PartialSample::new(95, FRAGMENT);
    assert_eq!(missing(&partial), (1..=10).collect::<Vec<_>>());
    for (first, count) in [(0, 2), (3, 4), (4, 1), (9, 1)] {
      let (first, count, bytes) = run(first, count);
      partial.insert(first, count, &bytes).unwrap();
    }
    assert_eq!(missing(&partial), [3, 8, 9]);
  }
}
