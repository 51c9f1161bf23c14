#![warn(warnings)]
//! The Readers and Writers of one participant.

use crate::{
  discovery::sedp_messages::{DiscoveredReaderData, DiscoveredWriterData},
  structure::guid::GuidPrefix,
};
use super::DiscoveryDB;

impl DiscoveryDB {
  /// What is known of the Readers and Writers of a remote participant.
  pub(crate) fn endpoints_of(
    &self,
    participant: GuidPrefix,
  ) -> (Vec<DiscoveredReaderData>, Vec<DiscoveredWriterData>) {
    let readers = self.external_topic_readers.range(participant.range());
    let writers = self.external_topic_writers.range(participant.range());
    (
      readers.map(|(_, reader)| reader.clone()).collect(),
      writers.map(|(_, writer)| writer.clone()).collect(),
    )
  }
}
