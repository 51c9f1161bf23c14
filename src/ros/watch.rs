//! Watches the graph: which outputs somebody reads, and which peers cannot be served because of
//! their QoS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{FutureExt, select};
use ros2_client::dds::rustdds::discovery::{PublicationBuiltinTopicData, SubscriptionBuiltinTopicData};
use ros2_client::dds::rustdds::{DomainParticipant, QosPolicies};
use ros2_client::{Gid, NodeEvent};
use smol::Timer;
use smol::channel::{Receiver, RecvError};

use super::qos::{Mismatch, mismatch};
use crate::runtime::wanted::{Topic, Topics, Wanted};

/// Graph events that belong together come within this time, and one look serves them all.
const SETTLE: Duration = Duration::from_millis(20);
/// Longest time between two looks: the library tells of peers that fit, not of those that do not.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Looks that a misfit is given to tell its name, which comes by a message of its own.
const LOOKS_FOR_NAME: u32 = 3;

/// One of our ends of a topic.
pub(super) struct End {
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
    /// We publish this output.
    Output(Topic),
    /// We subscribe to a camera.
    Camera,
}

/// Our ends, filled as they are created.
#[derive(Clone, Default)]
pub(super) struct Ends(Arc<Mutex<Vec<End>>>);

impl Ends {
    pub(super) fn add(&self, end: End) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(end);
    }
}

/// Keeps `wanted` current and warns of misfits, until the node is gone.
pub(super) async fn watch(
    participant: DomainParticipant,
    events: Receiver<NodeEvent>,
    ends: Ends,
    wanted: Arc<Wanted>,
) {
    let mut peers = Peers::default();
    loop {
        let event: Option<Result<NodeEvent, RecvError>> = select! {
            event = events.recv().fuse() => Some(event),
            _ = FutureExt::fuse(Timer::after(BETWEEN_LOOKS)) => None,
        };
        match event {
            Some(Ok(event)) => {
                peers.hear(event);
                Timer::after(SETTLE).await;
                std::iter::from_fn(|| events.try_recv().ok()).for_each(|event| peers.hear(event));
            }
            Some(Err(_)) => return,
            None => {}
        }
        wanted.set(peers.look(&participant, &ends));
    }
}

/// The publishers of the camera topic `topic` as they are now: each either fits or is told why not.
pub(super) fn camera_publishers(
    participant: &DomainParticipant,
    ends: &Ends,
    topic: &str,
) -> Vec<Result<(), String>> {
    let ends = ends.0.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(end) = ends
        .iter()
        .find(|end| end.role == Role::Camera && end.topic == topic)
    else {
        return Vec::new();
    };
    let verdict = |peer: Peer| {
        if peer.dds_type != end.dds_type {
            let (theirs, ours) = (&peer.dds_type, &end.dds_type);
            return Err(format!(
                "{topic}: a publisher sends {theirs}, this node reads {ours}; see image_transport"
            ));
        }
        mismatch(&peer.qos, &end.qos).map_or(Ok(()), |misfit| Err(sentence(end, "a publisher", &misfit)))
    };
    let peers = writers(participant)
        .into_iter()
        .filter(|peer| peer.topic == end.dds_topic);
    peers.map(verdict).collect()
}

/// What is known of the other participants.
#[derive(Default)]
struct Peers {
    /// Names of the nodes of a participant, by its prefix.
    nodes: HashMap<Prefix, String>,
    /// Ends of peers that do not fit, with the number of looks since they were found.
    misfits: HashMap<Gid, u32>,
}

/// First part of every identifier of one participant.
type Prefix = [u8; 12];

fn prefix(gid: Gid) -> Prefix {
    std::array::from_fn(|i| gid.as_bytes()[i])
}

impl Peers {
    fn hear(&mut self, event: NodeEvent) {
        let NodeEvent::ParticipantEntities(participant) = event else {
            return;
        };
        let names: Vec<_> = participant
            .nodes()
            .iter()
            .map(|node| node.fully_qualified_name())
            .collect();
        if names.is_empty() {
            self.nodes.remove(&prefix(participant.gid()));
        } else {
            self.nodes.insert(prefix(participant.gid()), names.join(" or "));
        }
    }

