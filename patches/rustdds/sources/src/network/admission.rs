#![warn(warnings)]

//! Which datagrams are taken when only some networks may be used.
//!
//! Sockets are bound to all addresses, because a socket that is bound to one
//! hears no multicast. So the kernel delivers what comes from any network, and
//! it is told apart by the interface on which it has arrived.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::network::{
  udp_listener::PacketOrigin,
  util::{local_interface_table, IfAddr},
};

#[derive(Debug)]
pub(crate) struct Admission {
  networks: Vec<IpAddr>,
  interfaces: Vec<IfAddr>,
}

impl Admission {
  /// Of datagrams from the networks of these own addresses, and from this host.
  pub(crate) fn of_networks(networks: &[IpAddr]) -> Self {
    Self::new(networks, local_interface_table())
  }

  fn new(networks: &[IpAddr], interfaces: Vec<IfAddr>) -> Self {
    Self {
      networks: networks.to_vec(),
      interfaces,
    }
  }

  pub(crate) fn admits(&self, origin: &PacketOrigin) -> bool {
    // What this host sends to itself comes by its loopback interface, whichever
    // addresses it bears.
    let by_index = |ifa: &&IfAddr| ifa.index != 0 && Some(ifa.index) == origin.ifindex;
    let mut arrived = self.interfaces.iter().filter(by_index);
    if arrived.any(|ifa| ifa.is_loopback || self.networks.contains(&ifa.ip)) {
      return true;
    }
    // Hosts answer for all their addresses on each interface, so a neighbour's
    // datagram may come by another one.
    let is_neighbour = |source: Ipv4Addr| self.allowed().any(|ifa| has_neighbour(ifa, source));
    match (origin.source, origin.ifindex, origin.destination) {
      (Some(SocketAddr::V4(source)), _, Some(to)) if !to.is_loopback() => {
        self.networks.contains(&to) && is_neighbour(*source.ip())
      }
      // The kernel has not said where it has come from.
      (Some(SocketAddr::V4(source)), None, _) => {
        let source = *source.ip();
        self.interfaces.iter().any(|ifa| ifa.ip == IpAddr::V4(source)) || is_neighbour(source)
      }
      _ => false,
    }
  }

  fn allowed(&self) -> impl Iterator<Item = &IfAddr> {
    let is_allowed = |ifa: &&IfAddr| self.networks.contains(&ifa.ip);
    self.interfaces.iter().filter(is_allowed)
  }
}

fn has_neighbour(ifa: &IfAddr, address: Ipv4Addr) -> bool {
  let (IpAddr::V4(own), Some(mask)) = (ifa.ip, ifa.netmask) else {
    return false;
  };
  own.to_bits() & mask.to_bits() == address.to_bits() & mask.to_bits()
}

#[cfg(test)]
mod tests {
  use super::*;

  fn interface(index: u32, ip: [u8; 4], prefix: u32) -> IfAddr {
    IfAddr {
      ip: IpAddr::from(ip),
      index,
      is_loopback: ip[0] == 127,
      is_multicast: true,
      netmask: Some(Ipv4Addr::from_bits(u32::MAX << (32 - prefix))),
      mtu: Some(1500),
    }
  }

  const LO: u32 = 1;
  const ETH: u32 = 2;
  const WLAN: u32 = 3;

  fn check(network: [u8; 4], arrived: Option<u32>, source: [u8; 4], to: [u8; 4], expect: bool) {
    let interfaces = vec![
      interface(LO, [127, 0, 0, 1], 8),
      interface(ETH, [10, 0, 0, 5], 24),
      interface(WLAN, [192, 168, 1, 5], 24),
    ];
    let admission = Admission::new(&[network.into()], interfaces);
    let origin = PacketOrigin {
      source: Some(SocketAddr::new(source.into(), 5000)),
      ifindex: arrived,
      destination: Some(to.into()),
      ..PacketOrigin::UNKNOWN
    };
    assert_eq!(admission.admits(&origin), expect, "{network:?} {origin:?}");
  }

  #[test]
  fn loopback_alone_takes_from_this_host_alone() {
    let lo = [127, 0, 0, 1];
    check(lo, Some(LO), lo, lo, true);
    check(lo, Some(LO), [10, 0, 0, 5], [10, 0, 0, 5], true);
    check(lo, Some(LO), [10, 0, 0, 5], [239, 255, 0, 1], true);
    check(lo, Some(ETH), [10, 0, 0, 9], [10, 0, 0, 5], false);
    check(lo, Some(ETH), [10, 0, 0, 9], [239, 255, 0, 1], false);
    check(lo, Some(ETH), [127, 0, 0, 2], lo, false);
    check(lo, None, [10, 0, 0, 9], [10, 0, 0, 5], false);
    check(lo, None, [10, 0, 0, 5], lo, true);
  }

  #[test]
  fn one_network_takes_from_there_and_from_this_host() {
    let eth = [10, 0, 0, 5];
    check(eth, Some(ETH), [10, 0, 0, 9], eth, true);
    check(eth, Some(ETH), [172, 16, 0, 1], eth, true);
    check(eth, Some(ETH), [10, 0, 0, 9], [239, 255, 0, 1], true);
    check(eth, Some(LO), [192, 168, 1, 5], [127, 0, 0, 1], true);
    check(eth, Some(WLAN), [192, 168, 1, 9], [192, 168, 1, 5], false);
    check(eth, Some(WLAN), [192, 168, 1, 9], eth, false);
    check(eth, Some(WLAN), [192, 168, 1, 9], [239, 255, 0, 1], false);
    check(eth, Some(WLAN), [10, 0, 0, 9], eth, true);
    check(eth, Some(7), [10, 0, 0, 9], eth, true);
    check(eth, None, [10, 0, 0, 9], eth, true);
    check(eth, None, [192, 168, 1, 9], eth, false);
  }
}
