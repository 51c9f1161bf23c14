//! Where the publish thread hands frames to the pages, and on to ROS where there is a node.

use std::sync::Arc;

use super::viewers::Viewers;
use crate::outputs::{Subscribed, Topics};
use crate::stages::derive::Derived;
use crate::stages::publish::{Encoded, FrameTimes, Sent, Sink};

/// Shows frames to the pages, and sends to topics what has subscribers there.
pub struct ViewerSink {
    viewers: Arc<Viewers>,
    onward: Option<Onward>,
}

struct Onward {
    sink: Box<dyn Sink>,
    subscribed: Arc<[Subscribed]>,
}

impl ViewerSink {
    /// For pages alone.
    pub fn new(viewers: Arc<Viewers>) -> Self {
        Self { viewers, onward: None }
    }

    /// For pages, and for the topics of `sink`, of which only those that are `subscribed` to get messages.
    pub fn before(sink: Box<dyn Sink>, subscribed: Arc<[Subscribed]>, viewers: Arc<Viewers>) -> Self {
        Self { viewers, onward: Some(Onward { sink, subscribed }) }
    }
}

impl Onward {
    fn wanted(&self, camera: usize, wanted: Topics) -> Topics {
        let subscribed = self.subscribed.get(camera).map(Subscribed::get).unwrap_or_default();
        wanted.intersection(subscribed)
    }
}

impl Sink for ViewerSink {
    fn send(&mut self, mut derived: Derived, encoded: Encoded) -> Sent {
        let n_shown = usize::from(self.viewers.show(&derived));
        let mut sent = match &mut self.onward {
            Some(onward) => {
                derived.wanted = onward.wanted(derived.camera, derived.wanted);
                onward.sink.send(derived, encoded)
            }
            None => Sent::default(),
        };
        sent.n_sent += n_shown;
        sent
    }

    fn tell(&mut self, camera: usize, wanted: Topics, times: FrameTimes) {
        if let Some(onward) = &mut self.onward {
            let wanted = onward.wanted(camera, wanted);
            onward.sink.tell(camera, wanted, times);
        }
    }
}
