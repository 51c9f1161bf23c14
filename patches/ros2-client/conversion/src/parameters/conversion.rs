#![warn(warnings)]
//! Values in the type that their parameter has, before the rules see them.

use super::{Parameter, ParameterStore, ParameterValue};
use crate::node_options::ParameterConverter;

impl ParameterStore {
  /// Has `converter` look at every value that is set from now on.
  pub(crate) fn converting(self, converter: Option<Box<ParameterConverter>>) -> Self {
    Self { converter, ..self }
  }

  pub(super) fn converted(&self, name: &str, value: ParameterValue) -> ParameterValue {
    match &self.converter {
      Some(converter) => converter(name, value),
      None => value,
    }
  }

  pub(super) fn all_converted(&self, parameters: Vec<Parameter>) -> Vec<Parameter> {
    let converted = |Parameter { name, value }: Parameter| Parameter {
      value: self.converted(&name, value),
      name,
    };
    parameters.into_iter().map(converted).collect()
  }
}
