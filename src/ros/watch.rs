//! Watches the graph: which outputs have subscribers, and which peers cannot be served because of
//! their QoS.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, pin_mut, select};
use ros2_client::dds::rustdds::discovery::{PublicationBuiltinTopicData, SubscriptionBuiltinTopicData};
use ros2_client::dds::rustdds::{DomainParticipant, GUID, QosPolicies, RTPSEntity};
use ros2_client::{NodeEvent, Subscription};
use smol::Timer;
use smol::channel::Receiver;

use super::discovery::{Gid, NodeNames, ParticipantNodes};
use super::endpoints::{Endpoint, Endpoints, Role};
use super::qos::{Mismatch, mismatch};
use crate::diagnostics::{Board, GraphFacts, Misfit};
use crate::logging::{BETWEEN_REMINDERS, Throttle};
use crate::outputs::{Subscribed, Topics};

/// Graph events that belong together come within this time, and one look serves them all.
const SETTLE: Duration = Duration::from_millis(20);
/// Longest time between two looks: the library reports compatible peers, and no others.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Time for a misfit to tell its name: it comes by a message of its own, which Fast DDS repeats
/// after three seconds when it was lost.
const WAIT_FOR_NAME: Duration = Duration::from_secs(4);
/// Misfits that are logged in a period of reminders; the next wait.
const MOST_MISFITS: usize = 16;

/// What the watch hears of the graph.
pub(super) struct GraphSources {
    /// Full name of this node.
    pub(super) name: String,
    /// Everything that was discovered.
    pub(super) participant: DomainParticipant,
    /// Endpoints of peers that fit ours come and go.
    pub(super) events: Receiver<NodeEvent>,
    /// Peers name their nodes.
    pub(super) nodes: Subscription<ParticipantNodes>,
}

/// Keeps `subscribed`, an entry for every camera, current, tells `board` of misfits and warns of them, until
/// the node is gone.
pub(super) async fn watch(
    graph: GraphSources,
    endpoints: Endpoints,
    subscribed: Arc<[Subscribed]>,
    board: Arc<Board>,
) {
    let GraphSources { name, participant, events, nodes } = graph;
    let nodes = nodes.async_stream();
    pin_mut!(nodes);
    let mut peers = Peers::of(name);
    loop {
        select! {
            event = events.recv().fuse() => {
                if event.is_err() {
                    return;
                }
                Timer::after(SETTLE).await;
                while events.try_recv().is_ok() {}
            }
            // What does not parse comes from another distribution; its ends go without a name.
            nodes = nodes.select_next_some() => if let Ok((nodes, _)) = nodes {
                peers.names.hear(nodes);
            },
            _ = FutureExt::fuse(Timer::after(BETWEEN_LOOKS)) => {}
        }
        let (wanted, facts) = peers.look(&participant, &endpoints, subscribed.len());
        subscribed.iter().zip(wanted).for_each(|(camera, topics)| camera.set(topics));
        board.set_graph(facts);
    }
}

/// What is known of the other participants.
struct Peers {
    /// Full name of this node, which no other should have.
    own_name: String,
    names: NodeNames,
    /// Endpoints of incompatible peers.
    misfits: HashMap<Gid, Warned>,
    /// Each lets one warning through in its period, and the next misfits wait: anybody can come and go as
    /// many peers.
    lines: [Throttle; MOST_MISFITS],
}

impl Peers {
    fn of(own_name: String) -> Self {
        let lines = [const { Throttle::new(BETWEEN_REMINDERS) }; MOST_MISFITS];
        Self { own_name, names: NodeNames::default(), misfits: HashMap::new(), lines }
    }

    /// The topics of each of `n_cameras` that a peer can read, and what the graph shows of them.
    fn look(
        &mut self,
        participant: &DomainParticipant,
        endpoints: &Endpoints,
        n_cameras: usize,
    ) -> (Vec<Topics>, GraphFacts) {
        let (readers, writers) = (readers(participant), writers(participant));
        let endpoints = endpoints.all();
        let mut told = HashMap::new();
        let mut wanted = vec![Vec::new(); n_cameras];
        let mut facts = GraphFacts { n_publishers: vec![0; n_cameras], ..GraphFacts::default() };
        for endpoint in endpoints.iter() {
            let peers = if endpoint.role.is_output() { &readers } else { &writers };
            for peer in peers.iter().filter(|peer| peer.topic == endpoint.dds_topic) {
                let camera = if let Role::Images(camera) = endpoint.role { Some(camera) } else { None };
                if peer.dds_type != endpoint.dds_type {
                    // Another type on an output's name is another's affair; images of it never come.
                    if camera.is_some() {
                        let text = wrong_type(endpoint, &peer.dds_type);
                        facts.misfits.push(Misfit { camera, text });
                    }
                    continue;
                }
                let misfit = match endpoint.role.is_output() {
                    true => mismatch(&endpoint.qos, &peer.qos),
                    false => mismatch(&peer.qos, &endpoint.qos),
                };
                match (misfit, endpoint.role) {
                    (Some(misfit), _) => {
                        let owner = self.names.owner(&peer.gid);
                        let name = owner.as_deref().unwrap_or("a node without a name");
                        let text = sentence(endpoint, name, &misfit);
                        told.insert(peer.gid, self.tell(peer.gid, owner.is_some(), &text));
                        facts.misfits.push(Misfit { camera, text });
                    }
                    (None, Role::Output(camera, topic)) => {
                        wanted.get_mut(camera).into_iter().for_each(|topics| topics.push(topic));
                    }
                    (None, Role::Images(camera)) => {
                        facts.n_publishers.get_mut(camera).into_iter().for_each(|n| *n += 1);
                    }
                    (None, Role::NodeOutput | Role::Input(_)) => {}
                }
            }
        }
        let there: HashSet<Gid> = readers.iter().chain(&writers).map(|peer| peer.gid).collect();
        self.names.retain(|gid| there.contains(gid));
        if let Some(other) = self.names.namesake(&self.own_name, &gid(participant.guid())) {
            let text = format!(
                "another node is called {} too, so tools and parameters reach either of the two: rename one \
                 with -r __node:=NAME or -r __ns:=/NAMESPACE",
                self.own_name
            );
            told.insert(other, self.tell(other, true, &text));
            facts.namesake = Some(text);
        }
        // A peer that comes back is reported again.
        self.misfits = told;
        facts.misfits.truncate(MOST_MISFITS);
        (wanted.into_iter().map(Topics::from_iter).collect(), facts)
    }

