//! Which network address DDS uses. It is exactly one: a peer that learns of two sends every
//! datagram to both, and large images then drown in their own copies.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::config::NetworkInterface;

/// Where Linux lists its IPv4 routes.
const ROUTES: &str = "/proc/net/route";

/// No address to use.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The system does not list its addresses.
    #[error("cannot list the addresses of this machine")]
    List(#[from] std::io::Error),
    /// The configured address belongs to another machine.
    #[error("network_interface: this machine has no address {wanted}; it has {found}")]
    Absent {
        /// As configured.
        wanted: IpAddr,
        /// Every IPv4 address with its interface.
        found: String,
    },
}

/// The address that DDS uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Why this one.
    pub why: Why,
}

/// Why an address was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `network_interface` names it.
    Configured,
    /// The environment asks for this machine only.
    Localhost,
    /// The default route has it.
    DefaultRoute,
    /// There is no default route.
    NoNetwork,
}

impl Address {
    /// Whether every other network is excluded.
    pub fn is_exclusive(&self) -> bool {
        matches!(self.why, Why::Configured | Why::Localhost)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip.fmt(f)
    }
}

/// The address for `setting`: with `auto` that of the default route, or loopback when there is
/// none or `localhost` is asked for.
///
/// # Errors
/// An address that this machine lacks (DDS runs over IPv4), naming the ones it has.
pub fn choose(setting: NetworkInterface, localhost: bool) -> Result<Address, InterfaceError> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let addresses = own_addresses()?;
    match setting {
        NetworkInterface::Auto if localhost => Ok(Address { ip: loopback, why: Why::Localhost }),
        NetworkInterface::Auto => {
            Ok(of_default_route(&addresses).map_or(Address { ip: loopback, why: Why::NoNetwork }, |ip| {
                Address { ip, why: Why::DefaultRoute }
            }))
        }
        NetworkInterface::Address(wanted) if addresses.iter().any(|own| own.ip == wanted) => {
            Ok(Address { ip: wanted, why: Why::Configured })
        }
        NetworkInterface::Address(wanted) => {
            let list: Vec<_> =
                addresses.iter().map(|own| format!("{} ({})", own.ip, own.interface)).collect();
            Err(InterfaceError::Absent { wanted, found: list.join(", ") })
        }
    }
}

/// An IPv4 address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ros) struct OwnAddress {
    pub(in crate::ros) ip: IpAddr,
    /// Name of its interface.
    pub(in crate::ros) interface: String,
    /// Number of its interface: another one when that was made anew.
    pub(in crate::ros) index: Option<u32>,
}

pub(in crate::ros) fn own_addresses() -> std::io::Result<Vec<OwnAddress>> {
    let addresses = if_addrs::get_if_addrs()?.into_iter().map(|own| OwnAddress {
        ip: own.ip(),
        index: own.index,
        interface: own.name,
    });
    Ok(addresses.filter(|own| own.ip.is_ipv4()).collect())
}

/// The address of the default route among those `found`.
pub(in crate::ros) fn of_default_route(addresses: &[OwnAddress]) -> Option<IpAddr> {
    // A machine without this file has no IPv4 routes.
    let routes = std::fs::read_to_string(ROUTES).unwrap_or_default();
    let interface = default_interface(&routes)?;
    addresses.iter().find(|own| own.interface == interface).map(|own| own.ip)
}

/// Interface of the default route with the lowest metric.
fn default_interface(routes: &str) -> Option<&str> {
    const UP: u32 = 1;
    let default_routes = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [name, destination, _gateway, flags, _, _, metric, mask, ..] = fields[..] else {
            return None;
        };
        let is_up = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & UP != 0);
        let is_default = destination == "00000000" && mask == "00000000";
        (is_up && is_default).then_some((metric.parse::<u32>().ok()?, name))
    });
    default_routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_lowest_metric_names_the_interface() {
        const HEAD: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        let check = |lines: &str, expect| {
            let routes = format!("{HEAD}{lines}");
            assert_eq!(default_interface(&routes), expect, "{lines}");
        };
        check("", None);
        check("eth0 0001A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n", None);
        check("eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n", Some("eth0"));
        check("eth0 00000000 010200C0 0002 0 0 0 00000000 0 0 0\n", None);
        check(
            "wlan0 00000000 010200C0 0003 0 0 600 00000000 0 0 0\n\
             eth1 00000000 010300C0 0003 0 0 100 00000000 0 0 0\n",
            Some("eth1"),
        );
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_the_ones_of_this() {
        let setting = |text: &str| NetworkInterface::Address(text.parse().unwrap());
        let check = |setting, localhost, expect: &str| {
            let text =
                choose(setting, localhost).map_or_else(|err| err.to_string(), |address| address.to_string());
            assert!(text.starts_with(expect), "{text}");
        };
        check(NetworkInterface::Auto, true, "127.0.0.1");
        check(setting("127.0.0.1"), false, "127.0.0.1");
        let refusal = "network_interface: this machine has no address 203.0.113.9; it has 127.0.0.1 (lo)";
        check(setting("203.0.113.9"), false, refusal);
        check(setting("::1"), false, "network_interface: this machine has no address ::1; it has ");
    }
}
