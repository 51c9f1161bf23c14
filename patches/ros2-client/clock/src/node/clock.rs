#![warn(warnings)]

//! Simulated time of a Node.

use std::sync::{Arc, Mutex};

use super::Node;
use crate::{
  builtin_interfaces::Time,
  context::DEFAULT_SUBSCRIPTION_QOS,
  error::CreateResult,
  names::{MessageTypeName, Name},
  pubsub::Subscription,
  ros_time::ROSTime,
};

/// The time that a Node has while its parameter `use_sim_time` is `true`.
/// Clones are the same clock.
#[derive(Clone)]
pub struct SimClock(Arc<Mutex<ROSTime>>);

impl Default for SimClock {
  /// Stands at zero, as [ROS time](https://design.ros2.org/articles/clock_and_time.html)
  /// does until it is told.
  fn default() -> Self {
    SimClock(Arc::new(Mutex::new(ROSTime::ZERO)))
  }
}

impl SimClock {
  /// The time it was last set to.
  pub fn now(&self) -> ROSTime {
    *self.0.lock().unwrap()
  }

  /// Sets the time, backwards too.
  pub fn set(&self, now: ROSTime) {
    *self.0.lock().unwrap() = now;
  }
}

impl Node {
  /// The simulated time of this Node.
  pub fn sim_clock(&self) -> SimClock {
    self.sim_time.clone()
  }

  /// What tells simulated time, where somebody needs it: a reader of `/clock`
  /// makes the Node known as one that follows it.
  pub(crate) fn clock_subscription(&mut self) -> CreateResult<Option<Subscription<Time>>> {
    let is_simulated = self.parameters.use_sim_time();
    if !is_simulated || !self.options().follow_clock {
      return Ok(None);
    }
    // The one field of a `rosgraph_msgs/Clock` is the time.
    let topic = self.create_topic(
      &Name::new("/", "clock").unwrap(),
      MessageTypeName::new("rosgraph_msgs", "Clock"),
      &DEFAULT_SUBSCRIPTION_QOS,
    )?;
    self.create_subscription(&topic, None).map(Some)
  }
}
