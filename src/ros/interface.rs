//! Which network address DDS uses. It is exactly one: a peer that learns of two sends every
//! datagram to both, and large pictures then drown in their own copies.

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

/// The address for `setting`: with `auto` that of the default route, or loopback when there is
/// none or `localhost` is asked for.
///
/// # Errors
/// An address that this machine lacks (DDS runs over IPv4), naming the ones it has.
pub fn choose(setting: NetworkInterface, localhost: bool) -> Result<IpAddr, InterfaceError> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let addresses = ipv4_addresses()?;
    match setting {
        NetworkInterface::Auto if localhost => Ok(loopback),
        NetworkInterface::Auto => {
            // A machine without this file has no IPv4 routes.
            let routes = std::fs::read_to_string(ROUTES).unwrap_or_default();
            let of_interface = |name: &str| addresses.iter().find(|(owner, _)| owner == name);
            let found = default_interface(&routes).and_then(of_interface);
            Ok(found.map_or(loopback, |(_, address)| *address))
        }
        NetworkInterface::Address(wanted) if addresses.iter().any(|(_, address)| *address == wanted) => {
            Ok(wanted)
        }
        NetworkInterface::Address(wanted) => {
            let found: Vec<_> =
                addresses.iter().map(|(name, address)| format!("{address} ({name})")).collect();
            Err(InterfaceError::Absent { wanted, found: found.join(", ") })
        }
    }
}

fn ipv4_addresses() -> std::io::Result<Vec<(String, IpAddr)>> {
    let interfaces = if_addrs::get_if_addrs()?;
    let addresses = interfaces.into_iter().map(|interface| (interface.name.clone(), interface.ip()));
    Ok(addresses.filter(|(_, address)| address.is_ipv4()).collect())
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
            let said =
                choose(setting, localhost).map_or_else(|err| err.to_string(), |found| found.to_string());
            assert!(said.starts_with(expect), "{said}");
        };
        check(NetworkInterface::Auto, true, "127.0.0.1");
        check(setting("127.0.0.1"), false, "127.0.0.1");
        let refusal = "network_interface: this machine has no address 203.0.113.9; it has 127.0.0.1 (lo)";
        check(setting("203.0.113.9"), false, refusal);
        check(setting("::1"), false, "network_interface: this machine has no address ::1; it has ");
    }
}
