//! The ROS edge: the only code that knows ROS.

pub mod args;
mod calibration;
pub mod camera;
pub mod checks;
mod context;
mod delivery;
pub mod diagnostics;
mod discovery;
pub mod edge;
pub mod environment;
pub mod interface;
pub mod messages;
pub mod names;
pub mod parameters;
mod place;
pub mod publishers;
mod qos;
mod rosout;
pub mod services;
mod watch;
mod watchdog;

pub use camera::{Camera, CameraTopics};
pub use edge::{Edge, Made, Options, Services};
pub use parameters::{Declared, Parameters, Rule};
pub use publishers::Publishers;
