#![warn(warnings)]
//! The first request to a Writer from which nothing has come.

use crate::structure::{guid::GUID, sequence_number::SequenceNumber};

/// How the GUID prefixes of Fast DDS begin: with its vendor id.
const FAST_DDS: [u8; 2] = [0x01, 0x0f];

/// The base of the ACKNACK that asks `writer` for a HEARTBEAT.
///
/// This side may have lost the Writer's participant, such as when its process
/// was stopped for longer than its lease, without the Writer having lost this
/// side. A Writer of Fast DDS then keeps what this Reader had acknowledged as
/// acknowledged, and says nothing more: neither which Writers and Readers there
/// are nor their samples. A base of 0, which its own Readers send too, makes it
/// begin anew where its durability allows it. To others 0 is not a valid base.
pub(super) fn base(writer: GUID) -> SequenceNumber {
  let is_fast_dds = writer.prefix.bytes.starts_with(&FAST_DDS);
  SequenceNumber::new(if is_fast_dds { 0 } else { 1 })
}
