//! Where a parameter's value comes from.

use std::fmt;
use std::path::PathBuf;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// An option of the command line, such as `--size`.
    Option(String),
    /// A `-p` of the ROS arguments, as it was typed.
    RosArgument(String),
    /// A parameter file.
    File {
        /// The file.
        path: PathBuf,
        /// The node key above the parameter, such as `/**`.
        key: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "the default"),
            Self::Option(option) => write!(f, "{option}"),
            Self::RosArgument(argument) => write!(f, "{argument}"),
            Self::File { path, key } => write!(f, "{} under {key}", path.display()),
        }
    }
}

impl Origin {
    /// Whether it speaks to many nodes, so that a name unknown here may be another node's.
    pub(super) fn is_shared(&self) -> bool {
        match self {
            Self::File { key, .. } => key.rsplit('/').next().is_some_and(|node| node.contains('*')),
            Self::Default | Self::Option(_) | Self::RosArgument(_) => false,
        }
    }
}
