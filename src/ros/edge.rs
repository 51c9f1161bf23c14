//! The node in the ROS graph: what it reads, writes and says there.

use std::net::IpAddr;
use std::sync::{Arc, mpsc};

use anyhow::{Context as _, anyhow};
use crossbeam_channel::Receiver;
use ros2_client::dds::rustdds::{QosPolicies, Topic as DdsTopic, TopicKind};
use ros2_client::{Context, Log, MessageTypeName, Name, Node, NodeEvent, NodeName, NodeOptions, Publisher};
use serde::Serialize;

use super::camera::{Camera, CameraTopics, Hearing, Reading, Receiving};
use super::messages::{Header, LabelInfo, Time};
use super::names::Names;
use super::parameters::Parameters;
use super::publishers::{
    CameraOutputs, DepthOutputs, Out, Publishers, SegmentationOutputs, label_info, message_type,
};
use super::rosout::Rosout;
use super::watch::{End, Ends, Graph, Role, camera_publishers, watch};
use super::{context, discovery, qos};
use crate::config::{DepthResolution, ImageTransport, Reliability};
use crate::heads::Class;
use crate::logging::Record;
use crate::runtime::thread::Stage;
use crate::runtime::wanted::{Topic, Wanted};
use crate::stages::camera::Frame;

/// What a node needs to take part.
pub struct Options {
    /// Its name and remap rules.
    pub names: Names,
    /// `ROS_DOMAIN_ID`.
    pub domain_id: u16,
    /// The one address that DDS uses: see [`super::interface::choose`].
    pub address: IpAddr,
    /// Declared parameters and their rules.
    pub parameters: Parameters,
    /// Log records for `/rosout`; `None` publishes none.
    pub records: Option<Receiver<Record>>,
    /// Wakes main when one of the edge's threads ends.
    pub ended: mpsc::Sender<()>,
}

/// Which heads there are.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// The pixels of the depth; `None` makes none.
    pub depth: Option<DepthResolution>,
    /// The classes of the segmentation; `None` makes none.
    pub classes: Option<Vec<Class>>,
}

/// The node in the ROS graph. Dropping it leaves the graph; [`Edge::close`] also says how it went.
pub struct Edge {
    // The order of the fields is the order of shutdown: the node's drop signals the spinner, which
    // would otherwise never end, and the context goes last, taking the node out of the graph.
    receiving: Vec<Receiving>,
    rosout: Option<Rosout>,
    node: Node,
    spinner: Stage,
    executor: Arc<smol::Executor<'static>>,
    events: Option<smol::channel::Receiver<NodeEvent>>,
    ends: Ends,
    names: Names,
    ended: mpsc::Sender<()>,
    context: Context,
}

