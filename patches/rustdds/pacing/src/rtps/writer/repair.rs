#![warn(warnings)]
//! Repairs of large samples: fragments that readers ask for again leave as
//! other bulk does, as fast as the pacer admits, consecutive ones in one
//! datagram.

use std::time::Instant;

use log::debug;

use super::{frags_per_datafrag, DeliveryMode, Writer};
use crate::{
  messages::submessages::nack_frag::NackFrag,
  rtps::{
    outbound::TrafficClass,
    pacing::{Errand, SMALL_SAMPLE},
    rtps_reader_proxy::RtpsReaderProxy,
    Message, MessageBuilder,
  },
  structure::{
    cache_change::CacheChange,
    entity::RTPSEntity,
    guid::GUID,
    sequence_number::{FragmentNumber, SequenceNumber},
  },
};

/// RTPS header, INFO_TS and INFO_DST.
const REPAIR_HEADERS: usize = 20 + 12 + 16;

impl Writer {
  /// Goes on with what the pacer has deferred.
  pub(crate) fn resume(&mut self, errand: Errand) {
    match errand {
      Errand::Push(_) => self.process_pending(),
      Errand::Repair(_, reader) => self.handle_repair_frags_send(reader),
    }
  }

  /// Whether a sample is repaired by DATAFRAGs, whole or in part.
  pub(super) fn is_repaired_in_fragments(
    &self,
    payload_size: usize,
    reader_proxy: &RtpsReaderProxy,
  ) -> bool {
    let small = SMALL_SAMPLE.min(self.max_unfragmented_serialized_payload(Some(reader_proxy)));
    !self.is_built_in() && payload_size > small
  }

  /// Notes what a NACK_FRAG asks for, as far as there is such a thing.
  pub(super) fn request_fragments(&mut self, reader_guid: GUID, nackfrag: &NackFrag) {
    let sn = nackfrag.writer_sn;
    let payload_size = self.repairable(sn).map(|cc| cc.data_value.payload_size());
    let Some(reader_proxy) = self.readers.get_mut(&reader_guid) else {
      return;
    };
    match payload_size {
      Some(payload_size) => {
        let asked = nackfrag.fragment_number_state.iter();
        let (num_frags, _) = self.num_frags_and_frag_size(payload_size);
        if let Some(reader_proxy) = self.readers.get_mut(&reader_guid) {
          reader_proxy.request_frags(sn, num_frags, asked.map(u32::from));
        }
      }
      // What is on its way is asked for again if it has not come.
      None if sn > self.last_sent => {}
      // It is told that it is gone.
      None => reader_proxy.request_change(sn),
    }
    if payload_size.is_none() && sn <= self.last_sent {
      self.schedule_repair_data(reader_guid, self.nackfrag_response_delay);
    }
  }

  /// A sample that was sent whole and is still there.
  fn repairable(&self, sn: SequenceNumber) -> Option<CacheChange> {
    if sn > self.last_sent {
      return None;
    }
    self.send_buffer.get_by_sn(sn)
  }

  /// Sends this reader the fragments that it has asked for, until the pacer or
  /// the kernel takes no more. After the last one a HEARTBEAT asks for what is
  /// still missing.
  pub(super) fn repair_fragments(&self, reader_proxy: &mut RtpsReaderProxy) {
    if self.is_built_in() {
      return;
    }
    let reader_guid = reader_proxy.remote_reader_guid;
    let errand = Errand::Repair(self.entity_id(), reader_guid);
    let destinations = self.addresses(DeliveryMode::Unicast, &mut std::iter::once(&*reader_proxy));
    let mut n_sent = 0;
    let mut is_gone = false;
    while let Some((sn, start, run)) = reader_proxy.first_requested_run() {
      let sample = self.repairable(sn).filter(|cc| {
        let only = cc.write_options.to_single_reader();
        only.is_none_or(|reader| reader == reader_guid)
      });
      let Some(cc) = sample else {
        debug!(
          "{sn:?} of {} is gone, {reader_guid:?} asks for it",
          self.my_topic_name
        );
        reader_proxy.forget_frags(sn);
        is_gone = true;
        continue;
      };
      let (num_frags, fragment_size) = self.num_frags_and_frag_size(cc.data_value.payload_size());
      let n_frags = frags_per_datafrag(
        REPAIR_HEADERS,
        reader_proxy.max_datagram_payload(),
        start,
        num_frags,
        fragment_size,
        cc.data_value.payload_size(),
      )
      .min(run);
      let len = REPAIR_HEADERS + n_frags as usize * usize::from(fragment_size);
      let pacer = self.udp_sender.pacer();
      if !pacer.admit(errand, &destinations, len, Instant::now()) {
        return;
      }
      let blocked = self.send_message_to_readers(
        DeliveryMode::Unicast,
        self.repair_datagram(&cc, start, n_frags, reader_proxy),
        &mut std::iter::once(&*reader_proxy),
        TrafficClass::Paced,
      );
      if !blocked.is_empty() {
        // The next round tries again.
        break;
      }
      self.tally.add_repaired(len);
      reader_proxy.frags_sent(sn, start, n_frags);
      n_sent += n_frags;
    }
    self.udp_sender.pacer().leave(errand);
    if is_gone || (n_sent > 0 && !reader_proxy.repair_frags_requested()) {
      self.send_heartbeat_to(reader_proxy);
    }
  }

