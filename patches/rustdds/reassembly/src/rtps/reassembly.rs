#![warn(warnings)]

//! Samples of one Reader that come in fragments.
//!
//! What is held is bounded by what was received, by the largest sample that
//! the Reader takes, and by a number of samples per Writer. It never depends on
//! what a fragment claims.

mod partial;

use std::collections::{btree_map::Entry, BTreeMap};

use bytes::Bytes;
use enumflags2::BitFlags;
use log::{debug, info};

use self::partial::PartialSample;
use crate::{
  dds::ddsdata::DDSData,
  messages::submessages::{
    elements::serialized_payload::SerializedPayload,
    submessages::{DATAFRAG_Flags, DataFrag},
  },
  structure::{
    cache_change::ChangeKind,
    guid::GUID,
    sequence_number::{FragmentNumber, SequenceNumber},
    time::Timestamp,
  },
};

/// Unfinished samples of one Writer. Fragments of a sample come one after the
/// other, so that few samples are unfinished at a time.
const MAX_SAMPLES_PER_WRITER: usize = 128;

/// What may be held beyond one sample of the largest size.
const ROOM_BESIDE_LARGEST: usize = 1024 * 1024;

type Samples = BTreeMap<SequenceNumber, PartialSample>;

pub(crate) struct Reassembly {
  /// Bytes of the largest sample that is taken.
  max_sample_size: usize,
  /// Whether the Reader is Reliable, which decides what goes first when there
  /// is too much.
  reliable: bool,
  writers: BTreeMap<GUID, Samples>,
  /// Bytes in all samples.
  held: usize,
}

/// What came of a fragment.
pub(crate) enum Outcome {
  /// It was the last one: this is the sample.
  Complete(DDSData),
  /// Others are missing, or this one was useless.
  Incomplete,
  /// Its sample is larger than the Reader takes.
  TooLarge,
}

impl Reassembly {
  pub(crate) fn new(max_sample_size: usize, reliable: bool) -> Self {
    Self {
      max_sample_size,
      reliable,
      writers: BTreeMap::new(),
      held: 0,
    }
  }

  /// Takes the fragments of `datafrag`. The caller has made sure that the Reader
  /// is matched with `writer` and lacks the sample.
  pub(crate) fn insert(
    &mut self,
    writer: GUID,
    datafrag: &DataFrag,
    flags: BitFlags<DATAFRAG_Flags>,
  ) -> Outcome {
    let size = datafrag.data_size as usize;
    let fragment_size = usize::from(datafrag.fragment_size);
    let first = u32::from(datafrag.fragment_starting_num) as usize;
    if size > self.max_sample_size {
      debug!("{writer:?} sends a sample of {size} bytes, which is too large");
      return Outcome::TooLarge;
    }
    if size == 0 || fragment_size == 0 || first == 0 {
      return Outcome::Incomplete;
    }

    let samples = self.writers.entry(writer).or_default();
    let entry = samples.entry(datafrag.writer_sn);
    let mut entry = match entry {
      Entry::Occupied(entry) => entry,
      Entry::Vacant(entry) => entry.insert_entry(PartialSample::new(size, fragment_size)),
    };
    let sample = entry.get_mut();
    let before = sample.held();
    if !sample.has_sizes(size, fragment_size) {
      // A Writer does not change its mind, so one of the two is not from it.
      // Whoever sends the rest decides which.
      *sample = PartialSample::new(size, fragment_size);
    }
    let count = usize::from(datafrag.fragments_in_submessage);
    if let Err(refusal) = sample.insert(first - 1, count, &datafrag.serialized_payload) {
      debug!("DATAFRAG from {writer:?} is refused: {refusal:?}");
    }
    if sample.is_complete() {
      let sample = entry.remove();
      self.held -= before;
      return dds_data(&sample.into_bytes(), flags).map_or(Outcome::Incomplete, Outcome::Complete);
    }
    self.held = self.held + sample.held() - before;
    self.evict(writer);
    Outcome::Incomplete
  }

  /// Keeps `newest`'s samples and all samples within their bounds.
  fn evict(&mut self, newest: GUID) {
    while self
      .writers
      .get(&newest)
      .is_some_and(|samples| samples.len() > MAX_SAMPLES_PER_WRITER)
    {
      self.drop_one(newest);
    }
    while self.held > self.max_sample_size.saturating_add(ROOM_BESIDE_LARGEST) {
      // Whoever holds most gives first, so that nobody is starved by another.
      let holds = |samples: &Samples| samples.values().map(PartialSample::held).sum::<usize>();
      let Some(largest) = self
        .writers
        .iter()
        .max_by_key(|(_, samples)| holds(samples))
        .map(|(writer, _)| *writer)
      else {
        break;
      };
      if !self.drop_one(largest) {
        break;
      }
    }
  }

  /// Drops the sample of `writer` that is worth least. A Reliable Reader waits
  /// for the oldest one, and the others are sent again when it comes to them.
  /// For any other the oldest one is lost already.
  fn drop_one(&mut self, writer: GUID) -> bool {
    let Some(samples) = self.writers.get_mut(&writer) else {
      return false;
    };
    let dropped = if self.reliable {
      samples.pop_last()
    } else {
      samples.pop_first()
    };
    if samples.is_empty() {
      self.writers.remove(&writer);
    }
    if let Some((_, sample)) = &dropped {
      self.held -= sample.held();
    }
    dropped.is_some()
  }

  /// Forgets a Writer that is not matched any more.
  pub(crate) fn forget(&mut self, writer: GUID) {
    if let Some(samples) = self.writers.remove(&writer) {
      self.held -= samples.values().map(PartialSample::held).sum::<usize>();
    }
  }

