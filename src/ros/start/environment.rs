//! What the environment says about DDS.

mod told;
mod unused;

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

use unused::Security;

/// Hosts of `ROS_STATIC_PEERS` that are used. More would keep the thread of DDS from its other work.
const MAX_STATIC_PEERS: usize = 100;

/// The ROS variables that this node heeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// `ROS_DOMAIN_ID`, 0 to 232; 0 when unset.
    pub domain_id: u16,
    /// `ROS_AUTOMATIC_DISCOVERY_RANGE`; localhost also when `ROS_LOCALHOST_ONLY` is 1.
    pub discovery: Discovery,
    /// `ROS_STATIC_PEERS`: addresses or names of hosts, where `discovery` lets them be used.
    pub static_peers: Vec<String>,
    /// Features that variables ask for and this node does not have, and what that means.
    pub warnings: Vec<String>,
    /// What each variable that is set means here.
    pub told: Vec<String>,
    security: Security,
}

/// How far the node looks for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// The subnet; what ROS does when nothing is set.
    Subnet,
    /// This machine only.
    Localhost,
    /// Not at all. DDS here cannot do without: it is kept to this machine, with a warning.
    Off,
    /// Whatever the middleware does by itself.
    SystemDefault,
}

/// A variable that cannot be read or obeyed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A value that the variable cannot have.
    #[error("the environment variable {name}={given} is not valid: it must be {valid}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it says.
        given: String,
        /// What it may say.
        valid: &'static str,
    },
    /// Security is demanded.
    #[error(
        "ROS_SECURITY_STRATEGY=Enforce asks for DDS security, which this node does not have; it starts, \
         unsecured, with ROS_SECURITY_STRATEGY=Permissive or without ROS_SECURITY_ENABLE"
    )]
    Security,
}

/// Higher domains would need ports past 65535.
const MAX_DOMAIN_ID: u16 = 232;

