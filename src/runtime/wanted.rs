//! Which outputs somebody listens to. The ROS edge writes it, the stages read it once a frame.

use std::sync::atomic::{AtomicU32, Ordering};

/// One output topic of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Topic {
    /// `~/features`.
    Features = 1 << 0,
    /// `~/features/reduced`.
    Reduced = 1 << 1,
    /// `~/features/pca`.
    Pca = 1 << 2,
    /// `~/features/pca/compressed`.
    PcaCompressed = 1 << 3,
    /// `~/features/camera_info`.
    GridInfo = 1 << 4,
    /// `~/embedding`.
    Embedding = 1 << 5,
}

impl Topic {
    /// The name below the node's private namespace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Features => "features",
            Self::Reduced => "features/reduced",
            Self::Pca => "features/pca",
            Self::PcaCompressed => "features/pca/compressed",
            Self::GridInfo => "features/camera_info",
            Self::Embedding => "embedding",
        }
    }
}

/// A set of topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Topics(u32);

impl Topics {
    /// Whether `topic` is in the set.
    pub fn contains(self, topic: Topic) -> bool {
        self.0 & topic as u32 != 0
    }

    /// Whether nothing is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Topic> for Topics {
    fn from_iter<I: IntoIterator<Item = Topic>>(topics: I) -> Self {
        Self(topics.into_iter().fold(0, |set, topic| set | topic as u32))
    }
}

/// The set of topics with subscribers, shared between threads.
#[derive(Debug, Default)]
pub struct Wanted(AtomicU32);

impl Wanted {
    /// The set as it is now.
    pub fn get(&self) -> Topics {
        Topics(self.0.load(Ordering::Relaxed))
    }

    /// Replaces the set.
    pub fn set(&self, topics: Topics) {
        self.0.store(topics.0, Ordering::Relaxed);
    }
}
