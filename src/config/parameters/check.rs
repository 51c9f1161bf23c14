//! What a parameter may be: the check of a value, and the words for it in errors and help.

use super::{Kind, Parameter};
use crate::config::choices::{Device, NetworkInterface};
use crate::config::sizes;
use crate::config::token::check_token;
use crate::config::value::Value;
use crate::config::yaml::Yaml;

impl Parameter {
    /// `value` in the type of this parameter: a whole number becomes a double where one is due, a number or a
    /// boolean becomes text where the parameter is text, and the words that ROS reads as booleans become
    /// booleans.
    ///
    /// # Errors
    /// Why `value` will not do.
    pub fn check(&self, value: &Value) -> Result<Value, String> {
        let wrong = || Err(format!("valid is {}", self.valid()));
        match (&self.kind, value) {
            (Kind::Bool, Value::Bool(_)) => Ok(value.clone()),
            (Kind::Bool, Value::String(word)) => bool_from_word(word).map(Value::Bool).map_or_else(wrong, Ok),
            (Kind::Integer(min, max), Value::Integer(n)) if (min..=max).contains(&n) => Ok(value.clone()),
            (Kind::Double(min, max), Value::Double(x)) if (min..=max).contains(&x) => Ok(value.clone()),
            (Kind::Double(..), Value::Integer(n)) => self.check(&Value::Double(*n as f64)),
            (Kind::Choice(words), Value::String(word)) if words().contains(&word.as_str()) => {
                Ok(value.clone())
            }
            // YAML 1.1 reads `off` as a boolean, and with it most of what sets ROS parameters.
            (Kind::Choice(words), Value::String(word))
                if words().contains(&"off") && bool_from_word(word) == Some(false) =>
            {
                Ok(Value::String("off".into()))
            }
            // What reads a text as YAML has made one of these of it.
            (Kind::Choice(_) | Kind::Text(..), Value::Bool(_) | Value::Integer(_) | Value::Double(_)) => {
                self.check(&Value::String(value.to_string()))
            }
            (Kind::Text(_, valid, check), Value::String(text)) => match check(text) {
                Ok(()) => Ok(value.clone()),
                Err(reason) if reason.is_empty() => wrong(),
                Err(reason) => Err(format!("{reason}; valid is {valid}")),
            },
            (Kind::WordOrInteger(word, ..), Value::String(text)) if text == word => Ok(value.clone()),
            (Kind::WordOrInteger(_, min, max), Value::Integer(n)) if (min..=max).contains(&n) => {
                Ok(value.clone())
            }
            (Kind::Names(_), Value::StringArray(names)) => names_of(names)
                .map(Value::StringArray)
                .map_err(|reason| format!("{reason}; valid is {}", self.valid())),
            (Kind::Names(_), Value::String(text)) => self.check(&names_from_text(text)),
            // An empty list has no type.
            (Kind::Names(_), value) if value.is_empty_list() => Ok(Value::StringArray(Vec::new())),
            _ => wrong(),
        }
    }

    /// What it may be, in words.
    pub fn valid(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        match &self.kind {
            Kind::Bool => "true or false".into(),
            Kind::Integer(min, max) => format!("a whole number from {min} to {max}{unit}"),
            Kind::Double(min, max) => format!("a number from {min} to {max}{unit}"),
            Kind::Choice(words) => match words().split_last() {
                Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
                _ => words().concat(),
            },
            Kind::Text(_, valid, _) => (*valid).into(),
            Kind::WordOrInteger(word, min, i64::MAX) => format!("{word} or a whole number from {min}"),
            Kind::WordOrInteger(word, min, max) => format!("{word} or a whole number from {min} to {max}"),
            Kind::Names(_) => "a list of names of letters, digits and single underscores, each once".into(),
        }
    }

    /// What stands for a value in the help: the words themselves where there are a few.
    pub fn value_name(&self) -> String {
        match self.kind {
            Kind::Bool => "true|false".into(),
            Kind::Integer(..) | Kind::WordOrInteger(..) => "N".into(),
            Kind::Double(..) => "X".into(),
            Kind::Choice(words) => words().join("|"),
            Kind::Text(name, ..) | Kind::Names(name) => name.into(),
        }
    }

    /// What was typed for this parameter, in its type if it can be; [`Self::check`] says the rest.
    pub fn value_from_text(&self, text: &str) -> Value {
        let string = || Value::String(text.into());
        match self.kind {
            Kind::Bool => bool_from_word(text).map_or_else(string, Value::Bool),
            Kind::Integer(..) | Kind::WordOrInteger(..) => {
                text.parse().map_or_else(|_| string(), Value::Integer)
            }
            Kind::Double(..) => text.parse().map_or_else(|_| string(), Value::Double),
            Kind::Choice(_) | Kind::Text(..) => string(),
            Kind::Names(_) => match text.trim_matches(['[', ']']) {
                "" => Value::StringArray(Vec::new()),
                names => names_from_text(names),
            },
        }
    }

    /// What stands in a parameter file or behind `:=` for this parameter. Any scalar is text where the
    /// parameter is text, as it is written: a model's folder may be called 2.10.
    ///
    /// # Errors
    /// As [`Value::from_yaml`].
    pub fn value_from_yaml(&self, yaml: &Yaml) -> Result<Value, String> {
        let text = |yaml: &Yaml| match yaml {
            Yaml::Scalar(scalar) if !scalar.is_null() => Some(scalar.text.clone()),
            _ => None,
        };
        let value = match (&self.kind, yaml) {
            (Kind::Choice(_) | Kind::Text(..), yaml) => text(yaml).map(Value::String),
            (Kind::Names(_), Yaml::Sequence(items)) => {
                items.iter().map(text).collect::<Option<_>>().map(Value::StringArray)
            }
            _ => None,
        };
        value.map_or_else(|| Value::from_yaml(yaml), Ok)
    }

    /// The value that holds when none is given.
    pub fn default_value(&self) -> Option<Value> {
        self.default.map(|text| self.value_from_text(text))
    }
}

/// Names with commas between.
fn names_from_text(text: &str) -> Value {
    Value::StringArray(text.split(',').map(|name| name.trim().to_owned()).collect())
}

/// `names` when they can be parts of topic names and are all different. A launch file cannot say an empty
/// list and says one of an empty name.
fn names_of(names: &[String]) -> Result<Vec<String>, String> {
    let names: Vec<String> = names.iter().filter(|name| !name.is_empty()).cloned().collect();
    for (index, name) in names.iter().enumerate() {
        check_token(name)?;
        if names[..index].contains(name) {
            return Err(format!("`{name}` is there twice"));
        }
    }
    Ok(names)
}

/// The words that ROS parameter files may use for booleans.
fn bool_from_word(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" => Some(true),
        "false" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

pub(super) fn anything(_: &str) -> Result<(), String> {
    Ok(())
}

pub(super) fn given(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("it must not be empty".into()) } else { Ok(()) }
}

pub(super) fn device(text: &str) -> Result<(), String> {
    Device::from_text(text).map(drop).ok_or_else(String::new)
}

pub(super) fn network_interface(text: &str) -> Result<(), String> {
    NetworkInterface::from_text(text).map(drop).ok_or_else(String::new)
}

pub(super) fn ip_address(text: &str) -> Result<(), String> {
    text.parse::<std::net::IpAddr>().map(drop).map_err(|_| String::new())
}

pub(super) fn model_size(text: &str) -> Result<(), String> {
    sizes::model_size_from_text(text).map(drop)
}
