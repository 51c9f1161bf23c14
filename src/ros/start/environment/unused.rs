//! Variables that other nodes heed and this one does not: what that means here.

/// What speaks RTPS, as this node does.
const RTPS: [&str; 5] = [
    "rmw_fastrtps_cpp",
    "rmw_fastrtps_dynamic_cpp",
    "rmw_cyclonedds_cpp",
    "rmw_connextdds",
    "rmw_gurumdds_cpp",
];

/// Distributions in which `ros_discovery_info`, and with it the graph, is another than from Iron on.
const OLD_GRAPH: [&str; 4] = ["humble", "galactic", "foxy", "eloquent"];

/// What is asked of DDS security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// Nothing.
    Off,
    /// To be used among nodes that have it.
    Permissive,
    /// Not to run without it.
    Enforced,
}

impl Security {
    /// As rcl reads the variables.
    pub(super) fn read(given: &dyn Fn(&str) -> Option<String>) -> Self {
        let is = |name: &str, word: &str| given(name).as_deref() == Some(word);
        match (is("ROS_SECURITY_ENABLE", "true"), is("ROS_SECURITY_STRATEGY", "Enforce")) {
            (false, _) => Self::Off,
            (true, false) => Self::Permissive,
            (true, true) => Self::Enforced,
        }
    }
}

/// One text for each variable that asks for a feature that this node does not have.
pub(super) fn warnings(given: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(rmw) = given("RMW_IMPLEMENTATION").filter(|rmw| !RTPS.contains(&rmw.as_str())) {
        warnings.push(format!(
            "RMW_IMPLEMENTATION={rmw} is not used: this node speaks DDS (RTPS) and meets nodes with {}, {} \
             and the like, but none with {rmw}, unless a bridge connects the two",
            RTPS[0], RTPS[2]
        ));
    }
    if let Some(server) = given("ROS_DISCOVERY_SERVER") {
        warnings.push(format!(
            "ROS_DISCOVERY_SERVER={server} is not used: this node finds others by multicast and \
             ROS_STATIC_PEERS, and clients of a discovery server do not find it"
        ));
    }
    if let Some(distro) = given("ROS_DISTRO").filter(|distro| OLD_GRAPH.contains(&distro.as_str())) {
        warnings.push(format!(
            "ROS_DISTRO={distro}: topics can be exchanged with its nodes, but their tools do not list this \
             node, whose graph is that of Iron and later"
        ));
    }
    match Security::read(given) {
        Security::Permissive => warnings.push(
            "ROS_SECURITY_ENABLE=true is not used: this node takes part without DDS security, so nodes that \
             enforce it do not meet it"
                .to_owned(),
        ),
        Security::Off if given("ROS_SECURITY_STRATEGY").as_deref() == Some("Enforce") => warnings.push(
            "ROS_SECURITY_STRATEGY=Enforce does nothing, as in all of ROS, while ROS_SECURITY_ENABLE is not \
             true"
                .to_owned(),
        ),
        Security::Off | Security::Enforced => {}
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, EnvironmentError};

    fn read(variables: &[(&str, &str)]) -> Environment {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        };
        Environment::read(&get).unwrap()
    }

    /// One warning that begins so, or none.
    fn check(variables: &[(&str, &str)], expect: Option<&str>) {
        let Environment { warnings, .. } = read(variables);
        assert_eq!(warnings.len(), usize::from(expect.is_some()), "{warnings:?}");
        assert!(expect.is_none_or(|text| warnings[0].starts_with(text)), "{warnings:?}");
    }

    #[test]
    fn what_the_node_does_otherwise_is_one_warning_each() {
        check(&[("ROS_DISTRO", "jazzy"), ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")], None);
        check(&[("ROS_DISTRO", "rolling"), ("ROS_SECURITY_ENABLE", "false")], None);
        check(&[("ROS_DISTRO", "humble")], Some("ROS_DISTRO=humble: topics"));
        check(&[("RMW_IMPLEMENTATION", "rmw_zenoh_cpp")], Some("RMW_IMPLEMENTATION=rmw_zenoh_cpp is not"));
        check(&[("ROS_DISCOVERY_SERVER", "10.0.0.1:11811")], Some("ROS_DISCOVERY_SERVER=10.0.0.1:11811 is"));
        check(&[("ROS_SECURITY_ENABLE", "true")], Some("ROS_SECURITY_ENABLE=true is not used"));
        check(&[("ROS_SECURITY_STRATEGY", "Enforce")], Some("ROS_SECURITY_STRATEGY=Enforce does nothing"));
    }

    #[test]
    fn enforced_security_stops_the_start() {
        let security = |enable, strategy| {
            read(&[("ROS_SECURITY_ENABLE", enable), ("ROS_SECURITY_STRATEGY", strategy)]).allow()
        };
        assert_eq!(security("true", "Enforce"), Err(EnvironmentError::Security));
        assert_eq!(security("true", "Permissive"), Ok(()));
        assert_eq!(security("false", "Enforce"), Ok(()));
    }
}
