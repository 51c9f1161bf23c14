#![warn(warnings)]
//! Participants that come back.

use crate::{
  discovery::discovery_db::discovery_db_read, rtps::constant::DiscoveryNotificationType,
  structure::guid::GuidPrefix,
};
use super::Discovery;

impl Discovery {
  /// Matches the Readers and Writers of a participant whose lease ran out and
  /// which is there again. It may not have lost this side, and then it does not
  /// say again what it has.
  pub(super) fn rematch(&self, participant: GuidPrefix) {
    let (readers, writers) = discovery_db_read(&self.discovery_db).endpoints_of(participant);
    for discovered_reader_data in readers {
      self.send_discovery_notification(DiscoveryNotificationType::ReaderUpdated {
        discovered_reader_data,
      });
    }
    for discovered_writer_data in writers {
      self.send_discovery_notification(DiscoveryNotificationType::WriterUpdated {
        discovered_writer_data,
      });
    }
  }
}
