//! Parameter values, of the types that ROS has.

use std::fmt;
use std::num::ParseIntError;

use super::yaml::{Scalar, Yaml};

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// true or false.
    Bool(bool),
    /// 64-bit whole number.
    Integer(i64),
    /// 64-bit float.
    Double(f64),
    /// UTF-8 text.
    String(String),
    /// Bytes; only ROS messages carry them, YAML cannot say them.
    ByteArray(Vec<u8>),
    /// Several of [`Value::Bool`].
    BoolArray(Vec<bool>),
    /// Several of [`Value::Integer`].
    IntegerArray(Vec<i64>),
    /// Several of [`Value::Double`].
    DoubleArray(Vec<f64>),
    /// Several of [`Value::String`]; an empty YAML list is one of these.
    StringArray(Vec<String>),
}

impl Value {
    /// The type's name as ROS spells it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Integer(_) => "integer",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::ByteArray(_) => "byte_array",
            Self::BoolArray(_) => "bool_array",
            Self::IntegerArray(_) => "integer_array",
            Self::DoubleArray(_) => "double_array",
            Self::StringArray(_) => "string_array",
        }
    }

    /// Whether it is a list without an item.
    pub fn is_empty_list(&self) -> bool {
        match self {
            Self::ByteArray(values) => values.is_empty(),
            Self::BoolArray(values) => values.is_empty(),
            Self::IntegerArray(values) => values.is_empty(),
            Self::DoubleArray(values) => values.is_empty(),
            Self::StringArray(values) => values.is_empty(),
            Self::Bool(_) | Self::Integer(_) | Self::Double(_) | Self::String(_) => false,
        }
    }

    /// Reads a YAML scalar or list.
    ///
    /// # Errors
    /// What a ROS parameter cannot be: nothing, a mapping, a list in a list or of several types.
    pub fn from_yaml(yaml: &Yaml) -> Result<Self, String> {
        match yaml {
            Yaml::Scalar(scalar) => Self::from_scalar(scalar),
            Yaml::Sequence(items) => {
                let items: Vec<Self> = items.iter().map(Self::from_yaml).collect::<Result<_, _>>()?;
                array(&items).ok_or_else(|| "a list must hold values of one type".into())
            }
            Yaml::Mapping(_) => Err("a mapping is not a value".into()),
        }
    }

    fn from_scalar(scalar: &Scalar) -> Result<Self, String> {
        let text = scalar.text.as_str();
        if scalar.is_null() {
            return Err("there is no value; an empty string is ''".into());
        }
        if !scalar.is_plain {
            return Ok(Self::String(text.into()));
        }
        match text {
            "true" | "True" | "TRUE" => return Ok(Self::Bool(true)),
            "false" | "False" | "FALSE" => return Ok(Self::Bool(false)),
            _ => {}
        }
        match (integer(text), double(text)) {
            (Some(Ok(value)), _) => Ok(Self::Integer(value)),
            (Some(Err(_)), _) => Err(format!("{text} does not fit a 64-bit integer")),
            (None, Some(value)) => Ok(Self::Double(value)),
            (None, None) => Ok(Self::String(text.into())),
        }
    }
}

/// A text that is written as a whole number, and the number if 64 bits hold it. A leading zero makes it text:
/// it would be octal to some who read it, and decimal to others.
fn integer(text: &str) -> Option<Result<i64, ParseIntError>> {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) if text.starts_with('-') => ("-", digits),
        Some(digits) => ("", digits),
        None => ("", text),
    };
    let (radix, digits) = match digits.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None => (10, digits),
    };
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    let is_octal = radix == 10 && digits.len() > 1 && digits.starts_with('0');
    (is_number && !is_octal).then(|| i64::from_str_radix(&format!("{sign}{digits}"), radix))
}

/// A text that is written as a number with a point or an exponent, or as `.inf` or `.nan`.
fn double(text: &str) -> Option<f64> {
    let (sign, size) = match text.strip_prefix(['-', '+']) {
        Some(size) if text.starts_with('-') => (-1.0, size),
        Some(size) => (1.0, size),
        None => (1.0, text),
    };
    if [".inf", ".Inf", ".INF"].contains(&size) {
        return Some(sign * f64::INFINITY);
    }
    if [".nan", ".NaN", ".NAN"].contains(&text) {
        return Some(f64::NAN);
    }
    let is_number = size.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && size.chars().all(|c| c.is_ascii_digit() || ".eE+-".contains(c))
        && size.contains(['.', 'e', 'E']);
    size.parse::<f64>().ok().filter(|_| is_number).map(|value| sign * value)
}

fn array(items: &[Value]) -> Option<Value> {
    fn all<T>(items: &[Value], read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
        items.iter().map(read).collect()
    }
    let text = |item: &Value| {
        if let Value::String(text) = item { Some(text.clone()) } else { None }
    };
    let flag = |item: &Value| {
        if let Value::Bool(value) = item { Some(*value) } else { None }
    };
    let whole = |item: &Value| {
        if let Value::Integer(value) = item { Some(*value) } else { None }
    };
    let real = |item: &Value| match item {
        Value::Double(value) => Some(*value),
        Value::Integer(value) => Some(*value as f64),
        _ => None,
    };
    all(items, text)
        .map(Value::StringArray)
        .or_else(|| all(items, flag).map(Value::BoolArray))
        .or_else(|| all(items, whole).map(Value::IntegerArray))
        .or_else(|| all(items, real).map(Value::DoubleArray))
}

/// As it would stand in YAML, strings quoted, so that 1 and "1" look different.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value:?}"),
            Self::String(text) => write!(f, "{text:?}"),
            Self::ByteArray(values) => write!(f, "{values:?}"),
            Self::BoolArray(values) => write!(f, "{values:?}"),
            Self::IntegerArray(values) => write!(f, "{values:?}"),
            Self::DoubleArray(values) => write!(f, "{values:?}"),
            Self::StringArray(values) => write!(f, "{values:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    fn check(yaml: &str, expect: &str) {
        let yaml = yaml::parse(yaml).unwrap();
        let answer = match Value::from_yaml(&yaml) {
            Ok(value) => format!("{} {value}", value.type_name()),
            Err(reason) => reason,
        };
        assert_eq!(answer, expect);
    }

    #[test]
    fn yaml_scalars_and_lists_become_values_of_ros_types() {
        check("true", "bool true");
        check("-3", "integer -3");
        check("3.0", "double 3.0");
        check("1e3", "double 1000.0");
        check("1.", "double 1.0");
        check("-.5", "double -0.5");
        check("-.inf", "double -inf");
        check("0x10", "integer 16");
        check("256x256", "string \"256x256\"");
        check("010", "string \"010\"");
        check("inf", "string \"inf\"");
        check("1.2.3", "string \"1.2.3\"");
        check("e5", "string \"e5\"");
        check("off", "string \"off\"");
        check("'3'", "string \"3\"");
        check("[]", "string_array []");
        check("[true, false]", "bool_array [true, false]");
        check("[1, 2]", "integer_array [1, 2]");
        check("[1, 2.5]", "double_array [1.0, 2.5]");
        check("!!python/tuple [left, right]", "string_array [\"left\", \"right\"]");
        check("!metres 4", "integer 4");
    }

    #[test]
    fn what_a_parameter_cannot_be_is_refused() {
        check("", "there is no value; an empty string is ''");
        check("[1, a]", "a list must hold values of one type");
        check("[[1], [2]]", "a list must hold values of one type");
        check("{a: 1}", "a mapping is not a value");
        check("18446744073709551615", "18446744073709551615 does not fit a 64-bit integer");
    }
}
