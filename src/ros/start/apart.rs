//! Outputs go to topics of their own: remap rules must not lead two to one, or one to a topic of the graph.

use std::collections::HashMap;

use super::names::{NameError, Names};

/// Topics that every node has, or that say something of all.
const OF_THE_GRAPH: [&str; 4] = ["/clock", "/rosout", "/parameter_events", "/diagnostics"];

/// An output that cannot go where it is remapped to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApartError {
    /// It has no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It would go to a topic of the graph.
    #[error("{output} is remapped to {topic}, which is for something else; remap it to a topic of its own")]
    OfTheGraph {
        /// As the node calls it.
        output: String,
        /// What it is remapped to.
        topic: String,
    },
    /// It would go where another one goes.
    #[error("{first} and {second} both go to {topic}; remap one of them to a topic of its own")]
    Twice {
        /// As the node calls it.
        first: String,
        /// The other one.
        second: String,
        /// What both are remapped to.
        topic: String,
    },
}

/// Whether `names` leads each of `outputs`, as the node calls them, to a topic of its own.
///
/// # Errors
/// The first one that is not led there.
pub fn apart(names: &Names, outputs: impl IntoIterator<Item = String>) -> Result<(), ApartError> {
    let diagnostics = names.resolve("/diagnostics")?;
    let mut taken: HashMap<String, String> = HashMap::new();
    for output in outputs {
        let topic = names.resolve(&output)?;
        if OF_THE_GRAPH.contains(&topic.as_str()) || topic == diagnostics {
            return Err(ApartError::OfTheGraph { output, topic });
        }
        if let Some(first) = taken.insert(topic.clone(), output.clone()) {
            return Err(ApartError::Twice { first, second: output, topic });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::args;
    use super::*;

    fn check(rules: &[&str], expect: &str) {
        let rules: Vec<_> = rules.iter().map(|rule| args::remap(rule).unwrap()).collect();
        let names = Names::new("pixio_node", &rules).unwrap();
        let outputs = ["~/features", "~/embedding", "~/depth/image"].map(str::to_owned);
        let outcome = apart(&names, outputs).map_or_else(|err| err.to_string(), |()| "apart".into());
        assert_eq!(outcome, expect, "{rules:?}");
    }

    #[test]
    fn outputs_go_to_topics_of_their_own() {
        check(&[], "apart");
        check(&["~/features:=/tokens", "~/embedding:=features"], "apart");
        check(&["~/features:=/diagnostics/tokens", "/diagnostics:=/elsewhere"], "apart");
        for topic in ["/clock", "/rosout", "/parameter_events", "/diagnostics"] {
            check(
                &[&format!("~/features:={topic}")],
                &format!(
                    "~/features is remapped to {topic}, which is for something else; remap it to a topic of \
                     its own"
                ),
            );
        }
        check(
            &["~/embedding:=/elsewhere", "/diagnostics:=/elsewhere"],
            "~/embedding is remapped to /elsewhere, which is for something else; remap it to a topic of its \
             own",
        );
        check(
            &["~/embedding:=/x", "~/depth/image:=/x"],
            "~/embedding and ~/depth/image both go to /x; remap one of them to a topic of its own",
        );
        check(
            &["~/embedding:=~/features"],
            "~/features and ~/embedding both go to /pixio_node/features; remap one of them to a topic of its \
             own",
        );
    }
}