  fn repair_datagram(
    &self,
    cc: &CacheChange,
    start: u32,
    n_frags: u32,
    reader_proxy: &RtpsReaderProxy,
  ) -> Message {
    let data_size = cc.data_value.payload_size();
    let (_, fragment_size) = self.num_frags_and_frag_size(data_size);
    let mut builder = MessageBuilder::new();
    if let Some(stamp) = cc.write_options.source_timestamp() {
      builder = builder.ts_msg(self.endianness, Some(stamp));
    }
    builder
      .dst_submessage(self.endianness, reader_proxy.remote_reader_guid.prefix)
      .data_frag_msg(
        cc,
        reader_proxy.remote_reader_guid.entity_id,
        self.my_guid,
        FragmentNumber::new(start),
        n_frags as u16,
        fragment_size,
        data_size as u32,
        self.endianness,
        self.security_plugins.as_ref(),
      )
      .add_header_and_build(self.my_guid.prefix)
  }

  /// Whether a HEARTBEAT tells this reader that it will not get a sample: one
  /// that is gone, or older than the reader.
  ///
  /// Where the newest sample wins, a reader may hold fragments of what is gone.
  /// A GAP would do by the specification, but Fast DDS (2.14 and later) keeps a
  /// dangling entry of such a sample, and its reader then fails to deserialize
  /// it for ever. The firstSN of a HEARTBEAT removes it cleanly. A GAP is for
  /// what was never begun.
  pub(super) fn is_told_by_heartbeat(
    &self,
    sn: SequenceNumber,
    reader_proxy: &RtpsReaderProxy,
  ) -> bool {
    let first = self.send_buffer.first_change_sequence_number();
    self.send_buffer.newest_wins() && sn < first.max(reader_proxy.relevant_from)
  }

  /// First and last sequence number for a HEARTBEAT to one reader.
  pub(super) fn announced_to(&self, reader_guid: GUID) -> (SequenceNumber, SequenceNumber) {
    let relevant_from = self
      .readers
      .get(&reader_guid)
      .map_or_else(SequenceNumber::zero, |rp| rp.relevant_from);
    let (first, last) = self.announced();
    (first.max(relevant_from), last)
  }

  pub(super) fn send_heartbeat_to(&self, reader_proxy: &RtpsReaderProxy) {
    // (The proxy may be detached from the map.)
    let (first, last) = self.announced();
    let first = first.max(reader_proxy.relevant_from);
    let heartbeat = MessageBuilder::new()
      .dst_submessage(self.endianness, reader_proxy.remote_reader_guid.prefix)
      .heartbeat_msg(
        self.entity_id(),
        first,
        last,
        self.next_heartbeat_count(),
        self.endianness,
        reader_proxy.remote_reader_guid.entity_id,
        false, // the reader shall answer
        false, // no assertion of liveliness
      )
      .add_header_and_build(self.my_guid.prefix);
    self.send_control_to_readers(
      DeliveryMode::Unicast,
      heartbeat,
      &mut std::iter::once(reader_proxy),
    );
  }

  /// A round that did not send all is followed by another, should nobody else
  /// resume it.
  pub(super) fn keep_repairing(&mut self, reader_guid: GUID) {
    let unfinished = self
      .readers
      .get(&reader_guid)
      .is_some_and(RtpsReaderProxy::repair_frags_requested);
    if unfinished {
      self.schedule_repair_frags(reader_guid, self.repair_interval());
    }
  }
}
