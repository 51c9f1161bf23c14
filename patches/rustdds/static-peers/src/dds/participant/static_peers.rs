#![warn(warnings)]

//! Peers that are known by their address.

use std::net::IpAddr;

use super::DomainParticipant;
use crate::{
  dds::result::{CreateError, CreateResult},
  discovery::discovery::DiscoveryCommand,
  rtps::dp_event_loop::EventLoopCommand,
};

impl DomainParticipant {
  /// Announces this participant also to `hosts`, at the well-known ports of
  /// their participants, now and whenever it announces itself. For networks
  /// that carry no multicast.
  ///
  /// A later call replaces the hosts of an earlier one. A participant that is
  /// announced to answers by unicast, so it is enough that one side knows the
  /// other.
  ///
  /// # Errors
  ///
  /// `CreateError::Poisoned` or `CreateError::Internal` if the event loop
  /// of this participant is gone.
  pub fn announce_to(&self, hosts: impl IntoIterator<Item = IpAddr>) -> CreateResult<()> {
    let participant = self.dpi.lock()?;
    participant
      .dpi
      .stop_poll_sender
      .send(EventLoopCommand::AnnounceTo(hosts.into_iter().collect()))
      .map_err(|_| CreateError::Internal {
        reason: "the event loop is gone".to_string(),
      })?;
    // After the event loop knows the hosts, so that they get this announcement.
    // Where discovery has much else to do, they get the next.
    let _ = participant
      .discovery_command_sender
      .try_send(DiscoveryCommand::Announce);
    Ok(())
  }
}
