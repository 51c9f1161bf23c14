//! What a start says about ROS, before there is a node: arguments, names, the environment and the network
//! interface.

pub mod apart;
pub mod args;
pub mod environment;
pub mod interface;
pub mod names;
