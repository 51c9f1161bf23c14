//! The node in the ROS graph: the only code that knows ROS. [`start`] comes before there is a node, [`wire`]
//! is what it sends and receives.

pub mod camera;
pub mod checks;
mod context;
mod delivery;
pub mod diagnostics;
mod discovery;
mod endpoints;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod node;
pub mod parameters;
mod place;
mod qos;
mod rosout;
pub mod services;
pub mod start;
mod watch;
mod watchdog;
pub mod wire;

pub use camera::{CameraInput, CameraTopics};
pub use node::{HeadOutputs, NodeConfig, RosNode};
pub use parameters::{Declared, Parameters, Rule};
pub use services::{Answering, Services, TeachCall, TeachOutcome, TeachingServices};
pub use wire::publishers::{Legends, Publishers};
