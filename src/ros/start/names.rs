//! Names of nodes, topics and services: expanded as ROS does it, then remapped.

use crate::config::check_token;

/// A name that ROS does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a valid {what}: {reason}")]
pub struct NameError {
    /// As it was given.
    pub name: String,
    /// What it should have named.
    pub what: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// What a remap rule replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `__node` or `__name`.
    Node,
    /// `__ns`.
    Namespace,
    /// A topic or a service.
    Any,
    /// `rostopic://`: a topic only.
    Topic,
    /// `rosservice://`: a service only.
    Service,
}

/// `[node:]from:=to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remap {
    /// The only node that it is for.
    pub node: Option<String>,
    /// What it replaces.
    pub target: Target,
    /// The name to replace; empty for [`Target::Node`] and [`Target::Namespace`].
    pub from: String,
    /// The name instead.
    pub to: String,
}

/// What the node is called, and the rules for what it calls things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    namespace: String,
    node: String,
    /// Remap rules for topics and services of this node; the first that fits applies, as in rcl.
    rules: Vec<Remap>,
}

impl Names {
    /// The names of the node that is called `default_node` unless a rule says otherwise.
    ///
    /// # Errors
    /// A rule with a name that ROS does not allow.
    pub fn new(default_node: &str, rules: &[Remap]) -> Result<Self, NameError> {
        let first = |target: Target, node: &str| {
            let fits =
                |rule: &&Remap| rule.target == target && rule.node.as_deref().is_none_or(|only| only == node);
            rules.iter().find(fits).map(|rule| rule.to.clone())
        };
        let node = first(Target::Node, default_node).unwrap_or_else(|| default_node.into());
        check_token(&node).map_err(|reason| error(&node, "node name", reason))?;
        let namespace = first(Target::Namespace, &node).unwrap_or_else(|| "/".into());
        if namespace != "/" {
            check_absolute(&namespace).map_err(|reason| error(&namespace, "namespace", reason))?;
        }
        let mut names = Self { namespace, node, rules: Vec::new() };
        for rule in rules.iter().filter(|rule| ![Target::Node, Target::Namespace].contains(&rule.target)) {
            let rule = Remap { from: names.expand(&rule.from)?, to: names.expand(&rule.to)?, ..rule.clone() };
            if rule.node.as_ref().is_none_or(|only| *only == names.node) {
                names.rules.push(rule);
            }
        }
        Ok(names)
    }

    /// `/`, or such as `/robot/front`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Without the namespace.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Namespace and node, such as `/robot/pixio_node`.
    pub fn fully_qualified(&self) -> String {
        format!("{}/{}", self.namespace.trim_end_matches('/'), self.node)
    }

    /// The node's name in logs, such as `robot.pixio_node`.
    pub fn logger(&self) -> String {
        self.fully_qualified().trim_start_matches('/').replace('/', ".")
    }

    /// The absolute name of the topic that the node calls `name`, after remapping.
    ///
    /// # Errors
    /// A name that ROS does not allow.
    pub fn resolve(&self, name: &str) -> Result<String, NameError> {
        self.remapped(name, Target::Topic)
    }

    /// As [`Names::resolve`], for a service.
    ///
    /// # Errors
    /// A name that ROS does not allow.
    pub fn resolve_service(&self, name: &str) -> Result<String, NameError> {
        self.remapped(name, Target::Service)
    }

    fn remapped(&self, name: &str, target: Target) -> Result<String, NameError> {
        let full = self.expand(name)?;
        let fits = |rule: &&Remap| rule.from == full && [Target::Any, target].contains(&rule.target);
        Ok(self.rules.iter().find(fits).map_or(full, |rule| rule.to.clone()))
    }

    fn expand(&self, name: &str) -> Result<String, NameError> {
        let invalid = |reason: String| error(name, "topic or service name", reason);
        let filled = name
            .replace("{node}", &self.node)
            .replace("{ns}", &self.namespace)
            .replace("{namespace}", &self.namespace);
        let full = match filled.strip_prefix('~') {
            Some("") => self.fully_qualified(),
            Some(rest) if rest.starts_with('/') => format!("{}{rest}", self.fully_qualified()),
            Some(_) => return Err(invalid("`/` must follow `~`".into())),
            None if filled.is_empty() => return Err(invalid("it is empty".into())),
            None if filled.starts_with('/') => filled,
            None => format!("{}/{filled}", self.namespace.trim_end_matches('/')),
        };
        check_absolute(&full).map_err(invalid)?;
        Ok(full)
    }
}

fn error(name: &str, what: &'static str, reason: String) -> NameError {
    NameError { name: name.into(), what, reason }
}

