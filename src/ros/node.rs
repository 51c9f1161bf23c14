//! The node in the ROS graph: what it reads, writes and says there.

mod time;

use std::net::IpAddr;
use std::sync::{Arc, mpsc};

use anyhow::{Context as _, anyhow};
use crossbeam_channel::Receiver;
use ros2_client::dds::rustdds::{Pacing, QosPolicies, Topic as DdsTopic, TopicKind};
use ros2_client::{
    Context, Log, MessageTypeName, Name, Node, NodeEvent, NodeName, NodeOptions, Publisher, Subscription,
};
use serde::Serialize;

use super::camera::{CameraInput, CameraTopics, MAX_PLAIN_MESSAGE_BYTES, Reading, Receiving};
use super::diagnostics::DiagnosticsOut;
use super::endpoints::{Endpoint, Endpoints, Role};
use super::parameters::Parameters;
use super::rosout::Rosout;
use super::services::Services;
use super::start::apart::apart;
use super::start::interface::Address;
use super::start::names::Names;
use super::watch::{GraphSources, watch};
use super::watchdog::{self, Serving, Watchdog};
use super::wire::publishers::{CameraOutputs, LegendPublisher, OutputPublisher, Publishers};
use super::{context, delivery, discovery, qos};
use crate::config::{CameraConfig, DepthResolution, ImageTransport, Reliability, SendPace};
use crate::diagnostics::{Board, Delivery};
use crate::heads::Legend;
use crate::logging::Record;
use crate::outputs::{Exists, Output, Subscribed, TABLE};
use crate::runtime::clock::Clock;
use crate::runtime::thread::Stage;
use crate::stages::camera::CameraListener;

/// What a node needs to take part.
pub struct NodeConfig {
    /// Name and remap rules of the node.
    pub names: Names,
    /// `ROS_DOMAIN_ID`.
    pub domain_id: u16,
    /// The one address that DDS uses: see [`super::start::interface::choose`].
    pub address: Address,
    /// Hosts that the node announces itself to where multicast does not reach.
    pub static_peers: Vec<IpAddr>,
    /// How fast large messages leave.
    pub pace: SendPace,
    /// Declared parameters and their rules.
    pub parameters: Parameters,
    /// Log records for `/rosout`; `None` publishes none.
    pub records: Option<Receiver<Record>>,
    /// Wakes main when one of the node's threads ends.
    pub ended: mpsc::Sender<()>,
}

/// Which heads there are.
#[derive(Clone, Debug, Default)]
pub struct HeadOutputs {
    /// The pixels of the depth; `None` makes none.
    pub depth: Option<DepthResolution>,
    /// What the labels of the segmentation mean at first; `None` makes none.
    pub legend: Option<Legend>,
}

impl HeadOutputs {
    /// Whether these heads give a topic that exists so.
    fn have(&self, exists: Exists) -> bool {
        match exists {
            Exists::Always => true,
            Exists::WithDepth => self.depth.is_some(),
            Exists::WithDepthOfModelSize => self.depth == Some(DepthResolution::Model),
            Exists::WithSegmentation => self.legend.is_some(),
        }
    }
}

/// The output that says what labels mean.
const LABEL_INFO: &str = "segmentation/label_info";

/// The node in the ROS graph. Dropping it leaves the graph; [`RosNode::close`] also says how it went.
pub struct RosNode {
    // The order of the fields is the order of shutdown: the node's drop signals the spinner, which would
    // otherwise never end, and the context goes last, taking the node out of the graph. All of that is
    // watched.
    serving: Serving,
    receiving: Vec<Receiving>,
    rosout: Option<Rosout>,
    node: Node,
    spinner: Stage,
    executor: Arc<smol::Executor<'static>>,
    events: Option<smol::channel::Receiver<NodeEvent>>,
    endpoints: Endpoints,
    names: Names,
    ended: mpsc::Sender<()>,
    context: Context,
    pacing: Pacing,
    watchdog: Watchdog,
}

