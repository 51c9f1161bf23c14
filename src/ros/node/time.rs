//! The time on `/clock`, as of a bag or a simulator.

use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use ros2_client::{ROSTime, Subscription};

use super::RosNode;
use crate::config::Reliability;
use crate::ros::endpoints::Role;
use crate::ros::qos;
use crate::ros::wire::messages::Time;
use crate::runtime::clock::Clock;

impl RosNode {
    /// Has `clock` follow `/clock`.
    ///
    /// # Errors
    /// A remap rule that leads to an impossible name, or DDS out of resources.
    pub fn follow_time(&mut self, clock: Arc<Clock>) -> anyhow::Result<()> {
        let name = self.names.resolve("/clock")?;
        let qos = qos::camera(Reliability::BestEffort);
        let times: Subscription<Time> =
            self.subscription(&name, ("rosgraph_msgs", "Clock"), &qos, Role::Input("time"))?;
        let stamps = self.node.sim_clock();
        self.executor
            .spawn(async move {
                let times = times.async_stream();
                pin_mut!(times);
                while let Some(time) = times.next().await {
                    // What is no time is passed over; the next comes soon.
                    if let Ok((time, _)) = time {
                        clock.tell(time.nanos());
                        stamps.set(ROSTime::from_nanos(time.nanos()));
                    }
                }
            })
            .detach();
        Ok(())
    }
}
