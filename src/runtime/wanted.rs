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
    /// `~/depth/image`.
    Depth = 1 << 6,
    /// `~/depth/image/compressedDepth`.
    DepthCompressed = 1 << 7,
    /// `~/depth/camera_info`.
    DepthInfo = 1 << 8,
    /// `~/depth/color/compressed`.
    DepthColor = 1 << 9,
    /// `~/points`.
    Points = 1 << 10,
    /// `~/segmentation/image`.
    Labels = 1 << 11,
    /// `~/segmentation/image/compressed`.
    LabelsCompressed = 1 << 12,
    /// `~/segmentation/confidence`.
    Confidence = 1 << 13,
    /// `~/segmentation/camera_info`.
    LabelsInfo = 1 << 14,
    /// `~/segmentation/overlay/compressed`.
    Overlay = 1 << 15,
    /// `~/similarity`.
    Similarity = 1 << 16,
    /// `~/pipeline_latency_ms`.
    PipelineLatency = 1 << 17,
    /// `~/processing_time_ms`.
    ProcessingTime = 1 << 18,
}

/// What is made from the patch tokens themselves.
pub const FEATURES: [Topic; 6] =
    [Topic::Features, Topic::Reduced, Topic::Pca, Topic::PcaCompressed, Topic::GridInfo, Topic::Similarity];

/// What is made from depth.
pub const DEPTH: [Topic; 5] =
    [Topic::Depth, Topic::DepthCompressed, Topic::DepthInfo, Topic::DepthColor, Topic::Points];

/// What is made from labels.
pub const SEGMENTATION: [Topic; 5] =
    [Topic::Labels, Topic::LabelsCompressed, Topic::Confidence, Topic::LabelsInfo, Topic::Overlay];

/// What is told about frames that are served anyway.
pub const TIMES: [Topic; 2] = [Topic::PipelineLatency, Topic::ProcessingTime];

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
            Self::Depth => "depth/image",
            Self::DepthCompressed => "depth/image/compressedDepth",
            Self::DepthInfo => "depth/camera_info",
            Self::DepthColor => "depth/color/compressed",
            Self::Points => "points",
            Self::Labels => "segmentation/image",
            Self::LabelsCompressed => "segmentation/image/compressed",
            Self::Confidence => "segmentation/confidence",
            Self::LabelsInfo => "segmentation/camera_info",
            Self::Overlay => "segmentation/overlay/compressed",
            Self::Similarity => "similarity",
            Self::PipelineLatency => "pipeline_latency_ms",
            Self::ProcessingTime => "processing_time_ms",
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

    /// Whether any of `topics` is in the set.
    pub fn contains_any(self, topics: &[Topic]) -> bool {
        topics.iter().any(|topic| self.contains(*topic))
    }

    /// Whether nothing is in the set that a frame would have to be worked on for.
    pub fn is_idle(self) -> bool {
        self.without(&TIMES).0 == 0
    }

    /// The set without `topics`.
    pub fn without(self, topics: &[Topic]) -> Self {
        Self(self.0 & !topics.iter().copied().collect::<Self>().0)
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