impl RosNode {
    /// Joins the graph: the node is seen, its parameters answer, nothing is subscribed yet.
    ///
    /// # Errors
    /// An impossible name, or DDS without ports or threads.
    pub fn open(config: NodeConfig) -> anyhow::Result<Self> {
        let NodeConfig { names, domain_id, address, static_peers, pace, parameters, records, ended } = config;
        let pacing = Pacing::new(pace.burst_bytes, pace.bytes_per_second);
        let context = context::join(domain_id, address, static_peers, pacing.clone())?;
        let (serving, watchdog) = watchdog::watch(&ended, address)?;
        let node_name = NodeName::new(names.namespace(), names.node())
            .with_context(|| format!("{} is not a node name", names.fully_qualified()))?;
        // The node publishes /rosout itself (see `rosout`) and follows /clock under its remap rules.
        let options = NodeOptions::new().enable_rosout(false).follow_clock(false);
        let (options, gate) = parameters.declare(options);
        let node = context.new_node(node_name, options);
        let mut node = node.with_context(|| format!("cannot create the node {}", names.fully_qualified()))?;
        gate.open();

        let logger = names.logger();
        let rosout = records.map(|records| {
            let publisher = rosout_publisher(&context, &mut node)?;
            Rosout::start(records, publisher, logger, ended.clone())
        });
        let rosout = rosout.transpose().context("/rosout")?;

        let executor = Arc::new(smol::Executor::new());
        let spin = node.spinner().context("cannot start the parameter services")?.spin();
        let events = node.status_receiver();
        let running = Arc::clone(&executor);
        let spinner = Stage::spawn("ros", ended.clone(), move || {
            smol::block_on(running.run(spin)).context("the ROS graph is lost")
        })?;
        tracing::info!("{} is in ROS domain {domain_id} on {address}", names.fully_qualified());
        Ok(Self {
            serving,
            receiving: Vec::new(),
            rosout,
            node,
            spinner,
            executor,
            events,
            endpoints: Endpoints::default(),
            names,
            ended,
            context,
            pacing,
            watchdog,
        })
    }

    /// Publishers of every camera. Without a `reliability` of its own an output is reliable: that fits every
    /// subscriber.
    ///
    /// # Errors
    /// Remap rules that lead to an impossible name, or no topic of its own, or DDS out of resources.
    pub fn publishers(
        &mut self,
        cameras: &[CameraConfig],
        heads: &HeadOutputs,
        reliability: Option<Reliability>,
    ) -> anyhow::Result<Publishers> {
        let called = cameras.iter().flat_map(|camera| {
            let outputs = TABLE.iter().filter(|output| heads.have(output.exists)).map(|output| output.name);
            let label_info = heads.legend.is_some().then_some(LABEL_INFO);
            let prefix = camera.prefix();
            outputs.chain(label_info).map(move |name| format!("~/{prefix}{name}"))
        });
        apart(&self.names, called)?;
        let qos = &qos::output(reliability.unwrap_or(Reliability::Reliable));
        let of_camera = |(index, camera): (usize, &CameraConfig)| {
            let prefix = camera.prefix();
            let existing = TABLE.iter().filter(|output| heads.have(output.exists));
            let outputs = existing.map(|output| self.publisher(index, &prefix, output, qos));
            let outputs = outputs.collect::<anyhow::Result<_>>()?;
            let legend = heads.legend.as_ref().map(|legend| self.legend(&prefix, legend)).transpose()?;
            Ok(CameraOutputs { outputs, legend: legend.map(Arc::new) })
        };
        Ok(Publishers::new(cameras.iter().enumerate().map(of_camera).collect::<anyhow::Result<_>>()?))
    }

    /// Says what the labels mean, also to every late subscriber.
    fn legend(&mut self, prefix: &str, legend: &Legend) -> anyhow::Result<LegendPublisher> {
        let name = self.names.resolve(&format!("~/{prefix}{LABEL_INFO}"))?;
        let publisher =
            self.writer(&name, ("vision_msgs", "LabelInfo"), &qos::latched(), Role::NodeOutput)?;
        LegendPublisher::new(name, publisher, legend)
    }

