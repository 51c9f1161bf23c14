#![warn(warnings)]

//! What a Node tells about its parameters besides their values.

use super::{ParameterDescriptor, ParameterStore, ParameterValue, SetParametersResult};

impl ParameterStore {
  /// Adds descriptors. If a name has more than one, the last wins.
  pub fn described(mut self, descriptors: impl IntoIterator<Item = ParameterDescriptor>) -> Self {
    let named = descriptors.into_iter().map(|d| (d.name.clone(), d));
    self.descriptors.extend(named);
    self
  }

  /// The descriptor of a parameter that has this value.
  pub(super) fn descriptor(&self, name: &str, value: &ParameterValue) -> ParameterDescriptor {
    let of_value = ParameterDescriptor::from_value(name, value);
    match self.descriptors.get(name) {
      Some(descriptor) => ParameterDescriptor {
        param_type: of_value.param_type,
        ..descriptor.clone()
      },
      None => of_value,
    }
  }

  /// Setting a read-only parameter to what it is changes nothing, and is no
  /// error: that is how a file of parameters is loaded.
  pub(super) fn check_read_only(&self, name: &str, value: &ParameterValue) -> SetParametersResult {
    let is_read_only = self.descriptors.get(name).is_some_and(|d| d.read_only);
    if is_read_only && self.get(name).as_ref() != Some(value) {
      return Err(format!("Parameter '{name}' is read-only."));
    }
    Ok(())
  }
}
