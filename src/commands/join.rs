//! How a node joins the ROS graph: for `run`, which serves there, and for `check`, which looks around.

use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use crossbeam_channel::Receiver;

use crate::commands::describe::board;
use crate::commands::signals::Signals;
use crate::commands::{Failure, OrFailure};
use crate::config::{Config, Live, Value, Values};
use crate::diagnostics::{Board, CameraFacts};
use crate::logging::{Log, Record};
use crate::pipeline::Shared;
use crate::ros::start::environment::{Discovery, Environment, EnvironmentError};
use crate::ros::start::interface::{self, Address, InterfaceError};
use crate::ros::start::names::Names;
use crate::ros::{
    CameraInput, CameraTopics, Declared, HeadOutputs, NodeConfig, Parameters, Publishers, RosNode,
};
use crate::runtime::clock::Clock;
use crate::runtime::descriptors;
use crate::stages::camera::CameraListener;

/// Files and sockets of a node without cameras, with room for what libraries open now and then.
const FILES_OF_A_NODE: u64 = 384;
/// Files and sockets of a camera: its topics have pollable queues, two to four each.
const FILES_OF_A_CAMERA: u64 = 64;

/// What the command line and the environment say.
pub struct Launch {
    /// Checked configuration.
    pub config: Config,
    /// The same as ROS parameters.
    pub values: Values,
    /// The node's name and remap rules.
    pub names: Names,
    /// Domain and discovery range.
    pub environment: Environment,
    /// Where the log goes.
    pub log: Log,
    /// What asks for an end.
    pub signals: Signals,
}

/// Where DDS is reached, and whom it announces itself to.
pub(super) struct NetworkChoice {
    pub(super) address: Address,
    static_peers: Vec<IpAddr>,
}

/// Why the node cannot join.
#[derive(Debug, thiserror::Error)]
pub(super) enum NetworkError {
    /// The environment rules it out.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// There is no address to use.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}

impl NetworkChoice {
    /// Where `launch` has the node join. `warn` gets what variables ask for and the node does not support.
    ///
    /// # Errors
    /// The environment forbids it, or there is no address.
    pub(super) fn choose(launch: &Launch, mut warn: impl FnMut(&str)) -> Result<Self, NetworkError> {
        let Launch { config, environment, .. } = launch;
        environment.allow()?;
        environment.warnings.iter().for_each(|text| warn(text));
        let static_peers = environment.peer_addresses(|text| warn(&text));
        Ok(Self { address: address(config, environment)?, static_peers })
    }
}

/// The address that DDS uses; warns where the environment asks for what cannot be had.
fn address(config: &Config, environment: &Environment) -> Result<Address, InterfaceError> {
    let address = interface::choose(config.network_interface, environment.is_loopback_only())?;
    if environment.discovery == Discovery::Off {
        tracing::warn!("ROS_AUTOMATIC_DISCOVERY_RANGE=OFF: this node is still found on this machine");
    } else if address.ip.is_loopback()
        && !environment.is_loopback_only()
        && !environment.static_peers.is_empty()
    {
        tracing::warn!(
            "ROS_STATIC_PEERS: {address} reaches no other machine; network_interface names an address that \
             does"
        );
    } else if environment.is_loopback_only() && !address.ip.is_loopback() {
        tracing::warn!(
            "network_interface: {address} overrides the environment, which asks for this machine only"
        );
    }
    Ok(address)
}

/// A node in the graph: its parameters answer, and it follows `/clock` if it is asked to. Nothing is
/// published or subscribed to yet.
pub(super) struct Joined {
    pub(super) node: RosNode,
    /// What the node's threads share.
    pub(super) shared: Shared,
    /// What diagnostics are made of.
    pub(super) board: Arc<Board>,
}

impl Joined {
    /// Joins the graph. `records` go to `/rosout`, if there are any; `ended` hears of each thread that ends.
    ///
    /// # Errors
    /// As [`RosNode::open`], while running; as [`RosNode::follow_time`], of the set-up.
    pub(super) fn join(
        launch: &Launch,
        network: NetworkChoice,
        records: Option<Receiver<Record>>,
        ended: &mpsc::Sender<()>,
    ) -> Result<Self, Failure> {
        let Launch { config, values, names, environment, log, .. } = launch;
        let n_files = FILES_OF_A_NODE + FILES_OF_A_CAMERA * config.cameras.len() as u64;
        descriptors::make_room(n_files).map_err(anyhow::Error::msg).setup()?;
        let NetworkChoice { address, static_peers } = network;
        let domain_id = environment.domain_id;
        let (parameters, live) = parameters(values, log.clone());
        let clock = Arc::new(Clock::new(config.use_sim_time));
        let shared = Shared::new(config.cameras.len(), live, clock);
        let node = RosNode::open(NodeConfig {
            names: names.clone(),
            domain_id,
            address,
            static_peers,
            pace: config.pace,
            parameters,
            records,
            ended: ended.clone(),
        });
        let mut node = node.running()?;
        let board = Arc::new(board(config, &shared, address, domain_id));
        board.set_deliveries(node.deliveries());
        if config.use_sim_time {
            node.follow_time(Arc::clone(&shared.clock)).setup()?;
        }
        Ok(Self { node, shared, board })
    }

    /// Offers every output, and watches from then on which have subscribers.
    ///
    /// # Errors
    /// As [`RosNode::publishers`], of the set-up; as [`RosNode::watch`], while running.
    pub(super) fn publish(&mut self, config: &Config, heads: &HeadOutputs) -> Result<Publishers, Failure> {
        let publishers = self.node.publishers(&config.cameras, heads, config.output_reliability).setup()?;
        self.node.watch(Arc::clone(&self.shared.subscribed), Arc::clone(&self.board)).running()?;
        Ok(publishers)
    }

    /// Subscribes to every camera, each with its listener. Returns the names of the image topics.
    ///
    /// # Errors
    /// As [`RosNode::subscribe`].
    pub(super) fn subscribe(
        &mut self,
        config: &Config,
        listeners: impl IntoIterator<Item = Box<dyn CameraListener>>,
    ) -> anyhow::Result<Vec<String>> {
        let mut topics = Vec::new();
        for (index, (camera, listener)) in config.cameras.iter().zip(listeners).enumerate() {
            let input = CameraInput::new(index, camera, config.max_image_pixels);
            let CameraTopics { image, camera_info } = self.node.subscribe(input, listener)?;
            topics.push(image.clone());
            self.board.add_camera(CameraFacts { topic: image, camera_info, subscribed: Instant::now() });
        }
        Ok(topics)
    }
}

/// The parameters as ROS sees them, and what they are while the node runs.
fn parameters(values: &Values, log: Log) -> (Parameters, Arc<Live>) {
    let live = Arc::new(Live::new(values.clone(), move |level| log.set_level(level)));
    let (converts, checks, applies) = (Arc::clone(&live), Arc::clone(&live), Arc::clone(&live));
    let declared = |(name, value): (&str, &Value)| {
        let descriptor = live.descriptor(name);
        Declared { name: name.to_owned(), value: value.clone(), descriptor }
    };
    let parameters = Parameters {
        declared: values.iter().map(declared).collect(),
        convert: Box::new(move |name, value| converts.converted(name, value)),
        check: Box::new(move |name, value| checks.check(name, value)),
        apply: Box::new(move |name, value| applies.apply(name, value)),
    };
    (parameters, live)
}
