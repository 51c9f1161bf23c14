//! What the user said, and where: values by name with their provenance, later ones over earlier.

use std::collections::BTreeMap;

use super::depth::DepthLimits;
use super::error::ConfigError;
use super::origin::Origin;
use super::parameters::{self, Parameter};
use super::value::Value;

/// Characters of a name that are compared with those of parameters.
const MOST_NAME_CHARS: usize = 64;

/// What was given, by name; the last one given holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(BTreeMap<String, (Value, Origin)>);

/// The node or the camera that a parameter name belongs to.
#[derive(Clone, Debug)]
pub enum Ownership {
    /// A parameter of this node, or one camera's.
    Ours,
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
    pub fn place(name: &str, origin: &Origin) -> Result<Ownership, ConfigError> {
        // Which cameras there are is known when everything has been read.
        if parameters::find(name).is_some() || parameters::find_of_camera(name).is_some() {
            return Ok(Ownership::Ours);
        }
        if name.starts_with("qos_overrides.") {
            return Ok(Ownership::Ignored);
        }
        let (distance, nearest) = nearest_name(name);
        // Two edits turn any word into any other of three letters.
        let is_slip = distance <= 2 && 2 * distance < nearest.len();
        if origin.is_shared() && !is_slip {
            return Ok(Ownership::Foreign(format!(
                "{origin}: ignored `{name}`, which is not a parameter of this node"
            )));
        }
        Err(ConfigError::Unknown { origin: origin.clone(), name: name.into(), nearest })
    }

    /// Takes `value` for the parameter `name` in place of an earlier one. [`Values::new`] checks both.
    pub fn set(&mut self, name: &str, value: Value, origin: Origin) {
        self.0.insert(name.to_owned(), (value, origin));
    }

    /// The value given for `name`, unchecked, and where.
    pub fn get(&self, name: &str) -> Option<(&Value, &Origin)> {
        self.0.get(name).map(|(value, origin)| (value, origin))
    }
}

/// The parameter name with the fewest edits to `name`, and how many.
fn nearest_name(name: &str) -> (usize, String) {
    // A name of any length may come, and time and memory go with its length.
    let name = name.char_indices().nth(MOST_NAME_CHARS).map_or(name, |(end, _)| &name[..end]);
    let edits = |to: String| (strsim::damerau_levenshtein(name, &to), to);
    let camera = name.split_once('.').map(|(camera, _)| camera);
    let of_camera = camera.into_iter().flat_map(|camera| {
        parameters::per_camera().map(move |parameter| format!("{camera}.{}", parameter.name))
    });
    let names = parameters::all().map(|parameter| parameter.name.to_owned());
    names.chain(of_camera).map(edits).min().unwrap_or_default()
}

/// The value of every parameter, each in its type and within its bounds; `front.max_rate` and the like for
/// every camera that has a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    values: BTreeMap<String, (Value, Origin)>,
    passed_over: Vec<String>,
}

impl Values {
    /// Checks `settings` and adds the defaults.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], [`ConfigError::Required`] or [`ConfigError::NoCamera`].
    pub fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let (mut values, mut passed_over) = (BTreeMap::new(), Vec::new());
        for parameter in parameters::all() {
            let given = settings.get(parameter.name).map(|(value, origin)| (value.clone(), origin.clone()));
            let default = || parameter.default_value().map(|value| (value, Origin::Default));
            let lacking = || ConfigError::Required { name: parameter.name.to_owned() };
            let (given, origin) = given.or_else(default).ok_or_else(lacking)?;
            let value = checked(parameter, parameter.name, &given, &origin)?;
            values.insert(parameter.name.to_owned(), (value, origin));
        }
        if let (Some((Value::Double(min), _)), Some((Value::Double(max), origin))) =
            (values.get("min_depth"), values.get("max_depth"))
        {
            let range = DepthLimits::check(*min, *max);
            range.map_err(|reason| invalid("max_depth", &Value::Double(*max), origin, reason))?;
        }
        let cameras = match values.get("cameras") {
            Some((Value::StringArray(names), _)) => names.clone(),
            _ => Vec::new(),
        };
        for camera in &cameras {
            for parameter in parameters::per_camera() {
                let name = format!("{camera}.{}", parameter.name);
                let own = settings.get(&name).map(|(value, origin)| (value.clone(), origin.clone()));
                let Some((given, origin)) = own.or_else(|| values.get(parameter.name).cloned()) else {
                    continue;
                };
                let value = checked(parameter, &name, &given, &origin)?;
                values.insert(name, (value, origin));
            }
        }
        for (name, (_, origin)) in settings.0.iter().filter(|(name, _)| !values.contains_key(*name)) {
            let error = ConfigError::NoCamera {
                origin: origin.clone(),
                name: name.clone(),
                cameras: cameras.clone(),
            };
            if !origin.is_shared() {
                return Err(error);
            }
            passed_over.push(format!("ignored: {error}"));
        }
        Ok(Self { values, passed_over })
    }

    /// Every parameter and its value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, (value, _))| (name.as_str(), value))
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).map(|(value, _)| value)
    }

    /// What was given in a file for many nodes and is for no camera here, for warnings.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The value of `name` as `read` understands it.
    pub(super) fn read<'a, T>(
        &'a self,
        name: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let undeclared = || ConfigError::Undeclared { name: name.to_owned() };
        let (value, origin) = self.values.get(name).ok_or_else(undeclared)?;
        let valid = || parameters::find(name).map(Parameter::valid).unwrap_or_default();
        read(value).ok_or_else(|| invalid(name, value, origin, valid()))
    }
}

fn checked(parameter: &Parameter, name: &str, given: &Value, origin: &Origin) -> Result<Value, ConfigError> {
    parameter.check(given).map_err(|reason| invalid(name, given, origin, reason))
}

fn invalid(name: &str, given: &Value, origin: &Origin, reason: String) -> ConfigError {
    let given = format!("{given} ({})", given.type_name());
    ConfigError::Invalid { origin: origin.clone(), name: name.to_owned(), given, reason }
}