    fn publisher(
        &mut self,
        camera: usize,
        prefix: &str,
        output: &Output,
        qos: &QosPolicies,
    ) -> anyhow::Result<OutputPublisher> {
        let name = self.names.resolve(&format!("~/{prefix}{}", output.name))?;
        let message = (output.message.package(), output.message.name());
        let publisher = self.writer(&name, message, qos, Role::Output(camera, output.topic))?;
        Ok(OutputPublisher::new(output.topic, name, publisher))
    }

    /// Keeps `subscribed`, an entry for every camera, current from now on: topics enter as somebody
    /// subscribes and leave with the last subscriber. Tells `board` what else there is to see.
    ///
    /// # Errors
    /// Called twice, or DDS out of resources.
    pub fn watch(&mut self, subscribed: Arc<[Subscribed]>, board: Arc<Board>) -> anyhow::Result<()> {
        let events = self.events.take().ok_or_else(|| anyhow!("the graph is watched already"))?;
        let participant = self.context.domain_participant();
        let (topic, dds_type) = (discovery::DDS_TOPIC.into(), discovery::DDS_TYPE.into());
        let topic = participant.create_topic(topic, dds_type, &discovery::qos(), TopicKind::NoKey)?;
        let nodes = self.node.create_subscription(&topic, None)?;
        let name = self.names.fully_qualified();
        let graph = GraphSources { name, participant, events, nodes };
        self.executor.spawn(watch(graph, self.endpoints.clone(), subscribed, board)).detach();
        Ok(())
    }

