#![warn(warnings)]

//! Numbers that a Submessage may hold. Whoever counts, adds or walks ranges
//! further on does so within these bounds, without overflow.

use crate::{
  messages::submessages::submessages::{InterpreterSubmessage, ReaderSubmessage, WriterSubmessage},
  rtps::SubmessageBody,
  structure::sequence_number::{FragmentNumber, SequenceNumber},
};

/// No Writer gets so far: it takes a million samples a second for 30 years.
const MAX_SEQUENCE_NUMBER: i64 = 1 << 50;

/// Fragments of a sample of 64 MiB in the fragments of our Writers.
const MAX_FRAGMENT_NUMBER: u32 = 1 << 18;

/// Addresses at which one participant or endpoint may be reached. A message to
/// it goes to each of them.
pub(crate) const MAX_LOCATORS: usize = 16;

/// What is wrong with the numbers of a Submessage.
pub(crate) fn flaw(submessage: &SubmessageBody) -> Option<&'static str> {
  match submessage {
    SubmessageBody::Writer(WriterSubmessage::Data(data, _)) => sample(data.writer_sn),
    SubmessageBody::Writer(WriterSubmessage::DataFrag(frag, _)) => sample(frag.writer_sn),
    SubmessageBody::Writer(WriterSubmessage::Heartbeat(heartbeat, _)) => {
      // Nothing is available when first == last + 1. Some say so with zeros.
      let (first, last) = (i64::from(heartbeat.first_sn), i64::from(heartbeat.last_sn));
      let is_range = 0 <= first && -1 <= last && last <= MAX_SEQUENCE_NUMBER && first <= last + 1;
      (!is_range).then_some("HEARTBEAT with an impossible range")
    }
    SubmessageBody::Writer(WriterSubmessage::Gap(gap, _)) => {
      let (start, base) = (i64::from(gap.gap_start), i64::from(gap.gap_list.base()));
      let is_range = 1 <= start && start <= base && base <= MAX_SEQUENCE_NUMBER;
      (!is_range).then_some("GAP with an impossible range")
    }
    SubmessageBody::Writer(WriterSubmessage::HeartbeatFrag(..)) => None,
    SubmessageBody::Reader(ReaderSubmessage::AckNack(acknack, _)) => {
      let base = i64::from(acknack.reader_sn_state.base());
      let is_number = (0..=MAX_SEQUENCE_NUMBER).contains(&base);
      (!is_number).then_some("ACKNACK with an impossible base")
    }
    SubmessageBody::Reader(ReaderSubmessage::NackFrag(nack, _)) => {
      let base = nack.fragment_number_state.base();
      let fragments = FragmentNumber::new(1)..=FragmentNumber::new(MAX_FRAGMENT_NUMBER);
      if fragments.contains(&base) {
        sample(nack.writer_sn)
      } else {
        Some("NACK_FRAG with an impossible fragment")
      }
    }
    SubmessageBody::Interpreter(InterpreterSubmessage::InfoReply(reply, _)) => {
      let multicast = reply.multicast_locator_list.as_ref().map_or(0, Vec::len);
      let is_short = reply.unicast_locator_list.len().max(multicast) <= MAX_LOCATORS;
      (!is_short).then_some("INFO_REPLY with too many addresses")
    }
    SubmessageBody::Interpreter(_) => None,
    #[cfg(feature = "security")]
    SubmessageBody::Security(_) => None,
  }
}

fn sample(sn: SequenceNumber) -> Option<&'static str> {
  let is_number = (1..=MAX_SEQUENCE_NUMBER).contains(&i64::from(sn));
  (!is_number).then_some("impossible SequenceNumber")
}
