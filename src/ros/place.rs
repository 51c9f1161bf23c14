//! Where the node is in the network. DDS takes its address once, when it starts, and tells it to everybody.

use anyhow::bail;

use super::start::interface::{Address, OwnAddress, Why, of_default_route, own_addresses};

/// Looks in a row that find the same change before it is one: an address that is renewed is gone for a
/// moment.
const SETTLED: u32 = 3;

/// The address that DDS uses, looked after.
pub(super) struct NetworkPlace {
    address: Address,
    /// Number of its interface when DDS joined its multicast groups there.
    index: Option<u32>,
    n_changed: u32,
}

impl NetworkPlace {
    pub(super) fn new(address: Address) -> Self {
        // Without a list there is no number, and the address alone counts.
        let addresses = own_addresses().unwrap_or_default();
        let index = addresses.iter().find(|own| own.ip == address.ip).and_then(|own| own.index);
        Self { address, index, n_changed: 0 }
    }

    /// Looks whether the address is still the right one.
    ///
    /// # Errors
    /// The node can no longer be found there, and only a restart helps.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        match own_addresses() {
            Ok(addresses) => self.compare(&addresses, || of_default_route(&addresses).is_some()),
            // Such as too many open files: no news.
            Err(_) => Ok(()),
        }
    }

    fn compare(
        &mut self,
        addresses: &[OwnAddress],
        has_network: impl FnOnce() -> bool,
    ) -> anyhow::Result<()> {
        let Address { ip, why } = self.address;
        let is_here = |own: &OwnAddress| own.ip == ip && (self.index.is_none() || own.index == self.index);
        let is_gone = !addresses.iter().any(is_here);
        let has_come = why == Why::NoNetwork && has_network();
        self.n_changed = if is_gone || has_come { self.n_changed + 1 } else { 0 };
        if self.n_changed < SETTLED {
            return Ok(());
        }
        let again = "start the node again (in a launch file: respawn)";
        if is_gone {
            bail!(
                "the network has changed: {ip}, where others find this node, is gone or on another \
                 interface; {again}"
            );
        }
        bail!("the network has come up, and this node has started without it, on {ip}; {again}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses with their interfaces' numbers, and whether there is a default route.
    type Look = (&'static [(&'static str, u32)], bool);

    fn check(why: Why, looks: &[Look], expect: Option<(usize, &str)>) {
        let address = Address { ip: "10.0.0.5".parse().unwrap(), why };
        let mut place = NetworkPlace { address, index: Some(2), n_changed: 0 };
        let change = looks.iter().enumerate().find_map(|(n, (own, has_network))| {
            let own: Vec<_> = own
                .iter()
                .map(|(ip, index)| OwnAddress {
                    ip: ip.parse().unwrap(),
                    interface: "eth0".into(),
                    index: Some(*index),
                })
                .collect();
            place.compare(&own, || *has_network).err().map(|err| (n, err.to_string()))
        });
        match (&change, expect) {
            (Some((n, text)), Some((at, part))) => assert!(*n == at && text.contains(part), "{n}: {text}"),
            (None, None) => (),
            _ => panic!("{change:?}, not {expect:?}"),
        }
    }

    const HERE: Look = (&[("127.0.0.1", 1), ("10.0.0.5", 2)], true);
    const GONE: Look = (&[("127.0.0.1", 1)], false);

    #[test]
    fn an_address_that_stays_or_is_renewed_is_no_change() {
        check(Why::DefaultRoute, &[HERE; 9], None);
        check(Why::DefaultRoute, &[HERE, GONE, GONE, HERE, GONE, GONE, HERE], None);
        // Another route is another's affair while the address is there.
        let beside: Look = (&[("10.0.0.5", 2), ("10.9.0.1", 3)], true);
        check(Why::DefaultRoute, &[beside; 9], None);
    }

    #[test]
    fn an_address_that_goes_is_missed() {
        for why in [Why::DefaultRoute, Why::Configured] {
            check(why, &[HERE, GONE, GONE, GONE], Some((3, "the network has changed: 10.0.0.5")));
        }
        let other: Look = (&[("10.0.0.6", 2)], true);
        check(Why::DefaultRoute, &[HERE, other, other, other], Some((3, "10.0.0.5")));
        let anew: Look = (&[("10.0.0.5", 7)], true);
        check(Why::DefaultRoute, &[anew; 3], Some((2, "on another interface")));
    }

    #[test]
    fn a_network_that_comes_up_is_noticed_where_none_was() {
        check(Why::NoNetwork, &[HERE; 3], Some((2, "has come up")));
        check(Why::Localhost, &[HERE; 9], None);
    }
}