    /// What tells what became of the messages of each topic.
    pub fn deliveries(&self) -> impl Fn() -> Vec<Delivery> + Send + Sync + 'static {
        delivery::deliveries(self.pacing.clone())
    }

    /// What publishes statuses, under the time of `clock`.
    ///
    /// # Errors
    /// A remap rule that leads to an impossible name, or DDS out of resources.
    pub fn diagnostics(&mut self, clock: Arc<Clock>) -> anyhow::Result<DiagnosticsOut> {
        let name = self.names.resolve("/diagnostics")?;
        let qos = qos::output(Reliability::Reliable);
        let publisher = self.writer(&name, ("diagnostic_msgs", "DiagnosticArray"), &qos, Role::NodeOutput)?;
        Ok(DiagnosticsOut::new(publisher, &self.names.fully_qualified(), clock))
    }

    /// Offers the services.
    ///
    /// # Errors
    /// A remap rule that leads to an impossible name, or DDS out of resources.
    pub fn serve(&mut self, services: Services) -> anyhow::Result<()> {
        let names = self.names.clone();
        let resolve = move |name: &str| Ok(names.resolve_service(&format!("~/{name}"))?);
        let answering = services.answering(&mut self.node, resolve)?;
        answering.into_iter().for_each(|answering| self.executor.spawn(answering).detach());
        Ok(())
    }

    /// Subscribes to a camera. `listener` is called on a thread of the camera's own.
    ///
    /// # Errors
    /// A remap rule that leads to an impossible name, or DDS out of resources or threads.
    pub fn subscribe(
        &mut self,
        camera: CameraInput,
        listener: Box<dyn CameraListener>,
    ) -> anyhow::Result<CameraTopics> {
        let topics = CameraTopics::resolve(&self.names, &camera.prefix, camera.transport)?;
        if let Some(doubt) = topics.doubt(camera.transport) {
            tracing::warn!("{doubt}");
        }
        let message = match camera.transport {
            ImageTransport::Raw => "Image",
            ImageTransport::Compressed => "CompressedImage",
        };
        let image_qos = qos::camera(camera.reliability);
        let role = Role::Images(camera.index);
        let image_topic = self.topic(&topics.image, ("sensor_msgs", message), &image_qos, role)?;
        image_topic.limit_sample_size(camera.max_message_bytes);
        let images = self.node.create_subscription(&image_topic, None);
        let images = images.with_context(|| format!("cannot subscribe to {}", topics.image))?;
        // Best effort fits every publisher, and the next calibration replaces a lost one.
        let qos = qos::camera(Reliability::BestEffort);
        let role = Role::Input("calibration");
        let infos = self.subscription(&topics.camera_info, ("sensor_msgs", "CameraInfo"), &qos, role)?;
        let query = self.names.resolve(&format!("~/{}query", camera.prefix))?;
        let queries =
            self.subscription(&query, ("geometry_msgs", "PointStamped"), &qos, Role::Input("query"))?;
        let ended = self.ended.clone();
        let reading = Reading { images, image_topic, infos, queries };
        let receiving = Receiving::start(camera, topics.clone(), reading, listener, ended)?;
        self.receiving.push(receiving);
        Ok(topics)
    }

    /// Unsubscribes from every camera and waits for the receive threads; what they were given to
    /// call is dropped.
    ///
    /// # Errors
    /// The first receive thread that failed.
    pub fn unsubscribe(&mut self) -> anyhow::Result<()> {
        let outcomes: Vec<_> = self.receiving.drain(..).map(Receiving::stop).collect();
        outcomes.into_iter().collect()
    }

    /// Leaves the graph. Drop the [`Publishers`] first.
    ///
    /// # Errors
    /// DDS died, or the first of the node's threads that failed.
    pub fn close(mut self) -> anyhow::Result<()> {
        let received = self.unsubscribe();
        let Self { serving, rosout, node, spinner, executor, context, watchdog, .. } = self;
        drop(serving);
        let logged = rosout.map_or(Ok(()), Rosout::close);
        drop(node);
        let spun = spinner.join();
        drop(executor);
        drop(context);
        // A dead DDS is the cause of all the others.
        watchdog.join().and(received).and(spun).and(logged)
    }

    fn writer<M: Serialize>(
        &mut self,
        name: &str,
        message: (&str, &str),
        qos: &QosPolicies,
        role: Role,
    ) -> anyhow::Result<Publisher<M>> {
        self.topic(name, message, qos, role)
            .and_then(|topic| Ok(self.node.create_publisher(&topic, None)?))
            .with_context(|| format!("cannot publish {name}"))
    }

    fn subscription<M: 'static>(
        &mut self,
        name: &str,
        message: (&str, &str),
        qos: &QosPolicies,
        role: Role,
    ) -> anyhow::Result<Subscription<M>> {
        self.topic(name, message, qos, role)
            .and_then(|topic| {
                topic.limit_sample_size(MAX_PLAIN_MESSAGE_BYTES);
                Ok(self.node.create_subscription(&topic, None)?)
            })
            .with_context(|| format!("cannot subscribe to {name}"))
    }

    /// A topic of our own making: the library's knows no limit on samples.
    fn topic(
        &self,
        name: &str,
        (package, message): (&str, &str),
        qos: &QosPolicies,
        role: Role,
    ) -> anyhow::Result<DdsTopic> {
        Name::parse(name).with_context(|| format!("{name} is not a topic name"))?;
        let dds_topic = format!("rt{name}");
        let dds_type = MessageTypeName::new(package, message).dds_msg_type();
        let participant = self.context.domain_participant();
        let topic = participant.create_topic(dds_topic.clone(), dds_type.clone(), qos, TopicKind::NoKey)?;
        self.endpoints.add(Endpoint { topic: name.to_owned(), dds_topic, dds_type, qos: qos.clone(), role });
        Ok(topic)
    }
}

fn rosout_publisher(context: &Context, node: &mut Node) -> anyhow::Result<Publisher<Log>> {
    let dds_type = MessageTypeName::new("rcl_interfaces", "Log").dds_msg_type();
    let participant = context.domain_participant();
    let topic = participant.create_topic("rt/rosout".into(), dds_type, &qos::rosout(), TopicKind::NoKey)?;
    Ok(node.create_publisher(&topic, None)?)
}
