//! The publishers of every output, and what became of each message.

use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use ros2_client::Publisher;

use super::any::AnyMessage;
use super::fill::{self, Parts};
use super::messages::{Float64, Header, LabelInfo, Time};
use crate::heads::{Class, Legend};
use crate::logging::{BETWEEN_WARNINGS, Throttle};
use crate::outputs::{Topic, Topics};
use crate::runtime::clock::LONGEST_AGE;
use crate::stages::derive::Derived;
use crate::stages::publish::{Encoded, FrameTimes, Sent, Sink};

/// Publishers of every camera.
pub struct Publishers(Vec<CameraOutputs>);

/// Publishers of one camera.
pub(in crate::ros) struct CameraOutputs {
    /// In the order of the table of outputs.
    pub(in crate::ros) outputs: Vec<OutputPublisher>,
    /// Where there are labels.
    pub(in crate::ros) legend: Option<Arc<LegendPublisher>>,
}

/// The publisher of what labels mean, which keeps it for late subscribers.
pub(in crate::ros) struct LegendPublisher {
    /// Full name of the topic.
    name: String,
    publisher: Publisher<LabelInfo>,
    threshold: f32,
    failing: Throttle,
}

impl LegendPublisher {
    /// # Errors
    /// The legend cannot be published.
    pub(in crate::ros) fn new(
        name: String,
        publisher: Publisher<LabelInfo>,
        Legend { classes, threshold }: &Legend,
    ) -> anyhow::Result<Self> {
        let one =
            Self { name, publisher, threshold: *threshold as f32, failing: Throttle::new(BETWEEN_WARNINGS) };
        one.publish(classes).with_context(|| format!("cannot publish {}", one.name))?;
        Ok(one)
    }

    /// Says what labels mean from now on.
    fn say(&self, classes: &[Class]) {
        if let Err(err) = self.publish(classes)
            && let Some(more) = self.failing.admit()
        {
            tracing::warn!("{}: a message could not be sent ({more} more before it): {err}", self.name);
        }
    }

    fn publish(&self, classes: &[Class]) -> anyhow::Result<()> {
        let header = Header { stamp: Time::now(), ..Header::default() };
        Ok(self.publisher.publish(fill::label_info(header, classes, self.threshold))?)
    }
}

/// What says what the labels of every camera mean, as long as there are its [`Publishers`].
pub struct Legends(Vec<Weak<LegendPublisher>>);

impl Legends {
    /// Says that labels mean `classes` from now on, also to every late subscriber.
    pub fn say(&self, classes: &[Class]) {
        self.0.iter().filter_map(Weak::upgrade).for_each(|legend| legend.say(classes));
    }
}

/// The publisher of one output.
pub(in crate::ros) struct OutputPublisher {
    topic: Topic,
    /// Full name of the topic.
    name: String,
    publisher: Publisher<AnyMessage>,
    failing: Throttle,
}

impl OutputPublisher {
    pub(in crate::ros) fn new(topic: Topic, name: String, publisher: Publisher<AnyMessage>) -> Self {
        Self { topic, name, publisher, failing: Throttle::new(BETWEEN_WARNINGS) }
    }

    /// Sends `message`, if there is one, and adds what became of it to `sent`.
    fn send(&self, message: Option<AnyMessage>, sent: &mut Sent) {
        let Some(message) = message else { return };
        let Err(err) = self.publisher.publish(message) else {
            sent.n_sent += 1;
            return;
        };
        sent.n_failed += 1;
        if let Some(more) = self.failing.admit() {
            tracing::warn!("{}: a message could not be sent ({more} more before it): {err}", self.name);
        }
    }
}

impl Publishers {
    pub(in crate::ros) fn new(cameras: Vec<CameraOutputs>) -> Self {
        Self(cameras)
    }

    /// What says what labels mean.
    pub fn legends(&self) -> Legends {
        Legends(self.0.iter().filter_map(|camera| camera.legend.as_ref()).map(Arc::downgrade).collect())
    }

    /// The publishers of what is wanted of a camera.
    fn wanted(&self, camera: usize, wanted: Topics) -> impl Iterator<Item = &OutputPublisher> {
        let outputs = self.0.get(camera).map_or(&[][..], |camera| camera.outputs.as_slice());
        outputs.iter().filter(move |output| wanted.contains(output.topic))
    }
}

impl Sink for Publishers {
    fn send(&mut self, derived: Derived, encoded: Encoded) -> Sent {
        let mut sent = Sent::default();
        let (camera, wanted) = (derived.camera, derived.wanted);
        let mut parts = Parts { header: Header::from(derived.header.clone()), derived, encoded };
        for output in self.wanted(camera, wanted) {
            output.send(fill::message(output.topic, &mut parts), &mut sent);
        }
        sent
    }

    fn tell(&mut self, camera: usize, wanted: Topics, times: FrameTimes) {
        // Figures about a frame are not outputs of it.
        let uncounted = &mut Sent::default();
        for output in self.wanted(camera, wanted) {
            let time = match output.topic {
                Topic::PipelineLatency => times.pipeline_latency.map(|age| age.min(LONGEST_AGE)),
                Topic::ProcessingTime => Some(times.processing),
                _ => None,
            };
            let millis = |time: Duration| Float64 { data: time.as_secs_f64() * 1e3 };
            output.send(time.map(millis).map(AnyMessage::Float64), uncounted);
        }
    }
}