impl Environment {
    /// Reads the variables through `get`.
    ///
    /// # Errors
    /// A variable that says what it cannot.
    pub fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let given = |name: &str| get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let domain_id = match given("ROS_DOMAIN_ID") {
            None => 0,
            Some(text) => {
                text.parse().ok().filter(|id| *id <= MAX_DOMAIN_ID).ok_or(EnvironmentError::Invalid {
                    name: "ROS_DOMAIN_ID",
                    given: text,
                    valid: "a whole number from 0 to 232",
                })?
            }
        };
        let is_localhost_only = given("ROS_LOCALHOST_ONLY").as_deref() == Some("1");
        let discovery = match given("ROS_AUTOMATIC_DISCOVERY_RANGE") {
            // The older variable goes first, as in rcl.
            _ if is_localhost_only => Discovery::Localhost,
            None => Discovery::Subnet,
            Some(word) => match word.to_ascii_uppercase().as_str() {
                "SUBNET" => Discovery::Subnet,
                "LOCALHOST" => Discovery::Localhost,
                "OFF" => Discovery::Off,
                "SYSTEM_DEFAULT" => Discovery::SystemDefault,
                _ => {
                    return Err(EnvironmentError::Invalid {
                        name: "ROS_AUTOMATIC_DISCOVERY_RANGE",
                        given: word,
                        valid: "SUBNET, LOCALHOST, OFF or SYSTEM_DEFAULT",
                    });
                }
            },
        };
        let mut environment = Self {
            domain_id,
            discovery,
            static_peers: given("ROS_STATIC_PEERS").map(|text| hosts(&text)).unwrap_or_default(),
            warnings: unused::warnings(&given),
            told: told::told(&given),
            security: Security::read(&given),
        };
        environment.weigh_peers(is_localhost_only);
        Ok(environment)
    }

    /// Peers are for nodes that look around, as in rcl.
    fn weigh_peers(&mut self, is_localhost_only: bool) {
        if self.static_peers.is_empty() {
            return;
        }
        let without_peers = match self.discovery {
            Discovery::Off => Some("ROS_AUTOMATIC_DISCOVERY_RANGE=OFF"),
            Discovery::Localhost if is_localhost_only => Some("ROS_LOCALHOST_ONLY=1"),
            _ => None,
        };
        if let Some(why) = without_peers {
            self.static_peers.clear();
            self.warnings.push(format!("ROS_STATIC_PEERS is not used because of {why}"));
        } else if self.discovery == Discovery::Localhost && !self.is_loopback_only() {
            self.warnings.push(
                "ROS_STATIC_PEERS: to reach the peers this node uses the network, where others find it too \
                 in spite of ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"
                    .into(),
            );
        }
    }

    /// Whether the node may join the graph at all.
    ///
    /// # Errors
    /// Security is enforced.
    pub fn allow(&self) -> Result<(), EnvironmentError> {
        if self.security == Security::Enforced { Err(EnvironmentError::Security) } else { Ok(()) }
    }

    /// Whether only loopback is to be used.
    pub fn is_loopback_only(&self) -> bool {
        match self.discovery {
            Discovery::Localhost => self.static_peers.iter().all(|host| is_loopback(host)),
            Discovery::Off => true,
            Discovery::Subnet | Discovery::SystemDefault => false,
        }
    }

    /// Addresses of the static peers, looked up where names are given. `warn` hears of those that cannot be
    /// used.
    pub fn peer_addresses(&self, mut warn: impl FnMut(String)) -> Vec<IpAddr> {
        let n_hosts = self.static_peers.len();
        if n_hosts > MAX_STATIC_PEERS {
            warn(format!(
                "ROS_STATIC_PEERS: {n_hosts} hosts are named, the first {MAX_STATIC_PEERS} are used: every \
                 announcement goes to 32 ports of each"
            ));
        }
        let mut peers = Vec::new();
        for host in self.static_peers.iter().take(MAX_STATIC_PEERS) {
            match (host.as_str(), 0).to_socket_addrs() {
                Err(err) => warn(format!("ROS_STATIC_PEERS: {host} is left out: {err}")),
                // DDS runs over IPv4 here.
                Ok(mut addresses) => match addresses.find(|address| address.is_ipv4()) {
                    Some(address) if !is_host(address.ip()) => {
                        warn(format!(
                            "ROS_STATIC_PEERS: {host} is left out: it is not the address of a host"
                        ));
                    }
                    Some(address) => peers.push(address.ip()),
                    None => warn(format!("ROS_STATIC_PEERS: {host} is left out: it has no IPv4 address")),
                },
            }
        }
        peers
    }
}

fn hosts(text: &str) -> Vec<String> {
    text.split(';').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned).collect()
}

