#![warn(warnings)]

//! How much is kept of what others say about themselves. Anybody can send an
//! announcement, and every one that is believed costs memory and a message to it
//! whenever something is announced here.

use std::{
  cmp::min,
  collections::{BTreeMap, BTreeSet, VecDeque},
  time::Instant,
};

use log::info;

use super::{DiscoveredVia, DiscoveryDB};
use crate::{
  dds::statusevents::LostReason,
  discovery::{
    content_filter_property::ContentFilterProperty,
    sedp_messages::{DiscoveredReaderData, DiscoveredWriterData},
    spdp_participant_data::SpdpDiscoveredParticipantData,
  },
  structure::{
    duration::Duration,
    guid::{GuidPrefix, GUID},
  },
};

/// Participants at the same time. A host has ports for 120 in a domain.
const MAX_PARTICIPANTS: usize = 512;
/// Participants that become known in a second, and at once after a quiet time.
/// They repeat their announcements, so that a crowd is let in one after the
/// other.
const NEW_PARTICIPANTS_PER_SEC: f64 = 64.0;
const NEW_PARTICIPANTS_AT_ONCE: f64 = 128.0;
/// Silence after which a participant with endpoints makes room for another.
/// Implementations announce themselves every few seconds.
const SILENT_SECS: u64 = 30;
/// Silence after which a participant is lost, whatever lease it asks for.
const MAX_LEASE: Duration = Duration::from_secs(300);

/// Readers, and as many Writers, of all participants together.
const MAX_ENDPOINTS: usize = 4096;
/// The same of one participant.
const MAX_ENDPOINTS_OF_PARTICIPANT: usize = 2048;
/// The same of participants that nobody knows, whose lease does not end.
const MAX_STRAY_ENDPOINTS: usize = 256;
/// Bytes of a name, and of the other texts that an endpoint comes with. Names in
/// DDS have 255 at most.
const MAX_NAME: usize = 1024;
const MAX_TEXT: usize = 8 * 1024;

/// Participants that were lost, whose endpoints are kept in case they come back.
const MAX_LOST: usize = 64;

/// Topics, and announcements of a topic that no endpoint stands behind.
const MAX_TOPICS: usize = 8192;
const MAX_BARE_ANNOUNCEMENTS: usize = 64;
/// Announcements of topics after which those of endpoints that have gone are
/// looked for.
const CLEANUP_AFTER: usize = 16 * 1024;

pub(super) struct Bounds {
  /// How many new participants are let in now, as of an instant.
  admissions: (f64, Instant),
  /// Who was lost, in this order.
  lost: VecDeque<GuidPrefix>,
  n_announcements: usize,
}

impl Bounds {
  pub(super) fn new() -> Self {
    Self {
      admissions: (NEW_PARTICIPANTS_AT_ONCE, Instant::now()),
      lost: VecDeque::new(),
      n_announcements: 0,
    }
  }

  fn admit(&mut self, now: Instant) -> bool {
    let (left, since) = self.admissions;
    let gained = now.saturating_duration_since(since).as_secs_f64() * NEW_PARTICIPANTS_PER_SEC;
    let left = (left + gained).min(NEW_PARTICIPANTS_AT_ONCE);
    let is_admitted = left >= 1.0;
    self.admissions = (if is_admitted { left - 1.0 } else { left }, now);
    is_admitted
  }
}

impl DiscoveryDB {
  /// Whether there is room for this participant. Gives whom it takes the place
  /// of, who has been removed.
  pub(in crate::discovery) fn make_room_for(
    &mut self,
    data: &SpdpDiscoveredParticipantData,
  ) -> Result<Option<(GuidPrefix, LostReason)>, ()> {
    self.make_room_at(data, Instant::now())
  }

