//! What the threads share.

use std::sync::Arc;
use std::time::Duration;

use super::query::Query;
use crate::config::{Live, Outputs};
use crate::outputs::{Group, Subscribed, Topics};
use crate::runtime::clock::Clock;
use crate::runtime::monitor::Monitor;
use crate::runtime::statistics::{Accounting, Batches, Latencies};
use crate::stages::camera::{Frame, Stamp};
use crate::teaching::Lessons;

/// What the threads share. Lists have an entry for every camera.
#[derive(Clone)]
pub struct Shared {
    /// Topics with subscribers.
    pub subscribed: Arc<[Subscribed]>,
    /// Topics whose content the live page shows.
    pub viewed: Arc<[Subscribed]>,
    /// The queried pixels.
    pub queries: Arc<[Query]>,
    /// What is taught by the next frame.
    pub lessons: Arc<[Lessons]>,
    /// Parameters that change while the node runs.
    pub live: Arc<Live>,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// The fate of every frame.
    pub accounting: Arc<[Accounting]>,
    /// How long each stage took.
    pub latencies: Arc<[Latencies]>,
    /// What is seen of the camera.
    pub monitors: Arc<[Monitor]>,
    /// Forward passes by their number of images.
    pub batches: Arc<Batches>,
}

impl Shared {
    /// For `n_cameras` cameras.
    pub fn new(n_cameras: usize, live: Arc<Live>, clock: Arc<Clock>) -> Self {
        fn of_each<T: Default>(n_cameras: usize) -> Arc<[T]> {
            (0..n_cameras).map(|_| T::default()).collect()
        }
        Self {
            subscribed: of_each(n_cameras),
            viewed: of_each(n_cameras),
            queries: of_each(n_cameras),
            lessons: of_each(n_cameras),
            live,
            clock,
            accounting: of_each(n_cameras),
            latencies: of_each(n_cameras),
            monitors: of_each(n_cameras),
            batches: Arc::default(),
        }
    }

    /// What is to be made of a camera's frames now: what has subscribers or is looked at, as far as it is not
    /// switched off.
    pub fn wanted(&self, camera: usize) -> Topics {
        let Outputs { features, embedding, depth, segmentation } = self.live.outputs();
        let wanted = self.subscribed[camera].get().union(self.viewed[camera].get());
        wanted.of_groups(|group| match group {
            Group::Features => features,
            Group::Embedding => embedding,
            Group::Depth => depth,
            Group::Segmentation => segmentation,
            Group::Times => true,
        })
    }

    /// Whether a camera's frames, of which `wanted` is to be made, are worth nothing now: nothing is learnt of
    /// them either.
    pub(super) fn is_idle(&self, camera: usize, wanted: Topics) -> bool {
        wanted.is_idle() && !self.lessons[camera].wait()
    }

    /// Notes for diagnostics that `frame` came.
    pub fn arrived(&self, camera: usize, frame: &Frame) {
        let (stamp, now) = (frame.header.stamp.nanos(), self.clock.now_nanos());
        self.monitors[camera].arrived(frame.received, stamp, now, frame.image.n_bytes());
    }

    /// Time since `stamp`, zero for one from the future; `None` when the clock has not been told the time
    /// yet.
    pub(super) fn age(&self, stamp: Stamp) -> Option<Duration> {
        let age = self.clock.now_nanos()?.saturating_sub(stamp.nanos());
        Some(Duration::from_nanos(u64::try_from(age).unwrap_or_default()))
    }
}