    /// The topics that somebody can read.
    fn look(&mut self, participant: &DomainParticipant, ends: &Ends) -> Topics {
        let (readers, writers) = (readers(participant), writers(participant));
        let ends = ends.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut misfits = HashMap::new();
        let mut wanted = Vec::new();
        for end in ends.iter() {
            let peers = match end.role {
                Role::Output(_) => &readers,
                Role::Camera => &writers,
            };
            for peer in peers
                .iter()
                .filter(|peer| peer.topic == end.dds_topic && peer.dds_type == end.dds_type)
            {
                let misfit = match end.role {
                    Role::Output(_) => mismatch(&end.qos, &peer.qos),
                    Role::Camera => mismatch(&peer.qos, &end.qos),
                };
                match (misfit, end.role) {
                    (Some(misfit), _) => {
                        misfits.insert(peer.gid, self.looks_after_telling(peer.gid, end, &misfit));
                    }
                    (None, Role::Output(topic)) => wanted.push(topic),
                    (None, Role::Camera) => {}
                }
            }
        }
        // A peer that comes back is told of again.
        self.misfits = misfits;
        wanted.into_iter().collect()
    }

    /// Warns once per misfit, when its name is known or has been waited for long enough.
    fn looks_after_telling(&self, gid: Gid, end: &End, misfit: &Mismatch) -> u32 {
        let looks = self.misfits.get(&gid).map_or(1, |looks| looks + 1);
        let name = self.nodes.get(&prefix(gid));
        if looks > LOOKS_FOR_NAME {
            return looks;
        }
        if name.is_none() && looks < LOOKS_FOR_NAME {
            return looks;
        }
        tracing::warn!(
            "{}",
            sentence(end, name.map_or("a node without a name", String::as_str), misfit)
        );
        LOOKS_FOR_NAME + 1
    }
}

/// What does not fit, and what helps.
fn sentence(end: &End, peer: &str, misfit: &Mismatch) -> String {
    let Mismatch {
        wish,
        offer,
        is_reliability,
    } = misfit;
    let topic = &end.topic;
    match end.role {
        Role::Output(_) => {
            let here = if *is_reliability {
                ", or start this node with -p output_reliability:=reliable"
            } else {
                ""
            };
            format!(
                "{topic}: {peer} asks for {wish}, {offer} is offered, so it gets nothing; let it ask for {offer}{here}"
            )
        }
        Role::Camera => {
            let here = if *is_reliability {
                "; start this node with -p image_reliability:=best_effort"
            } else {
                ""
            };
            format!("{topic}: {peer} offers {offer}, {wish} is asked for, so no picture comes{here}")
        }
    }
}

/// A peer's end of a topic.
struct Peer {
    gid: Gid,
    topic: String,
    dds_type: String,
    qos: QosPolicies,
}

fn readers(participant: &DomainParticipant) -> Vec<Peer> {
    let readers = participant
        .discovered_readers()
        .into_iter()
        .map(|reader| reader.subscription_topic_data);
    let peer = |data: SubscriptionBuiltinTopicData| Peer {
        gid: data.key().into(),
        qos: data.qos(),
        dds_type: data.type_name().clone(),
        topic: data.topic_name,
    };
    readers.map(peer).collect()
}

fn writers(participant: &DomainParticipant) -> Vec<Peer> {
    let writers = participant
        .discovered_writers()
        .into_iter()
        .map(|writer| writer.publication_topic_data);
    let peer = |data: PublicationBuiltinTopicData| Peer {
        gid: data.key.into(),
        qos: data.qos(),
        topic: data.topic_name,
        dds_type: data.type_name,
    };
    writers.map(peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misfit_is_told_with_topic_peer_wish_and_cure() {
        let check = |topic: &str, role, wish: &str, offer: &str, is_reliability, expect: &str| {
            let (dds_topic, dds_type, qos) = (String::new(), String::new(), QosPolicies::default());
            let end = End {
                topic: topic.into(),
                dds_topic,
                dds_type,
                qos,
                role,
            };
            let misfit = Mismatch {
                wish: wish.into(),
                offer: offer.into(),
                is_reliability,
            };
            assert_eq!(sentence(&end, "/peer", &misfit), expect);
        };
        check(
            "/pixio_node/features",
            Role::Output(Topic::Features),
            "reliable",
            "best_effort",
            true,
            "/pixio_node/features: /peer asks for reliable, best_effort is offered, so it gets nothing; let it ask \
             for best_effort, or start this node with -p output_reliability:=reliable",
        );
        check(
            "/pixio_node/embedding",
            Role::Output(Topic::Embedding),
            "transient_local",
            "volatile",
            false,
            "/pixio_node/embedding: /peer asks for transient_local, volatile is offered, so it gets nothing; let it \
             ask for volatile",
        );
        check(
            "/camera/image_raw",
            Role::Camera,
            "reliable",
            "best_effort",
            true,
            "/camera/image_raw: /peer offers best_effort, reliable is asked for, so no picture comes; start this \
             node with -p image_reliability:=best_effort",
        );
    }
}
