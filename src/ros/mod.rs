//! The ROS edge: the only code that knows ROS.

pub mod args;
pub mod environment;
pub mod names;