/// Whether this can be one host's address, to which announcements are sent.
fn is_host(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && address != Ipv4Addr::BROADCAST
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_peers_without_end_is_cut_and_told() {
        let hosts: Vec<String> = (0..3000).map(|n| format!("10.0.{}.{}", n / 250, n % 250)).collect();
        let text = hosts.join(";");
        let environment = Environment::read(&|name: &str| (name == "ROS_STATIC_PEERS").then(|| text.clone()));
        let mut warnings = Vec::new();
        let peers = environment.unwrap().peer_addresses(|warning| warnings.push(warning));
        assert_eq!((peers.len(), warnings.len()), (MAX_STATIC_PEERS, 1), "{warnings:?}");
        assert!(warnings[0].contains("3000 hosts are named"), "{warnings:?}");
    }

    #[test]
    fn what_is_no_address_of_a_host_is_left_out_and_told() {
        let others = ["0.0.0.0", "239.255.0.1", "224.0.0.1", "255.255.255.255"];
        let text = format!("10.0.0.1;{};127.0.0.1", others.join(";"));
        let environment = Environment::read(&|name: &str| (name == "ROS_STATIC_PEERS").then(|| text.clone()));
        let mut warnings = Vec::new();
        let peers = environment.unwrap().peer_addresses(|warning| warnings.push(warning));
        assert_eq!(peers, ["10.0.0.1", "127.0.0.1"].map(|text| text.parse::<IpAddr>().unwrap()));
        let expect = |host| format!("ROS_STATIC_PEERS: {host} is left out: it is not the address of a host");
        assert_eq!(warnings, others.map(expect));
    }

    fn check(variables: &[(&str, &str)], expect: &str) {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        };
        let outcome = match Environment::read(&get) {
            Ok(Environment { domain_id, discovery, .. }) => format!("{domain_id} {discovery:?}"),
            Err(err) => err.to_string(),
        };
        assert_eq!(outcome, expect);
    }

    fn read(variables: &[(&str, &str)]) -> Environment {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        };
        Environment::read(&get).unwrap()
    }

    #[test]
    fn static_peers_are_used_as_far_as_discovery_goes() {
        let check = |variables: &[(&str, &str)], peers: &str, is_loopback_only: bool, n_warnings: usize| {
            let environment = read(variables);
            assert_eq!(environment.static_peers.join(" "), peers, "{variables:?}");
            assert_eq!(environment.is_loopback_only(), is_loopback_only, "{variables:?}");
            assert_eq!(environment.warnings.len(), n_warnings, "{variables:?} {:?}", environment.warnings);
        };
        let peers = ("ROS_STATIC_PEERS", "10.0.0.7; robot ;;127.0.0.2");
        let range = |word| ("ROS_AUTOMATIC_DISCOVERY_RANGE", word);
        check(&[peers], "10.0.0.7 robot 127.0.0.2", false, 0);
        check(&[peers, range("LOCALHOST")], "10.0.0.7 robot 127.0.0.2", false, 1);
        check(
            &[("ROS_STATIC_PEERS", "localhost;127.0.0.2"), range("LOCALHOST")],
            "localhost 127.0.0.2",
            true,
            0,
        );
        check(&[peers, range("OFF")], "", true, 1);
        check(&[peers, ("ROS_LOCALHOST_ONLY", "1")], "", true, 1);
        check(&[("ROS_STATIC_PEERS", " ; ")], "", false, 0);
    }

    #[test]
    fn a_peer_that_cannot_be_reached_is_left_out_by_name() {
        let mut warnings = Vec::new();
        let environment = read(&[("ROS_STATIC_PEERS", "127.0.0.1;::1;not a host")]);
        let addresses = environment.peer_addresses(|text| warnings.push(text));
        assert_eq!(addresses, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(warnings[0], "ROS_STATIC_PEERS: ::1 is left out: it has no IPv4 address");
        assert!(warnings[1].starts_with("ROS_STATIC_PEERS: not a host is left out: "), "{warnings:?}");
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn the_ros_variables_are_read() {
        check(&[], "0 Subnet");
        check(&[("ROS_DOMAIN_ID", "42")], "42 Subnet");
        check(&[("ROS_DOMAIN_ID", "")], "0 Subnet");
        check(&[("ROS_DOMAIN_ID", "232")], "232 Subnet");
        check(&[("ROS_LOCALHOST_ONLY", "1")], "0 Localhost");
        check(&[("ROS_LOCALHOST_ONLY", "0")], "0 Subnet");
        check(&[("ROS_LOCALHOST_ONLY", "1"), ("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")], "0 Localhost");
        check(&[("ROS_AUTOMATIC_DISCOVERY_RANGE", "localhost")], "0 Localhost");
        check(&[("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")], "0 Off");
        check(&[("ROS_AUTOMATIC_DISCOVERY_RANGE", "SYSTEM_DEFAULT")], "0 SystemDefault");
    }

    #[test]
    fn a_variable_that_says_what_it_cannot_is_refused() {
        let domain = |given: &str| {
            format!(
                "the environment variable ROS_DOMAIN_ID={given} is not valid: it must be a whole number from \
                 0 to 232"
            )
        };
        check(&[("ROS_DOMAIN_ID", "233")], &domain("233"));
        check(&[("ROS_DOMAIN_ID", "-1")], &domain("-1"));
        check(&[("ROS_DOMAIN_ID", "home")], &domain("home"));
        check(
            &[("ROS_AUTOMATIC_DISCOVERY_RANGE", "LAN")],
            "the environment variable ROS_AUTOMATIC_DISCOVERY_RANGE=LAN is not valid: it must be SUBNET, \
             LOCALHOST, OFF or SYSTEM_DEFAULT",
        );
    }
}