  fn make_room_at(
    &mut self,
    data: &SpdpDiscoveredParticipantData,
    now: Instant,
  ) -> Result<Option<(GuidPrefix, LostReason)>, ()> {
    let prefix = data.participant_guid.prefix;
    if data.entity_name.as_ref().is_some_and(|name| name.len() > MAX_NAME) {
      return Err(());
    }
    if self.participant_proxies.contains_key(&prefix) || prefix == self.my_guid.prefix {
      return Ok(None);
    }
    if !self.bounds.admit(now) {
      return Err(());
    }
    if self.participant_proxies.len() < MAX_PARTICIPANTS {
      return Ok(None);
    }
    let (evicted, silence) = self.least_credible(now).ok_or(())?;
    info!("Participant {evicted:?} makes room for {prefix:?}");
    self.remove_participant(evicted, true);
    let reason = LostReason::Timeout {
      lease: MAX_LEASE,
      elapsed: Duration::from_std(silence),
    };
    Ok(Some((evicted, reason)))
  }

  /// Who goes first: the one that has been silent longest among those that have
  /// shown no endpoint, or, if there is none, among those that have been silent
  /// for long.
  fn least_credible(&self, now: Instant) -> Option<(GuidPrefix, std::time::Duration)> {
    let others = self
      .participant_last_life_signs
      .iter()
      .filter(|(prefix, _)| **prefix != self.my_guid.prefix)
      .map(|(prefix, sign)| (*prefix, now.saturating_duration_since(*sign)));
    let has_endpoint = |prefix: GuidPrefix| {
      let range = || prefix.range();
      self.external_topic_readers.range(range()).next().is_some()
        || self.external_topic_writers.range(range()).next().is_some()
    };
    others
      .filter(|(prefix, silence)| silence.as_secs() >= SILENT_SECS || !has_endpoint(*prefix))
      .max_by_key(|(prefix, silence)| (!has_endpoint(*prefix), *silence))
  }

  /// The lease of a participant as far as it is honoured.
  pub(super) fn honoured_lease(&self, prefix: GuidPrefix, lease: Duration) -> Duration {
    if prefix == self.my_guid.prefix {
      lease
    } else {
      min(lease, MAX_LEASE)
    }
  }

  /// Whether a Reader is kept that somebody announces.
  pub(in crate::discovery) fn admits_reader(&self, data: &DiscoveredReaderData) -> bool {
    let guid = data.reader_proxy.remote_reader_guid;
    let filter = data.content_filter.as_ref();
    let topic = &data.subscription_topic_data;
    let texts = [data.user_data.len(), filter.map_or(0, filter_size)];
    if !is_modest(topic.topic_name(), topic.type_name(), &texts) {
      return false;
    }
    self.has_room(&self.external_topic_readers, guid)
  }

  /// Whether a Writer is kept that somebody announces.
  pub(in crate::discovery) fn admits_writer(&self, data: &DiscoveredWriterData) -> bool {
    let guid = data.writer_proxy.remote_writer_guid;
    let topic = &data.publication_topic_data;
    if !is_modest(&topic.topic_name, &topic.type_name, &[data.user_data.len()]) {
      return false;
    }
    self.has_room(&self.external_topic_writers, guid)
  }

  /// Whether `endpoints` may take up another one.
  fn has_room<D>(&self, endpoints: &BTreeMap<GUID, D>, guid: GUID) -> bool {
    if endpoints.contains_key(&guid) {
      return true;
    }
    let n_of_participant = || endpoints.range(guid.prefix.range()).count();
    let is_stray = |guid: &GUID| !self.participant_proxies.contains_key(&guid.prefix);
    endpoints.len() < MAX_ENDPOINTS
      && n_of_participant() < MAX_ENDPOINTS_OF_PARTICIPANT
      && !(is_stray(&guid)
        && endpoints.keys().filter(|guid| is_stray(guid)).count() >= MAX_STRAY_ENDPOINTS)
  }

