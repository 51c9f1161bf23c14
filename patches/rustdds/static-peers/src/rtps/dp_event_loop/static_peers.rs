#![warn(warnings)]

//! Announcing this participant to hosts that no multicast reaches.

use std::net::{IpAddr, SocketAddr};

use super::DPEventLoop;
use crate::{
  network::{
    constant::{spdp_well_known_unicast_port, SPDP_LOCALHOST_PEER_COUNT},
    util::localhost_spdp_peer_locators,
  },
  structure::{guid::EntityId, locator::Locator},
};

// Participants of a host that are announced to. Each has a port of its own, by
// its number.
const PARTICIPANTS_PER_HOST: u16 = 32;

impl DPEventLoop {
  /// Sends every announcement of this participant also to the participants of
  /// `hosts`.
  pub(super) fn announce_to(&mut self, hosts: &[IpAddr]) {
    let domain_id = self.domain_info.domain_id;
    let mut locators: Vec<Locator> = hosts
      .iter()
      .flat_map(|host| {
        (0..PARTICIPANTS_PER_HOST).map(move |participant_id| {
          let port = spdp_well_known_unicast_port(domain_id, participant_id);
          Locator::from(SocketAddr::new(*host, port))
        })
      })
      .collect();
    if self.same_host_loopback {
      locators.extend(localhost_spdp_peer_locators(
        domain_id,
        self.domain_info.participant_id,
        SPDP_LOCALHOST_PEER_COUNT,
      ));
    }
    let writer = EntityId::SPDP_BUILTIN_PARTICIPANT_WRITER;
    if let Some(writer) = self.writers.get_mut(&writer) {
      writer.set_extra_unicast_destinations(locators);
    }
  }
}