impl Edge {
    /// Joins the graph: the node is seen, its parameters answer, nothing is subscribed yet.
    ///
    /// # Errors
    /// An impossible name, or DDS without ports or threads.
    pub fn open(options: Options) -> anyhow::Result<Self> {
        let Options { names, domain_id, address, parameters, records, ended } = options;
        let context = context::join(domain_id, address)?;
        let node_name = NodeName::new(names.namespace(), names.node())
            .with_context(|| format!("{} is not a node name", names.fully_qualified()))?;
        // The edge publishes /rosout itself: see `rosout`.
        let (options, gate) = parameters.declare(NodeOptions::new().enable_rosout(false));
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
            receiving: Vec::new(),
            rosout,
            node,
            spinner,
            executor,
            events,
            ends: Ends::default(),
            names,
            ended,
            context,
        })
    }

    /// Publishers of every camera: `prefixes` has one entry per camera, empty for a single one, such
    /// as `left/` for one of several. `message_bytes` expects the size of one message of a topic.
    ///
    /// # Errors
    /// A remap rule that leads to an impossible name, or DDS out of resources.
    pub fn publishers(
        &mut self,
        prefixes: &[String],
        made: &Made,
        reliability: Option<Reliability>,
        message_bytes: impl Fn(Topic) -> usize,
    ) -> anyhow::Result<Publishers> {
        let qos = |topic| {
            let message_bytes = message_bytes(topic);
            qos::output(qos::output_reliability(reliability, message_bytes), message_bytes)
        };
        let cameras = prefixes.iter().map(|prefix| {
            Ok(CameraOutputs {
                features: self.publisher(prefix, Topic::Features, &qos)?,
                reduced: self.publisher(prefix, Topic::Reduced, &qos)?,
                pca: self.publisher(prefix, Topic::Pca, &qos)?,
                pca_compressed: self.publisher(prefix, Topic::PcaCompressed, &qos)?,
                grid_info: self.publisher(prefix, Topic::GridInfo, &qos)?,
                embedding: self.publisher(prefix, Topic::Embedding, &qos)?,
                similarity: self.publisher(prefix, Topic::Similarity, &qos)?,
                depth: made.depth.map(|pixels| self.depth_outputs(prefix, pixels, &qos)).transpose()?,
                segmentation: made
                    .classes
                    .as_deref()
                    .map(|classes| self.segmentation_outputs(prefix, classes, &qos))
                    .transpose()?,
            })
        });
        Ok(Publishers::new(cameras.collect::<anyhow::Result<_>>()?))
    }

    fn depth_outputs(
        &mut self,
        prefix: &str,
        pixels: DepthResolution,
        qos: &impl Fn(Topic) -> QosPolicies,
    ) -> anyhow::Result<DepthOutputs> {
        // A raw picture of a camera's size is more than DDS carries well.
        let has_raw = pixels == DepthResolution::Model;
        Ok(DepthOutputs {
            image: has_raw.then(|| self.publisher(prefix, Topic::Depth, qos)).transpose()?,
            compressed: self.publisher(prefix, Topic::DepthCompressed, qos)?,
            info: self.publisher(prefix, Topic::DepthInfo, qos)?,
            color: self.publisher(prefix, Topic::DepthColor, qos)?,
            points: self.publisher(prefix, Topic::Points, qos)?,
        })
    }

    fn segmentation_outputs(
        &mut self,
        prefix: &str,
        classes: &[Class],
        qos: &impl Fn(Topic) -> QosPolicies,
    ) -> anyhow::Result<SegmentationOutputs> {
        Ok(SegmentationOutputs {
            image: self.publisher(prefix, Topic::Labels, qos)?,
            compressed: self.publisher(prefix, Topic::LabelsCompressed, qos)?,
            confidence: self.publisher(prefix, Topic::Confidence, qos)?,
            info: self.publisher(prefix, Topic::LabelsInfo, qos)?,
            overlay: self.publisher(prefix, Topic::Overlay, qos)?,
            _label_info: self.label_info(prefix, classes)?,
        })
    }

    /// Says what the labels mean, once and for every late subscriber.
    fn label_info(&mut self, prefix: &str, classes: &[Class]) -> anyhow::Result<Publisher<LabelInfo>> {
        let name = self.names.resolve(&format!("~/{prefix}segmentation/label_info"))?;
        let publisher: Publisher<LabelInfo> = self
            .topic(&name, ("vision_msgs", "LabelInfo"), &qos::latched(), Role::Latched)
            .and_then(|topic| Ok(self.node.create_publisher(&topic, None)?))
            .with_context(|| format!("cannot publish {name}"))?;
        let header = Header { stamp: Time::now(), ..Header::default() };
        publisher.publish(label_info(header, classes)).with_context(|| format!("cannot publish {name}"))?;
        Ok(publisher)
    }

    fn publisher<M: Serialize>(
        &mut self,
        prefix: &str,
        topic: Topic,
        qos: &impl Fn(Topic) -> QosPolicies,
    ) -> anyhow::Result<Out<M>> {
        let name = self.names.resolve(&format!("~/{prefix}{}", topic.name()))?;
        let (qos, role) = (qos(topic), Role::Output(topic));
        let publisher = self
            .topic(&name, message_type(topic), &qos, role)
            .and_then(|topic| Ok(self.node.create_publisher(&topic, None)?))
            .with_context(|| format!("cannot publish {name}"))?;
        Ok(Out::new(name, publisher))
    }

    /// Keeps `wanted` current from now on: topics enter as somebody subscribes and leave with the
    /// last subscriber.
    ///
    /// # Errors
    /// Called twice, or DDS out of resources.
    pub fn watch(&mut self, wanted: Arc<Wanted>) -> anyhow::Result<()> {
        let events = self.events.take().ok_or_else(|| anyhow!("the graph is watched already"))?;
        let participant = self.context.domain_participant();
        let (topic, dds_type) = (discovery::DDS_TOPIC.into(), discovery::DDS_TYPE.into());
        let topic = participant.create_topic(topic, dds_type, &discovery::qos(), TopicKind::NoKey)?;
        let nodes = self.node.create_subscription(&topic, None)?;
        let graph = Graph { participant, events, nodes };
        self.executor.spawn(watch(graph, self.ends.clone(), wanted)).detach();
        Ok(())
    }

    /// Subscribes to a camera. `on_frame` gets every picture on a thread of the camera's own; `on_refused` the reason
    /// for each message that is not what its type says; `on_query` the x and y of every pixel that somebody points at.
    ///
    /// # Errors
    /// A remap rule that leads to an impossible name, or DDS out of resources or threads.
    pub fn subscribe(
        &mut self,
        camera: Camera,
        on_frame: impl FnMut(Frame) + Send + 'static,
        on_refused: impl FnMut(&str) + Send + 'static,
        on_query: impl FnMut([f64; 2]) + Send + 'static,
    ) -> anyhow::Result<CameraTopics> {
        let topics = CameraTopics::resolve(&self.names, &camera.prefix, camera.transport)?;
        let message = match camera.transport {
            ImageTransport::Raw => "Image",
            ImageTransport::Compressed => "CompressedImage",
        };
        let image_qos = qos::camera(camera.reliability);
        let images = self
            .topic(&topics.image, ("sensor_msgs", message), &image_qos, Role::Input)
            .and_then(|topic| Ok(self.node.create_subscription(&topic, None)?))
            .with_context(|| format!("cannot subscribe to {}", topics.image))?;
        // Best effort fits every publisher, and the next calibration replaces a lost one.
        let info_qos = qos::camera(Reliability::BestEffort);
        let infos = self
            .topic(&topics.camera_info, ("sensor_msgs", "CameraInfo"), &info_qos, Role::Input)
            .and_then(|topic| Ok(self.node.create_subscription(&topic, None)?))
            .with_context(|| format!("cannot subscribe to {}", topics.camera_info))?;
        let query = self.names.resolve(&format!("~/{}query", camera.prefix))?;
        let queries = self
            .topic(
                &query,
                ("geometry_msgs", "PointStamped"),
                &qos::camera(Reliability::BestEffort),
                Role::Input,
            )
            .and_then(|topic| Ok(self.node.create_subscription(&topic, None)?))
            .with_context(|| format!("cannot subscribe to {query}"))?;
        let ended = self.ended.clone();
        let reading = Reading { images, infos, queries };
        let hearing = Hearing { on_frame, on_refused, on_query };
        let receiving = Receiving::start(camera, topics.clone(), reading, hearing, ended)?;
        self.receiving.push(receiving);
        Ok(topics)
    }

    /// The publishers of a camera's picture topic as they are now: each either fits or is told why
    /// not.
    pub fn camera_publishers(&self, topic: &str) -> Vec<Result<(), String>> {
        camera_publishers(&self.context.domain_participant(), &self.ends, topic)
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
    /// The first of the edge's threads that failed.
    pub fn close(mut self) -> anyhow::Result<()> {
        let received = self.unsubscribe();
        let Self { rosout, node, spinner, executor, context, .. } = self;
        let said = rosout.map_or(Ok(()), Rosout::close);
        drop(node);
        let spun = spinner.join();
        drop(executor);
        drop(context);
        received.and(spun).and(said)
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
        self.ends.add(End { topic: name.to_owned(), dds_topic, dds_type, qos: qos.clone(), role });
        Ok(topic)
    }
}

fn rosout_publisher(context: &Context, node: &mut Node) -> anyhow::Result<Publisher<Log>> {
    let dds_type = MessageTypeName::new("rcl_interfaces", "Log").dds_msg_type();
    let participant = context.domain_participant();
    let topic = participant.create_topic("rt/rosout".into(), dds_type, &qos::rosout(), TopicKind::NoKey)?;
    Ok(node.create_publisher(&topic, None)?)
}
