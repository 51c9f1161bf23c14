//! Why a configuration is refused.

use std::path::PathBuf;

use super::origin::Origin;

/// A configuration that the node does not start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A parameter without a default that was not given.
    #[error("{}", lacking(name))]
    Required {
        /// The parameter.
        name: String,
    },

    /// The configuration reads a parameter that the table lacks.
    #[error("the configuration reads `{name}`, but there is no such parameter: this is a bug in pixio_node")]
    Undeclared {
        /// The name that was read.
        name: String,
    },

    /// No parameter has this name.
    #[error("{origin}: there is no parameter `{name}`; the nearest valid name is `{nearest}`")]
    Unknown {
        /// Where the value was given.
        origin: Origin,
        /// The name.
        name: String,
        /// The parameter that was probably meant.
        nearest: String,
    },

    /// A parameter of a camera that does not exist.
    #[error("{origin}: `{name}` is for a camera that `cameras` does not name: {}", named(cameras))]
    NoCamera {
        /// Where the value was given.
        origin: Origin,
        /// As it was given.
        name: String,
        /// The cameras that there are.
        cameras: Vec<String>,
    },

    /// A parameter cannot have this value.
    #[error("{origin}: `{name}` cannot be {given}: {reason}")]
    Invalid {
        /// Where the value was given.
        origin: Origin,
        /// The parameter.
        name: String,
        /// What was given, and its type.
        given: String,
        /// Why not, and what is valid.
        reason: String,
    },

    /// The text is not a valid value of the parameter.
    #[error("{origin}: `{name}`: {reason}")]
    NoValue {
        /// Where the value was given.
        origin: Origin,
        /// The parameter.
        name: String,
        /// Why the value is not valid.
        reason: String,
    },

    /// A parameter file that cannot be read.
    #[error("cannot read the parameter file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A parameter file that is not YAML.
    #[error("{}:{line}: not valid YAML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },

    /// A parameter file that is YAML, but not of the form that ROS knows.
    #[error("{}: {reason}; the form is `/**: ros__parameters: NAME: VALUE`", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is amiss.
        reason: String,
    },
}

/// How to give the parameter `name`, which has no default.
fn lacking(name: &str) -> String {
    match name {
        "model" => "no model is given: use --model DIR, -p model:=DIR, or model: DIR in a parameter file. \
         DIR is a folder with config.json and model.safetensors, a Hugging Face id that is in the local \
         cache, or random:tiny for a dry run with random weights"
            .to_owned(),
        _ => format!("no `{name}` is given: use -p {name}:=VALUE, or {name}: VALUE in a parameter file"),
    }
}

fn named(cameras: &[String]) -> String {
    if cameras.is_empty() { "it is []".into() } else { format!("they are {}", cameras.join(", ")) }
}
