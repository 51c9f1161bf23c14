//! The ROS edge: the only code that knows ROS.