    /// Warns once per misfit, when its name is known or has been waited for long enough.
    fn tell(&self, gid: Gid, has_name: bool, text: &str) -> Warned {
        let since = match self.misfits.get(&gid) {
            Some(Warned::Yes) => return Warned::Yes,
            Some(Warned::Waiting(since)) => *since,
            None => Instant::now(),
        };
        if !has_name && since.elapsed() < WAIT_FOR_NAME {
            return Warned::Waiting(since);
        }
        if self.lines.iter().find_map(Throttle::admit).is_none() {
            return Warned::Waiting(since);
        }
        tracing::warn!("{text}");
        Warned::Yes
    }
}

/// Whether the user knows of a misfit.
enum Warned {
    Yes,
    /// For a name or for room in the log, since then.
    Waiting(Instant),
}

/// What does not fit, and what helps.
fn sentence(endpoint: &Endpoint, peer: &str, misfit: &Mismatch) -> String {
    let Mismatch { wish, offer, is_reliability } = misfit;
    let topic = &endpoint.topic;
    if endpoint.role.is_output() {
        let here =
            if *is_reliability { ", or start this node with -p output_reliability:=reliable" } else { "" };
        return format!(
            "{topic}: {peer} asks for {wish}, {offer} is offered, so that peer receives nothing; request \
             {offer}{here}"
        );
    }
    let what = match endpoint.role {
        Role::Input(what) => what,
        _ => "image",
    };
    let here = match *is_reliability && what == "image" {
        true => "; start this node with -p image_reliability:=best_effort",
        false => "",
    };
    format!("{topic}: {peer} offers {offer}, {wish} is asked for, so no {what} arrives{here}")
}

/// A publisher of something else under the name of the images.
fn wrong_type(endpoint: &Endpoint, theirs: &str) -> String {
    format!(
        "{}: a publisher sends {theirs}, this node reads {}; see image_transport",
        endpoint.topic, endpoint.dds_type
    )
}

/// A peer's end of a topic.
struct Peer {
    gid: Gid,
    topic: String,
    dds_type: String,
    qos: QosPolicies,
}

fn gid(guid: GUID) -> Gid {
    ros2_client::Gid::from(guid).to_bytes16()
}

fn readers(participant: &DomainParticipant) -> Vec<Peer> {
    let readers = participant.discovered_readers().into_iter().map(|reader| reader.subscription_topic_data);
    let peer = |data: SubscriptionBuiltinTopicData| Peer {
        gid: gid(data.key()),
        qos: data.qos(),
        dds_type: data.type_name().clone(),
        topic: data.topic_name,
    };
    readers.map(peer).collect()
}

fn writers(participant: &DomainParticipant) -> Vec<Peer> {
    let writers = participant.discovered_writers().into_iter().map(|writer| writer.publication_topic_data);
    let peer = |data: PublicationBuiltinTopicData| Peer {
        gid: gid(data.key),
        qos: data.qos(),
        topic: data.topic_name,
        dds_type: data.type_name,
    };
    writers.map(peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::Topic;

    #[test]
    fn a_misfit_is_told_with_topic_peer_wish_and_cure() {
        let check = |topic: &str, role, wish: &str, offer: &str, is_reliability, expect: &str| {
            let (dds_topic, dds_type, qos) = (String::new(), String::new(), QosPolicies::default());
            let endpoint = Endpoint { topic: topic.into(), dds_topic, dds_type, qos, role };
            let misfit = Mismatch { wish: wish.into(), offer: offer.into(), is_reliability };
            assert_eq!(sentence(&endpoint, "/peer", &misfit), expect);
        };
        check(
            "/pixio_node/features",
            Role::Output(0, Topic::Features),
            "reliable",
            "best_effort",
            true,
            "/pixio_node/features: /peer asks for reliable, best_effort is offered, so that peer receives \
             nothing; request best_effort, or start this node with -p output_reliability:=reliable",
        );
        check(
            "/pixio_node/embedding",
            Role::Output(0, Topic::Embedding),
            "transient_local",
            "volatile",
            false,
            "/pixio_node/embedding: /peer asks for transient_local, volatile is offered, so that peer \
             receives nothing; request volatile",
        );
        check(
            "/camera/image_raw",
            Role::Images(0),
            "reliable",
            "best_effort",
            true,
            "/camera/image_raw: /peer offers best_effort, reliable is asked for, so no image arrives; start \
             this node with -p image_reliability:=best_effort",
        );
    }
}