  /// Bounds the endpoints of lost participants, to whom `prefix` belongs now.
  pub(super) fn remember_lost(&mut self, prefix: GuidPrefix) {
    if !self.bounds.lost.contains(&prefix) {
      self.bounds.lost.push_back(prefix);
    }
    while self.bounds.lost.len() > MAX_LOST
      || self.external_topic_readers_attic.len() > MAX_ENDPOINTS
      || self.external_topic_writers_attic.len() > MAX_ENDPOINTS
    {
      let Some(oldest) = self.bounds.lost.pop_front() else {
        break;
      };
      let is_other = |guid: &GUID| guid.prefix != oldest;
      self.external_topic_readers_attic.retain(|guid, _| is_other(guid));
      self.external_topic_writers_attic.retain(|guid, _| is_other(guid));
    }
  }

  /// Whether an announcement of a topic is kept.
  pub(super) fn admits_topic(&mut self, name: &str, updater: GUID, via: DiscoveredVia) -> bool {
    let topic = self.topics.get(name);
    if topic.is_some_and(|sources| sources.contains_key(&updater)) {
      return true;
    }
    let n_sources = topic.map(|sources| sources.len());
    if via == DiscoveredVia::Topic && n_sources.is_some_and(|n| n >= MAX_BARE_ANNOUNCEMENTS) {
      return false;
    }
    self.bounds.n_announcements += 1;
    if self.bounds.n_announcements > CLEANUP_AFTER {
      self.clean_topics();
    }
    n_sources.is_some()
      || via == DiscoveredVia::SelfDefined
      || (self.topics.len() < MAX_TOPICS && name.len() <= MAX_NAME)
  }

  /// Forgets topics without an endpoint, and what was said of the others by
  /// endpoints and participants that have gone.
  pub(super) fn clean_topics(&mut self) {
    self.bounds.n_announcements = 0;
    let readers = self.local_topic_readers.values().chain(self.external_topic_readers.values());
    let writers = self.local_topic_writers.values().chain(self.external_topic_writers.values());
    let names: BTreeSet<&str> = readers
      .map(|reader| reader.subscription_topic_data.topic_name().as_str())
      .chain(writers.map(|writer| writer.publication_topic_data.topic_name.as_str()))
      .collect();
    let is_known = |guid: &GUID, via: DiscoveredVia| match via {
      DiscoveredVia::SelfDefined => true,
      DiscoveredVia::Topic => self.participant_proxies.contains_key(&guid.prefix),
      DiscoveredVia::Subscription => {
        self.external_topic_readers.contains_key(guid) || self.local_topic_readers.contains_key(guid)
      }
      DiscoveredVia::Publication => {
        self.external_topic_writers.contains_key(guid) || self.local_topic_writers.contains_key(guid)
      }
    };
    self.topics.retain(|name, sources| {
      sources.retain(|guid, (via, _)| is_known(guid, *via));
      names.contains(name.as_str())
    });
  }
}

fn is_modest(topic: &str, type_name: &str, texts: &[usize]) -> bool {
  topic.len().max(type_name.len()) <= MAX_NAME && texts.iter().all(|bytes| *bytes <= MAX_TEXT)
}

fn filter_size(filter: &ContentFilterProperty) -> usize {
  let names = [
    &filter.content_filtered_topic_name,
    &filter.related_topic_name,
    &filter.filter_class_name,
    &filter.filter_expression,
  ];
  let names = names.into_iter().map(String::len).sum::<usize>();
  names + filter.expression_parameters.iter().map(|text| text.len() + 24).sum::<usize>()
}

#[cfg(test)]
mod tests {
  use std::time::Duration as StdDuration;

  use super::*;
  use crate::{
    dds::statusevents::sync_status_channel, structure::guid::EntityId, test::test_data::spdp_participant_data,
  };

  fn prefix(n: usize) -> GuidPrefix {
    let mut bytes = [7; 12];
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    GuidPrefix::new(&bytes)
  }

