//! ROS parameters: our values to and from the library's, and who may change what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ros2_client::parameters::{NumericRange, ParameterDescriptor, ParameterType};
use ros2_client::{NodeOptions, ParameterValue};

use crate::config::{Descriptor, Range, Value};

/// Judges or carries out a change of the parameter `name`. The caller receives errors word for word.
pub type Rule = Box<dyn Fn(&str, &Value) -> Result<(), String> + Send + Sync>;

/// What a value for the parameter `name` is in the parameter's type; nothing where it cannot be that.
pub type Conversion = Box<dyn Fn(&str, &Value) -> Option<Value> + Send + Sync>;

/// A parameter of a node.
pub struct Declared {
    /// What it is called.
    pub name: String,
    /// Value at start.
    pub value: Value,
    /// What `ros2 param describe` tells.
    pub descriptor: Option<Descriptor>,
}

/// What a node declares, and what `ros2 param set` may do.
pub struct Parameters {
    /// Every parameter.
    pub declared: Vec<Declared>,
    /// A value in the type of its parameter, where it can be that.
    pub convert: Conversion,
    /// Whether a change is allowed.
    pub check: Rule,
    /// Carries out a change that `check` allows.
    pub apply: Rule,
}

/// Opens the parameters for changes. Until then the rules are not asked: the library also applies
/// them to the declared values, which are what the node was started with.
pub(super) struct ChangeGate(Arc<AtomicBool>);

impl ChangeGate {
    pub(super) fn open(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Parameters {
    /// Adds the parameters and their rules to `options`.
    pub(super) fn declare(self, options: NodeOptions) -> (NodeOptions, ChangeGate) {
        let is_open = Arc::new(AtomicBool::new(false));
        let declare = |options: NodeOptions, Declared { name, value, descriptor }| {
            let options = options.declare_parameter(&name, ros_from_ours(value));
            match descriptor {
                Some(descriptor) => options.describe_parameter(described(name, descriptor)),
                None => options,
            }
        };
        let options = self.declared.into_iter().fold(options, declare);
        let convert = self.convert;
        let options = options
            .parameter_converter(Box::new(move |name, value| converted(&convert, name, value)))
            .parameter_validator(gated(self.check, Arc::clone(&is_open)))
            .parameter_set_action(gated(self.apply, Arc::clone(&is_open)));
        (options, ChangeGate(is_open))
    }
}

type RosRule = Box<dyn Fn(&str, &ParameterValue) -> Result<(), String> + Send + Sync>;

fn gated(rule: Rule, is_open: Arc<AtomicBool>) -> RosRule {
    Box::new(move |name, value| {
        if !is_open.load(Ordering::Acquire) {
            return Ok(());
        }
        match ours_from_ros(value) {
            Some(value) => rule(name, &value),
            None => Err(format!("{name} cannot be unset")),
        }
    })
}

fn converted(convert: &Conversion, name: &str, value: ParameterValue) -> ParameterValue {
    let in_type = ours_from_ros(&value).and_then(|value| convert(name, &value));
    in_type.map_or(value, ros_from_ours)
}

fn described(name: String, descriptor: Descriptor) -> ParameterDescriptor {
    let Descriptor { description, constraints, range, is_read_only } = descriptor;
    ParameterDescriptor {
        name,
        // The library fills in that of the value.
        param_type: ParameterType::NotSet,
        description,
        additional_constraints: constraints,
        read_only: is_read_only,
        dynamic_typing: false,
        range: match range {
            None => NumericRange::NotSpecified,
            Some(Range::Integer(from_value, to_value)) => {
                NumericRange::IntegerRange { from_value, to_value, step: 1 }
            }
            // No step: every number between.
            Some(Range::Double(from_value, to_value)) => {
                NumericRange::FloatingPointRange { from_value, to_value, step: 0.0 }
            }
        },
    }
}

fn ros_from_ours(value: Value) -> ParameterValue {
    match value {
        Value::Bool(value) => ParameterValue::Boolean(value),
        Value::Integer(value) => ParameterValue::Integer(value),
        Value::Double(value) => ParameterValue::Double(value),
        Value::String(value) => ParameterValue::String(value),
        Value::ByteArray(values) => ParameterValue::ByteArray(values),
        Value::BoolArray(values) => ParameterValue::BooleanArray(values),
        Value::IntegerArray(values) => ParameterValue::IntegerArray(values),
        Value::DoubleArray(values) => ParameterValue::DoubleArray(values),
        Value::StringArray(values) => ParameterValue::StringArray(values),
    }
}

fn ours_from_ros(value: &ParameterValue) -> Option<Value> {
    match value.clone() {
        ParameterValue::NotSet => None,
        ParameterValue::Boolean(value) => Some(Value::Bool(value)),
        ParameterValue::Integer(value) => Some(Value::Integer(value)),
        ParameterValue::Double(value) => Some(Value::Double(value)),
        ParameterValue::String(value) => Some(Value::String(value)),
        ParameterValue::ByteArray(values) => Some(Value::ByteArray(values)),
        ParameterValue::BooleanArray(values) => Some(Value::BoolArray(values)),
        ParameterValue::IntegerArray(values) => Some(Value::IntegerArray(values)),
        ParameterValue::DoubleArray(values) => Some(Value::DoubleArray(values)),
        ParameterValue::StringArray(values) => Some(Value::StringArray(values)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_library() {
        let values = [
            Value::Bool(true),
            Value::Integer(-3),
            Value::Double(0.5),
            Value::String("auto".into()),
            Value::ByteArray(vec![1]),
            Value::BoolArray(vec![true, false]),
            Value::IntegerArray(vec![1, 2]),
            Value::DoubleArray(vec![0.5]),
            Value::StringArray(vec!["left".into(), "right".into()]),
        ];
        for value in values {
            assert_eq!(ours_from_ros(&ros_from_ours(value.clone())), Some(value));
        }
    }

    #[test]
    fn rules_are_asked_once_the_gate_is_open_and_nothing_can_be_unset() {
        let is_open = Arc::new(AtomicBool::new(false));
        let rule = gated(Box::new(|name, value| Err(format!("{name} {value:?}"))), Arc::clone(&is_open));
        assert_eq!(rule("size", &ParameterValue::Integer(1)), Ok(()));
        ChangeGate(is_open).open();
        assert_eq!(rule("size", &ParameterValue::Integer(1)), Err("size Integer(1)".into()));
        assert_eq!(rule("size", &ParameterValue::NotSet), Err("size cannot be unset".into()));
    }
}