  /// Forgets samples that have not grown since `expire_before`.
  pub(crate) fn garbage_collect_before(&mut self, expire_before: Timestamp) {
    for samples in self.writers.values_mut() {
      samples.retain(|sn, sample| {
        let retain = sample.modified() >= expire_before;
        if !retain {
          info!("Sample {sn:?} stays incomplete and is dropped");
          self.held -= sample.held();
        }
        retain
      });
    }
    self.writers.retain(|_, samples| !samples.is_empty());
  }

  pub(crate) fn is_partially_received(&self, writer: GUID, sn: SequenceNumber) -> bool {
    self.sample(writer, sn).is_some()
  }

  /// The missing fragments of a partially received sample, in order.
  pub(crate) fn missing_frags_for(
    &self,
    writer: GUID,
    sn: SequenceNumber,
  ) -> impl Iterator<Item = FragmentNumber> + '_ {
    self
      .sample(writer, sn)
      .into_iter()
      .flat_map(PartialSample::missing)
  }

  fn sample(&self, writer: GUID, sn: SequenceNumber) -> Option<&PartialSample> {
    self.writers.get(&writer)?.get(&sn)
  }
}

fn dds_data(bytes: &Bytes, flags: BitFlags<DATAFRAG_Flags>) -> Option<DDSData> {
  let payload = SerializedPayload::from_bytes(bytes)
    .inspect_err(|e| debug!("a sample in fragments is no SerializedPayload: {e:?}"))
    .ok()?;
  Some(if flags.contains(DATAFRAG_Flags::Key) {
    DDSData::new_disposed_by_key(ChangeKind::NotAliveDisposed, payload)
  } else {
    DDSData::new(payload)
  })
}

#[cfg(test)]
mod tests {
  use super::*;
  use crate::structure::guid::{EntityId, GuidPrefix};

  const FRAGMENT: u16 = 1000;

  fn writer(n: u8) -> GUID {
    GUID::new(GuidPrefix::new(&[n; 12]), EntityId::UNKNOWN)
  }

  fn fragment(sn: i64, start: u32, size: u32) -> DataFrag {
    let rest = (size as usize).saturating_sub((start as usize - 1) * usize::from(FRAGMENT));
    DataFrag {
      writer_sn: SequenceNumber::new(sn),
      fragment_starting_num: FragmentNumber::new(start),
      fragments_in_submessage: 1,
      fragment_size: FRAGMENT,
      data_size: size,
      serialized_payload: Bytes::from(vec![start as u8; rest.min(usize::from(FRAGMENT))]),
      ..Default::default()
    }
  }

  fn insert(reassembly: &mut Reassembly, writer: GUID, datafrag: &DataFrag) -> &'static str {
    match reassembly.insert(writer, datafrag, BitFlags::empty()) {
      Outcome::Complete(_) => "complete",
      Outcome::Incomplete => "incomplete",
      Outcome::TooLarge => "too large",
    }
  }

  #[test]
  fn the_last_fragment_completes_the_sample_and_frees_its_memory() {
    let mut reassembly = Reassembly::new(10_000, false);
    for (start, expect) in [(1, "incomplete"), (3, "incomplete"), (2, "complete")] {
      assert_eq!(insert(&mut reassembly, writer(1), &fragment(1, start, 2500)), expect);
    }
    assert_eq!(reassembly.held, 0);
  }

  #[test]
  fn a_sample_that_is_too_large_takes_nothing() {
    let mut reassembly = Reassembly::new(10_000, false);
    assert_eq!(insert(&mut reassembly, writer(1), &fragment(1, 1, 10_001)), "too large");
    assert_eq!(insert(&mut reassembly, writer(1), &fragment(1, 1, u32::MAX)), "too large");
    assert_eq!((reassembly.held, reassembly.writers.len()), (0, 0));
  }

  #[test]
  fn a_fragment_of_other_sizes_begins_the_sample_anew() {
    let mut reassembly = Reassembly::new(10_000, false);
    insert(&mut reassembly, writer(1), &fragment(1, 2, 9000));
    assert_eq!(insert(&mut reassembly, writer(1), &fragment(1, 1, 1500)), "incomplete");
    assert_eq!(insert(&mut reassembly, writer(1), &fragment(1, 2, 1500)), "complete");
    assert_eq!(reassembly.held, 0);
  }

  #[test]
  fn samples_are_bounded_in_number_and_bytes() {
    for reliable in [false, true] {
      let mut reassembly = Reassembly::new(10_000_000, reliable);
      for sn in 1..=5000 {
        insert(&mut reassembly, writer((sn % 100) as u8), &fragment(sn, 1, 9_000_000));
      }
      assert!(reassembly.held <= 10_000_000 + ROOM_BESIDE_LARGEST);
      let samples = reassembly.writers.values().flat_map(|s| s.values());
      let counted: usize = samples.map(PartialSample::held).sum();
      assert_eq!(reassembly.held, counted);
      let kept = |sn| reassembly.is_partially_received(writer((sn % 100) as u8), SequenceNumber::new(sn));
      // Of those that went, the others are worth more.
      assert_eq!((kept(1), kept(5000)), (reliable, !reliable));
    }
  }

  #[test]
  fn a_writer_that_floods_takes_nothing_from_another() {
    let mut reassembly = Reassembly::new(2_000_000, false);
    insert(&mut reassembly, writer(1), &fragment(1, 1, 1_900_000));
    for sn in 1..=500 {
      insert(&mut reassembly, writer(2), &fragment(sn, 1, 1_900_000));
    }
    assert!(reassembly.is_partially_received(writer(1), SequenceNumber::new(1)));
    reassembly.forget(writer(2));
    reassembly.garbage_collect_before(Timestamp::now() + crate::Duration::from_secs(1));
    assert_eq!((reassembly.held, reassembly.writers.len()), (0, 0));
  }
}
