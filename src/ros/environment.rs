//! What the environment says about DDS.

/// The ROS variables that this node heeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Environment {
    /// `ROS_DOMAIN_ID`, 0 to 232; 0 when unset.
    pub domain_id: u16,
    /// `ROS_AUTOMATIC_DISCOVERY_RANGE`; localhost also when `ROS_LOCALHOST_ONLY` is 1.
    pub discovery: Discovery,
}

/// How far the node looks for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// The subnet; what ROS does when nothing is set.
    Subnet,
    /// This machine.
    Localhost,
    /// Not at all. DDS here cannot do without: it is kept to this machine, with a warning.
    Off,
    /// Whatever the middleware does by itself.
    SystemDefault,
}

/// A variable that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {name}={given} is not valid: it must be {valid}")]
pub struct EnvironmentError {
    /// The variable.
    pub name: &'static str,
    /// What it says.
    pub given: String,
    /// What it may say.
    pub valid: &'static str,
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
            Some(text) => text.parse().ok().filter(|id| *id <= MAX_DOMAIN_ID).ok_or(EnvironmentError {
                name: "ROS_DOMAIN_ID",
                given: text,
                valid: "a whole number from 0 to 232",
            })?,
        };
        let discovery = match given("ROS_AUTOMATIC_DISCOVERY_RANGE") {
            // The older variable goes first, as in rcl.
            _ if given("ROS_LOCALHOST_ONLY").as_deref() == Some("1") => Discovery::Localhost,
            None => Discovery::Subnet,
            Some(word) => match word.to_ascii_uppercase().as_str() {
                "SUBNET" => Discovery::Subnet,
                "LOCALHOST" => Discovery::Localhost,
                "OFF" => Discovery::Off,
                "SYSTEM_DEFAULT" => Discovery::SystemDefault,
                _ => {
                    return Err(EnvironmentError {
                        name: "ROS_AUTOMATIC_DISCOVERY_RANGE",
                        given: word,
                        valid: "SUBNET, LOCALHOST, OFF or SYSTEM_DEFAULT",
                    });
                }
            },
        };
        Ok(Self { domain_id, discovery })
    }

    /// Whether only loopback is to be used.
    pub fn is_loopback_only(&self) -> bool {
        matches!(self.discovery, Discovery::Localhost | Discovery::Off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expect: &str) {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        };
        let said = match Environment::read(&get) {
            Ok(Environment { domain_id, discovery }) => format!("{domain_id} {discovery:?}"),
            Err(err) => err.to_string(),
        };
        assert_eq!(said, expect);
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
                "the environment variable ROS_DOMAIN_ID={given} is not valid: it must be a whole number from 0 to 232"
            )
        };
        check(&[("ROS_DOMAIN_ID", "233")], &domain("233"));
        check(&[("ROS_DOMAIN_ID", "-1")], &domain("-1"));
        check(&[("ROS_DOMAIN_ID", "home")], &domain("home"));
        check(
            &[("ROS_AUTOMATIC_DISCOVERY_RANGE", "LAN")],
            "the environment variable ROS_AUTOMATIC_DISCOVERY_RANGE=LAN is not valid: it must be SUBNET, LOCALHOST, OFF or SYSTEM_DEFAULT",
        );
    }
}
