//! Names of the node, its topics and services.

/// A name that ROS does not allow.
#[derive(Debug, thiserror::Error)]
#[error("{name:?} is not a ROS name")]
pub struct NameError {
    /// As given.
    pub name: String,
}

/// The node's own name and its remap rules.
#[derive(Clone, Debug, Default)]
pub struct Names {
    namespace: String,
    node: String,
    remaps: Vec<(String, String)>,
}

impl Names {
    /// A node `node` in `namespace`, with `remaps` of expanded names.
    pub fn new(namespace: &str, node: &str, remaps: Vec<(String, String)>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            node: node.to_owned(),
            remaps,
        }
    }

    /// Absolute namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Name of the node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Namespace and name.
    pub fn fully_qualified(&self) -> String {
        format!("{}/{}", self.namespace.trim_end_matches('/'), self.node)
    }

    /// Expands and remaps `name`.
    ///
    /// # Errors
    /// A name that ROS does not allow.
    pub fn resolve(&self, name: &str) -> Result<String, NameError> {
        let expanded = self.expand(name);
        let remapped = self.remaps.iter().find(|(from, _)| self.expand(from) == expanded);
        Ok(remapped.map_or(expanded, |(_, to)| self.expand(to)))
    }

    fn expand(&self, name: &str) -> String {
        match name.strip_prefix('~') {
            Some(rest) => self.fully_qualified() + rest,
            None if name.starts_with('/') => name.to_owned(),
            None => format!("{}/{name}", self.namespace.trim_end_matches('/')),
        }
    }
}
