#![warn(warnings)]
//! Where the datagrams of a writer go: each destination once, however many
//! readers are there.

use std::net::SocketAddr;

use log::{trace, warn};

use super::{DeliveryMode, Writer};
use crate::{
  rtps::{
    outbound::{SocketId, TrafficClass},
    rtps_reader_proxy::RtpsReaderProxy,
    transmit::InterfaceSelector,
  },
  structure::locator::Locator,
};

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
  /// To this locator, out of every interface if it is a multicast one.
  To(Locator),
  /// To this multicast locator out of this interface.
  Via(Locator, InterfaceSelector),
}

impl Writer {
  /// The destinations that reach `readers`, and the writer's fixed ones. See
  /// src/rtps/transmit_design.md: a reader whose route is known is reached by
  /// one of them, others by every locator that they have advertised.
  pub(super) fn destinations(
    &self,
    preferred_mode: DeliveryMode,
    readers: &mut dyn Iterator<Item = &RtpsReaderProxy>,
  ) -> Vec<Destination> {
    let mut destinations = Vec::with_capacity(4);
    let mut add = |destination| {
      if !destinations.contains(&destination) {
        destinations.push(destination);
      }
    };
    for reader in readers {
      let route = reader.send_route();
      if route.fallback {
        let has_udp = |locators: &[Locator]| locators.iter().any(Locator::is_udp);
        let unicast = &reader.unicast_locator_list;
        let multicast = &reader.multicast_locator_list;
        let prefers_multicast = preferred_mode == DeliveryMode::Multicast;
        let locators = match (has_udp(unicast), has_udp(multicast)) {
          (true, true) if prefers_multicast => multicast,
          (true, _) => unicast,
          (false, true) => multicast,
          (false, false) => {
            warn!("No locators for {reader:?}");
            continue;
          }
        };
        locators
          .iter()
          .for_each(|locator| add(Destination::To(*locator)));
        continue;
      }
      match (preferred_mode, route.multicast, route.unicast) {
        (DeliveryMode::Multicast, Some((locator, interface)), _)
        | (_, Some((locator, interface)), None) => add(Destination::Via(locator, interface)),
        (_, _, Some(locator)) => add(Destination::To(locator)),
        (_, None, None) => warn!("The route has no destination for {reader:?}"),
      }
    }
    for locator in &self.extra_unicast_destinations {
      add(Destination::To(*locator));
    }
    destinations
  }

  /// The addresses of the destinations that reach `readers`.
  pub(super) fn addresses(
    &self,
    preferred_mode: DeliveryMode,
    readers: &mut dyn Iterator<Item = &RtpsReaderProxy>,
  ) -> Vec<SocketAddr> {
    let destinations = self.destinations(preferred_mode, readers);
    let locators = destinations.iter().map(|destination| match destination {
      Destination::To(locator) | Destination::Via(locator, _) => locator,
    });
    let mut addresses = Vec::with_capacity(destinations.len());
    for address in locators
      .filter(|l| l.is_udp())
      .map(|l| SocketAddr::from(*l))
    {
      if !addresses.contains(&address) {
        addresses.push(address);
      }
    }
    addresses
  }

  /// Sends a datagram; returns the sockets that did not take it (none for
  /// control messages, which are queued).
  pub(super) fn send_to(
    &self,
    destination: &Destination,
    datagram: &[u8],
    class: TrafficClass,
  ) -> Vec<SocketId> {
    trace!("{class:?} of {} bytes to {destination:?}", datagram.len());
    let sender = &self.udp_sender;
    match (class, destination) {
      (TrafficClass::Control, Destination::To(locator)) => {
        sender.send_to_locator(datagram, locator);
        return Vec::new();
      }
      (TrafficClass::Control, Destination::Via(locator, interface)) => {
        sender.send_to_multicast_locator_via(datagram, locator, interface);
        return Vec::new();
      }
      (TrafficClass::Bulk, Destination::To(locator) | Destination::Via(locator, _))
        if locator.is_udp() =>
      {
        sender
          .pacer()
          .charge(SocketAddr::from(*locator), datagram.len());
      }
      // Charged when it was admitted, or of no kind that is charged.
      (TrafficClass::Bulk | TrafficClass::Paced, _) => {}
    }
    match destination {
      Destination::To(locator) => sender.try_send_to_locator(datagram, locator),
      Destination::Via(locator, interface) => {
        sender.try_send_to_multicast_locator_via(datagram, locator, interface)
      }
    }
  }
}
