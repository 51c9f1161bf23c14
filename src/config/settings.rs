//! What the user said, and where: values by name with their provenance, later ones over earlier.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::error::ConfigError;
use super::parameters::{self, Parameter, TABLE};
use super::value::Value;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// An option of the command line, such as `--size`.
    Option(String),
    /// A `-p` of the ROS arguments, as it was typed.
    RosArgument(String),
    /// A parameter file.
    File {
        /// The file.
        path: PathBuf,
        /// The node key above the parameter, such as `/**`.
        key: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "the default"),
            Self::Option(option) => write!(f, "{option}"),
            Self::RosArgument(argument) => write!(f, "{argument}"),
            Self::File { path, key } => write!(f, "{} under {key}", path.display()),
        }
    }
}

impl Origin {
    /// Whether it speaks to many nodes, so that a name unknown here may be another node's.
    fn is_shared(&self) -> bool {
        match self {
            Self::File { key, .. } => key.rsplit('/').next().is_some_and(|node| node.contains('*')),
            Self::Default | Self::Option(_) | Self::RosArgument(_) => false,
        }
    }
}

/// What was given, by name; the last one given holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(BTreeMap<&'static str, (Value, Origin)>);

/// What became of a name.
#[derive(Clone, Debug)]
pub enum Place {
    /// A parameter of this node.
    Ours(&'static Parameter),
    /// Taken and not used: ROS tools set it on every node.
    Ignored,
    /// Most likely another node's; the text is for a warning.
    Foreign(String),
}

impl Settings {
    /// Looks up `name` as `origin` gave it.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`] when it is not a parameter and can hardly be another node's.
    pub fn place(name: &str, origin: &Origin) -> Result<Place, ConfigError> {
        if let Some(parameter) = parameters::find(name) {
            return Ok(Place::Ours(parameter));
        }
        if name.starts_with("qos_overrides.") {
            return Ok(Place::Ignored);
        }
        let (distance, nearest) = nearest_name(name);
        // Two edits turn any word into any other of three letters.
        let is_slip = distance <= 2 && 2 * distance < nearest.len();
        if origin.is_shared() && !is_slip {
            return Ok(Place::Foreign(format!(
                "{origin}: passed over `{name}`, which is no parameter of this node"
            )));
        }
        Err(ConfigError::Unknown { origin: origin.clone(), name: name.into(), nearest })
    }

    /// Takes `value` for `parameter` in place of an earlier one. [`Values::new`] checks it.
    pub fn set(&mut self, parameter: &'static Parameter, value: Value, origin: Origin) {
        self.0.insert(parameter.name, (value, origin));
    }

    /// The value given for `name`, unchecked, and where.
    pub fn get(&self, name: &str) -> Option<(&Value, &Origin)> {
        self.0.get(name).map(|(value, origin)| (value, origin))
    }
}

/// The parameter name with the fewest edits to `name`, and how many.
fn nearest_name(name: &str) -> (usize, &'static str) {
    let edits = |parameter: &Parameter| (strsim::damerau_levenshtein(name, parameter.name), parameter.name);
    TABLE.iter().map(edits).min().unwrap_or_default()
}

/// The value of every parameter, each in its type and within its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Values(BTreeMap<&'static str, (Value, Origin)>);

impl Values {
    /// Checks `settings` and adds the defaults.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] or [`ConfigError::NoModel`].
    pub fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let checked = TABLE.iter().map(|parameter| {
            let (given, origin) = match (settings.0.get(parameter.name), parameter.default_value()) {
                (Some(given), _) => given.clone(),
                (None, Some(default)) => (default, Origin::Default),
                (None, None) => return Err(ConfigError::NoModel),
            };
            let value = parameter.check(&given).map_err(|reason| ConfigError::Invalid {
                origin: origin.clone(),
                name: parameter.name,
                given: given.clone(),
                reason,
            })?;
            Ok((parameter.name, (value, origin)))
        });
        checked.collect::<Result<_, _>>().map(Self)
    }

    /// Every parameter and its value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, (value, _))| (*name, value))
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|(value, _)| value)
    }

    /// The value of `name` as `read` understands it.
    pub(super) fn read<'a, T>(
        &'a self,
        name: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let (value, origin) = self.0.get(name).ok_or(ConfigError::NoModel)?;
        read(value).ok_or_else(|| ConfigError::Invalid {
            origin: origin.clone(),
            name,
            given: value.clone(),
            reason: parameters::find(name).map(Parameter::valid).unwrap_or_default(),
        })
    }
}