fn check_absolute(name: &str) -> Result<(), String> {
    let tokens = name.strip_prefix('/').ok_or("it must begin with `/`")?;
    tokens.split('/').try_for_each(check_token)
}

#[cfg(test)]
mod tests {
    use super::super::args;
    use super::*;

    /// Resolves `name` under the rules given as on the command line.
    fn check(rules: &[&str], name: &str, expect: &str) {
        let rules: Vec<Remap> = rules.iter().map(|rule| args::remap(rule).unwrap()).collect();
        let outcome = Names::new("pixio_node", &rules).and_then(|names| names.resolve(name));
        assert_eq!(outcome.unwrap_or_else(|err| err.to_string()), expect, "{rules:?}");
    }

    #[test]
    fn relative_and_private_names_expand() {
        check(&[], "image", "/image");
        check(&[], "/image", "/image");
        check(&[], "~/features", "/pixio_node/features");
        check(&[], "~", "/pixio_node");
        check(&["__ns:=/robot"], "image", "/robot/image");
        check(&["__ns:=/robot", "__node:=eye"], "~/features", "/robot/eye/features");
        check(
            &["__ns:=/robot"],
            "{node}/{ns}",
            "`{node}/{ns}` is not a valid topic or service name: there is nothing on one side of a `/`, or \
             nothing at all",
        );
        check(&["__name:=eye"], "{node}/x", "/eye/x");
        check(&["__ns:=/"], "image", "/image");
    }

    #[test]
    fn rules_match_what_both_sides_expand_to_and_the_first_one_applies() {
        check(&["image:=/camera/image_raw"], "image", "/camera/image_raw");
        check(&["image:=camera/image_raw", "__ns:=/robot"], "image", "/robot/camera/image_raw");
        check(&["/robot/image:=/cam", "__ns:=/robot"], "image", "/cam");
        check(&["/image:=/cam", "__ns:=/robot"], "image", "/robot/image");
        check(&["~/features:=tokens"], "~/features", "/tokens");
        check(&["/pixio_node/features:=~/tokens"], "~/features", "/pixio_node/tokens");
        check(&["image:=a", "image:=b"], "image", "/a");
        check(&["image:=b", "b:=c"], "image", "/b");
        check(&["__node:=a", "__node:=b"], "~/x", "/a/x");
        check(&["rostopic://image:=/cam"], "image", "/cam");
        check(&["rosservice://image:=/cam"], "image", "/image");
    }

    #[test]
    fn rules_for_other_nodes_do_not_apply() {
        check(&["other:image:=/cam"], "image", "/image");
        check(&["pixio_node:image:=/cam"], "image", "/cam");
        check(&["pixio_node:image:=/cam", "__node:=eye"], "image", "/image");
        check(&["eye:image:=/cam", "pixio_node:__node:=eye"], "image", "/cam");
        check(&["other:__ns:=/robot"], "image", "/image");
    }

    #[test]
    fn names_that_ros_does_not_allow_are_refused() {
        let topic =
            |name: &str, reason: &str| format!("`{name}` is not a valid topic or service name: {reason}");
        check(&[], "", &topic("", "it is empty"));
        check(&[], "a//b", &topic("a//b", "there is nothing on one side of a `/`, or nothing at all"));
        check(&[], "a/", &topic("a/", "there is nothing on one side of a `/`, or nothing at all"));
        check(&[], "my topic", &topic("my topic", "` ` is not a letter, a digit or `_`"));
        check(&[], "a/2b", &topic("a/2b", "`2b` begins with a digit"));
        check(&[], "a__b", &topic("a__b", "`a__b` has two underscores in a row"));
        check(&[], "~x", &topic("~x", "`/` must follow `~`"));
        check(&[], "a/~/b", &topic("a/~/b", "`~` is not a letter, a digit or `_`"));
        check(&["__ns:=robot"], "x", "`robot` is not a valid namespace: it must begin with `/`");
        check(
            &["__node:=my-node"],
            "x",
            "`my-node` is not a valid node name: `-` is not a letter, a digit or `_`",
        );
        check(&["image:=a b"], "x", &topic("a b", "` ` is not a letter, a digit or `_`"));
    }

    #[test]
    fn a_node_has_a_full_name_and_a_name_in_logs() {
        let names = Names::new("pixio_node", &[args::remap("__ns:=/robot/front").unwrap()]).unwrap();
        assert_eq!((names.namespace(), names.node()), ("/robot/front", "pixio_node"));
        assert_eq!(names.fully_qualified(), "/robot/front/pixio_node");
        assert_eq!(names.logger(), "robot.front.pixio_node");
        assert_eq!(
            names.resolve_service("~/get_parameters"),
            Ok("/robot/front/pixio_node/get_parameters".into())
        );
    }
}
