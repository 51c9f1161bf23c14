//! The node's own ends of topics, in the terms of ROS and of DDS.

use std::sync::{Arc, Mutex, MutexGuard};

use ros2_client::dds::rustdds::QosPolicies;

use crate::outputs::Topic;
use crate::runtime::lock::lock;

/// Our end of a topic.
pub(super) struct Endpoint {
    /// Full ROS name.
    pub(super) topic: String,
    /// The same as DDS knows it.
    pub(super) dds_topic: String,
    /// DDS name of the type.
    pub(super) dds_type: String,
    /// As created.
    pub(super) qos: QosPolicies,
    /// Which way the data goes.
    pub(super) role: Role,
}

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// We publish this output of the camera.
    Output(usize, Topic),
    /// We publish something that is about no camera.
    NodeOutput,
    /// We subscribe to the camera's images.
    Images(usize),
    /// We subscribe to something else, which the word tells.
    Input(&'static str),
}

impl Role {
    pub(super) fn is_output(self) -> bool {
        matches!(self, Self::Output(..) | Self::NodeOutput)
    }
}

/// Our endpoints, filled as they are created.
#[derive(Clone, Default)]
pub(super) struct Endpoints(Arc<Mutex<Vec<Endpoint>>>);

impl Endpoints {
    pub(super) fn add(&self, endpoint: Endpoint) {
        lock(&self.0).push(endpoint);
    }

    /// All of them, locked.
    pub(super) fn all(&self) -> MutexGuard<'_, Vec<Endpoint>> {
        lock(&self.0)
    }
}
