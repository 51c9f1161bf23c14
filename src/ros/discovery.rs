//! `ros_discovery_info`: which node an endpoint belongs to.

use std::collections::HashMap;

use ros2_client::dds::rustdds::policy::{Durability, History};
use ros2_client::dds::rustdds::{Duration, QosPolicies, QosPolicyBuilder};
use serde::Deserialize;

use super::wire::short::short;

/// Name of the DDS topic.
pub(super) const DDS_TOPIC: &str = "ros_discovery_info";
/// Name of its type.
pub(super) const DDS_TYPE: &str = "rmw_dds_common::msg::dds_::ParticipantEntitiesInfo_";

/// As every ROS node publishes it.
pub(super) fn qos() -> QosPolicies {
    QosPolicyBuilder::new()
        .durability(Durability::TransientLocal)
        .reliable(Duration::ZERO)
        .history(History::KeepLast { depth: 1 })
        .build()
}

/// Identifier of an endpoint or a participant.
pub(super) type Gid = [u8; 16];

/// `rmw_dds_common/ParticipantEntitiesInfo`.
#[derive(Deserialize)]
pub(super) struct ParticipantNodes {
    gid: Gid,
    nodes: Vec<NodeEnds>,
}

/// `rmw_dds_common/NodeEntitiesInfo`.
#[derive(Deserialize)]
struct NodeEnds {
    #[serde(deserialize_with = "short")]
    namespace: String,
    #[serde(deserialize_with = "short")]
    name: String,
    readers: Vec<Gid>,
    writers: Vec<Gid>,
}

impl NodeEnds {
    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace.trim_end_matches('/'), self.name)
    }
}

/// Names of the nodes of every participant.
#[derive(Default)]
pub(super) struct NodeNames(HashMap<Gid, ParticipantNodes>);

impl NodeNames {
    pub(super) fn hear(&mut self, participant: ParticipantNodes) {
        if participant.nodes.is_empty() {
            self.0.remove(&participant.gid);
        } else {
            self.0.insert(participant.gid, participant);
        }
    }

    /// Forgets participants none of whose ends is left, as after a crash.
    pub(super) fn retain(&mut self, is_there: impl Fn(&Gid) -> bool) {
        let ends = |node: &NodeEnds| node.readers.iter().chain(&node.writers).any(&is_there);
        self.0.retain(|_, participant| participant.nodes.iter().any(ends));
    }

    /// Full name of the node that the endpoint belongs to.
    pub(super) fn owner(&self, end: &Gid) -> Option<String> {
        let nodes = self.0.values().flat_map(|participant| &participant.nodes);
        let owner = nodes.into_iter().find(|node| node.readers.contains(end) || node.writers.contains(end));
        owner.map(NodeEnds::full_name)
    }

    /// A participant other than `own` that has a node of this full name.
    pub(super) fn namesake(&self, full_name: &str, own: &Gid) -> Option<Gid> {
        let has_it = |participant: &&ParticipantNodes| {
            participant.gid != *own && participant.nodes.iter().any(|node| node.full_name() == full_name)
        };
        self.0.values().find(has_it).map(|participant| participant.gid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_belongs_to_the_node_that_last_claimed_it() {
        let participant = |name: &str, readers: Vec<Gid>| ParticipantNodes {
            gid: [0; 16],
            nodes: vec![NodeEnds {
                namespace: "/".into(),
                name: name.into(),
                readers,
                writers: vec![[9; 16]],
            }],
        };
        let mut names = NodeNames::default();
        assert_eq!(names.owner(&[1; 16]), None);
        names.hear(participant("viewer", vec![[1; 16]]));
        assert_eq!(names.owner(&[1; 16]).as_deref(), Some("/viewer"));
        assert_eq!(names.owner(&[9; 16]).as_deref(), Some("/viewer"));
        names.hear(participant("viewer", vec![]));
        assert_eq!(names.owner(&[1; 16]), None);
        names.retain(|end| *end == [9; 16]);
        assert_eq!(names.owner(&[9; 16]).as_deref(), Some("/viewer"));
        names.retain(|end| *end == [1; 16]);
        assert_eq!(names.owner(&[9; 16]), None);
        names.hear(participant("viewer", vec![]));
        names.hear(ParticipantNodes { gid: [0; 16], nodes: vec![] });
        assert_eq!(names.owner(&[9; 16]), None);
    }

    #[test]
    fn a_namesake_is_a_node_of_another_participant() {
        let participant = |gid: Gid, name: &str| {
            let ends = |name: &str| NodeEnds {
                namespace: "/robot".into(),
                name: name.into(),
                readers: vec![],
                writers: vec![],
            };
            ParticipantNodes { gid, nodes: vec![ends("other"), ends(name)] }
        };
        let (own, other) = ([1; 16], [2; 16]);
        let mut names = NodeNames::default();
        names.hear(participant(own, "pixio_node"));
        assert_eq!(names.namesake("/robot/pixio_node", &own), None);
        names.hear(participant(other, "pixio"));
        assert_eq!(names.namesake("/robot/pixio_node", &own), None);
        names.hear(participant(other, "pixio_node"));
        assert_eq!(names.namesake("/robot/pixio_node", &own), Some(other));
    }
}