  fn participant(n: usize) -> SpdpDiscoveredParticipantData {
    SpdpDiscoveredParticipantData {
      participant_guid: GUID::new(prefix(n), EntityId::PARTICIPANT),
      ..spdp_participant_data().unwrap()
    }
  }

  fn reader(of: usize, n: u8) -> DiscoveredReaderData {
    let mut data = DiscoveredReaderData::default("topic".into(), "type".into());
    let kind = crate::structure::guid::EntityKind::READER_NO_KEY_USER_DEFINED;
    let id = EntityId::create_custom_entity_id([0, 0, n], kind);
    data.reader_proxy.remote_reader_guid = GUID::new(prefix(of), id);
    data
  }

  fn db() -> DiscoveryDB {
    let (topics, _) = std::sync::mpsc::sync_channel(1);
    let (status, _keep) = sync_status_channel(4).unwrap();
    DiscoveryDB::new(GUID::new_participant_guid(), topics, status)
  }

  fn hear(db: &mut DiscoveryDB, n: usize, at: Instant) -> bool {
    let is_admitted = db.make_room_at(&participant(n), at).is_ok();
    if is_admitted {
      db.update_participant(&participant(n));
    }
    is_admitted
  }

  #[test]
  fn participants_are_bounded_and_those_with_endpoints_stay() {
    let (mut db, start) = (db(), Instant::now());
    for n in 0..10 {
      assert!(hear(&mut db, n, start));
      assert!(db.admits_reader(&reader(n, 1)));
      db.update_subscription(&reader(n, 1));
    }
    for n in 10..5000 {
      hear(&mut db, n, start + StdDuration::from_millis(20 * n as u64));
    }
    assert_eq!(db.participant_proxies.len(), MAX_PARTICIPANTS);
    assert!((0..10).all(|n| db.participant_proxies.contains_key(&prefix(n))));
    assert_eq!(db.participant_last_life_signs.len(), MAX_PARTICIPANTS);
  }

  #[test]
  fn a_crowd_is_let_in_one_after_the_other() {
    let (mut db, start) = (db(), Instant::now());
    let at_once = (0..1000).filter(|n| hear(&mut db, *n, start)).count();
    assert_eq!(at_once, NEW_PARTICIPANTS_AT_ONCE as usize);
    let later = (1000..2000).filter(|n| hear(&mut db, *n, start + StdDuration::from_secs(1))).count();
    assert_eq!(later, NEW_PARTICIPANTS_PER_SEC as usize);
    // Whoever is in stays.
    assert!(hear(&mut db, 0, start));
  }

  #[test]
  fn endpoints_are_bounded_and_so_are_their_texts() {
    let mut db = db();
    let mut announce = |reader: DiscoveredReaderData| {
      let is_admitted = db.admits_reader(&reader);
      if is_admitted {
        db.update_subscription(&reader);
      }
      is_admitted
    };
    let n_stray = (1..500).filter(|of| announce(reader(*of, 1))).count();
    assert_eq!(n_stray, MAX_STRAY_ENDPOINTS);
    assert!(announce(reader(1, 1)), "whoever is in stays");
    let mut greedy = reader(1, 1);
    greedy.user_data = vec![0; MAX_TEXT + 1];
    assert!(!announce(greedy));
    hear(&mut db, 1000, Instant::now());
    assert!(db.admits_reader(&reader(1000, 1)));
  }

  #[test]
  fn a_lease_is_honoured_up_to_a_bound() {
    let db = db();
    let check = |lease, expect| assert_eq!(db.honoured_lease(prefix(1), lease), expect);
    check(Duration::from_secs(20), Duration::from_secs(20));
    check(Duration::from_secs(i32::MAX), MAX_LEASE);
    check(Duration::INFINITE, MAX_LEASE);
    assert_eq!(db.honoured_lease(db.my_guid.prefix, Duration::INFINITE), Duration::INFINITE);
  }
}
