#![warn(warnings)]

//! Telling which service mapping a client uses.

use rustdds::{RepresentationIdentifier, serialization::deserialize_from_cdr_with_rep_id};
#[allow(unused_imports)]
use log::{debug, error, info, warn};

use super::ServiceMapping;
use crate::{
  error::{ReadError, ReadResult},
  gid::Gid,
  message::Message,
};

// RTPS Spec v2.5 Section "9.3.1.1 Mapping of the GuidPrefix_t": the first two
// bytes are the vendor's.
const CYCLONE_DDS: [u8; 2] = [0x01, 0x10];

// A payload may be filled up to a multiple of so many bytes.
const PAYLOAD_ALIGNMENT: usize = 4;

impl ServiceMapping {
  /// The mapping of the requests that the writer `client` sends, and of the
  /// responses to them.
  pub(super) fn for_client(self, client: Gid) -> Self {
    match self {
      Self::ByVendor if client.as_bytes().starts_with(&CYCLONE_DDS) => Self::Cyclone,
      Self::ByVendor => Self::Enhanced,
      given => given,
    }
  }
}

/// Decodes a message that takes all the bytes. One that leaves some is another
/// message than was expected, most likely one with a header of another mapping,
/// and what its first bytes say means nothing.
pub(super) fn decode_all<R: Message>(
  bytes: &[u8],
  encoding: RepresentationIdentifier,
) -> ReadResult<R> {
  let (message, n_read) = deserialize_from_cdr_with_rep_id::<R>(bytes, encoding)?;
  if bytes.len() < n_read + PAYLOAD_ALIGNMENT {
    Ok(message)
  } else {
    Err(ReadError::Deserialization {
      reason: format!(
        "the message has {} bytes and only {n_read} of them belong to its type: its sender uses \
         another service mapping or another type",
        bytes.len()
      ),
    })
  }
}

#[cfg(test)]
mod tests {
  use super::*;

  #[test]
  fn cyclone_clients_get_their_own_mapping() {
    let client = |vendor: u8| {
      let mut bytes = [7; 16];
      bytes[..2].copy_from_slice(&[1, vendor]);
      Gid::from(bytes)
    };
    assert_eq!(ServiceMapping::ByVendor.for_client(client(0x10)), ServiceMapping::Cyclone);
    assert_eq!(ServiceMapping::ByVendor.for_client(client(0x0f)), ServiceMapping::Enhanced);
    assert_eq!(ServiceMapping::Basic.for_client(client(0x10)), ServiceMapping::Basic);
  }

  #[test]
  fn a_message_with_bytes_left_over_is_refused() {
    let decode = |n_bytes: usize| {
      let bytes = vec![1; n_bytes];
      decode_all::<u8>(&bytes, RepresentationIdentifier::CDR_LE).is_ok()
    };
    assert!(decode(1) && decode(4));
    assert!(!decode(0) && !decode(5) && !decode(17));
  }
}
