//! The table of outputs: every topic that carries what is made from a camera's frames, and what it takes to
//! make it.
//!
//! A new output is a variant and a row here, the place that computes it ([`crate::stages::derive`], or
//! [`crate::stages::publish`] for an encoding of another output), and the place that fills its message
//! ([`crate::ros::wire`]).

use std::sync::atomic::{AtomicU32, Ordering};

/// One output topic of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `~/features`.
    Features,
    /// `~/features/reduced`.
    Reduced,
    /// `~/features/pca`.
    Pca,
    /// `~/features/pca/compressed`.
    PcaCompressed,
    /// `~/features/camera_info`.
    GridInfo,
    /// `~/embedding`.
    Embedding,
    /// `~/similarity`.
    Similarity,
    /// `~/depth/camera_info`.
    DepthInfo,
    /// `~/depth/image`.
    Depth,
    /// `~/depth/image/compressedDepth`.
    DepthCompressed,
    /// `~/depth/color/compressed`.
    DepthColor,
    /// `~/points`.
    Points,
    /// `~/segmentation/camera_info`.
    LabelsInfo,
    /// `~/segmentation/image/compressed`.
    LabelsCompressed,
    /// `~/segmentation/overlay/compressed`.
    Overlay,
    /// `~/segmentation/image`.
    Labels,
    /// `~/segmentation/confidence`.
    Confidence,
    /// `~/pipeline_latency_ms`.
    PipelineLatency,
    /// `~/processing_time_ms`.
    ProcessingTime,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// The topic that this row describes.
    pub topic: Topic,
    /// The name below the node's private namespace, and below the camera's prefix.
    pub name: &'static str,
    /// ROS type of the topic.
    pub message: Message,
    /// What switches it off.
    pub group: Group,
    /// When there is such a topic.
    pub exists: Exists,
    /// The patch tokens that it is computed from.
    pub needs: &'static [Need],
    /// What it needs of a calibration.
    pub calibration: Calibrated,
    /// Bytes of its payload.
    pub size: Payload,
}

/// ROS types of outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// `pixio_node/PatchFeatures`.
    PatchFeatures,
    /// `pixio_node/Embedding`.
    Embedding,
    /// `sensor_msgs/Image`.
    Image,
    /// `sensor_msgs/CompressedImage`.
    CompressedImage,
    /// `sensor_msgs/CameraInfo`.
    CameraInfo,
    /// `sensor_msgs/PointCloud2`.
    PointCloud2,
    /// `std_msgs/Float64`.
    Float64,
}

/// Outputs that one parameter switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// `publish_features`: what is made from the patch tokens themselves.
    Features,
    /// `publish_embedding`.
    Embedding,
    /// `publish_depth`.
    Depth,
    /// `publish_segmentation`.
    Segmentation,
    /// Times of frames that are processed for another output. Nothing is computed for these topics only.
    Times,
}

/// When the node has a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exists {
    /// With every model.
    Always,
    /// With a depth head.
    WithDepth,
    /// With a depth head whose output keeps the size of the model input: a raw image of a camera's size is
    /// more than DDS carries well.
    WithDepthOfModelSize,
    /// With a segmentation head.
    WithSegmentation,
}

/// Patch tokens that an output is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The tokens of the feature layer.
    Features,
    /// The tokens of the feature layer, and the basis of the principal components.
    Basis,
    /// The tokens of the feature layer, once a patch has been queried.
    Query,
    /// The tokens of the last layer.
    Last,
    /// What the depth head reads.
    Depth,
    /// What the segmentation head reads, if there is one.
    Labels,
}

/// What an output needs of the camera's calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calibrated {
    /// Nothing.
    No,
    /// The numbers of a CameraInfo, which it repeats.
    Numbers,
    /// A lens whose distortion can be undone.
    Lens,
}

/// How many bytes an output's message carries beside a few names and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A few hundred bytes.
    Small,
    /// What an encoder makes of an image, or as many points as the stride leaves.
    Varies,
    /// A few KB: one token of float32 for each class token, and their mean.
    ClassTokens,
    /// So many for each channel of each patch.
    PerChannel(usize),
    /// So many for each patch.
    PerPatch(usize),
    /// So many for each pixel of the model input.
    PerPixel(usize),
}

/// Every output, in the order in which a frame's messages are sent.
pub static TABLE: [Output; 19] = {
    use self::Message::{CameraInfo, CompressedImage, Embedding, Float64, Image, PatchFeatures, PointCloud2};
    use Calibrated::{Lens, No, Numbers};
    use Exists::{Always, WithDepth, WithDepthOfModelSize, WithSegmentation};
    use Need::{Basis, Depth, Features, Labels, Last, Query};
    use Payload::{ClassTokens, PerChannel, PerPatch, PerPixel, Small, Varies};
    macro_rules! rows {
        ($($topic:ident: $name:literal, $message:ident, $group:ident, $exists:ident, [$($need:ident),*],
           $calibration:ident, $size:expr;)*) => {
            [$(Output {
                topic: Topic::$topic,
                name: $name,
                message: $message,
                group: Group::$group,
                exists: $exists,
                needs: &[$($need),*],
                calibration: $calibration,
                size: $size,
            }),*]
        };
    }
    rows! {
        Features: "features", PatchFeatures, Features, Always, [Features], No, PerChannel(2);
        Reduced: "features/reduced", Image, Features, Always, [Basis], No, PerChannel(4);
        Pca: "features/pca", Image, Features, Always, [Basis], No, PerPatch(3 * 8 * 8);
        PcaCompressed: "features/pca/compressed", CompressedImage, Features, Always, [Basis], No, Varies;
        GridInfo: "features/camera_info", CameraInfo, Features, Always, [], Numbers, Small;
        Embedding: "embedding", Embedding, Embedding, Always, [Last], No, ClassTokens;
        Similarity: "similarity", Image, Features, Always, [Query], No, PerPatch(4);
        DepthInfo: "depth/camera_info", CameraInfo, Depth, WithDepth, [], Numbers, Small;
        Depth: "depth/image", Image, Depth, WithDepthOfModelSize, [Depth], No, PerPixel(4);
        DepthCompressed: "depth/image/compressedDepth", CompressedImage, Depth, WithDepth,
            [Depth], No, Varies;
        DepthColor: "depth/color/compressed", CompressedImage, Depth, WithDepth, [Depth], No, Varies;
        Points: "points", PointCloud2, Depth, WithDepth, [Depth, Labels], Lens, Varies;
        LabelsInfo: "segmentation/camera_info", CameraInfo, Segmentation, WithSegmentation,
            [], Numbers, Small;
        LabelsCompressed: "segmentation/image/compressed", CompressedImage, Segmentation, WithSegmentation,
            [Labels], No, Varies;
        Overlay: "segmentation/overlay/compressed", CompressedImage, Segmentation, WithSegmentation,
            [Labels], No, Varies;
        Labels: "segmentation/image", Image, Segmentation, WithSegmentation,
            [Labels], No, PerPixel(1);
        Confidence: "segmentation/confidence", Image, Segmentation, WithSegmentation,
            [Labels], No, PerPixel(1);
        PipelineLatency: "pipeline_latency_ms", Float64, Times, Always, [], No, Small;
        ProcessingTime: "processing_time_ms", Float64, Times, Always, [], No, Small;
    }
};

const _: () = {
    let mut index = 0;
    while index < TABLE.len() {
        assert!(TABLE[index].topic as usize == index, "the rows have the order of the variants of Topic");
        index += 1;
    }
};

impl Topic {
    /// The topic's row of the table.
    pub fn output(self) -> &'static Output {
        &TABLE[self as usize]
    }

    /// The name below the node's private namespace.
    pub fn name(self) -> &'static str {
        self.output().name
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl Message {
    /// The package that defines the type.
    pub fn package(self) -> &'static str {
        match self {
            Self::PatchFeatures | Self::Embedding => "pixio_node",
            Self::Image | Self::CompressedImage | Self::CameraInfo | Self::PointCloud2 => "sensor_msgs",
            Self::Float64 => "std_msgs",
        }
    }

    /// The name of the type within its package.
    pub fn name(self) -> &'static str {
        match self {
            Self::PatchFeatures => "PatchFeatures",
            Self::Embedding => "Embedding",
            Self::Image => "Image",
            Self::CompressedImage => "CompressedImage",
            Self::CameraInfo => "CameraInfo",
            Self::PointCloud2 => "PointCloud2",
            Self::Float64 => "Float64",
        }
    }
}

/// A set of topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Topics(u32);

impl Topics {
    /// Whether `topic` is in the set.
    pub fn contains(self, topic: Topic) -> bool {
        self.0 & topic.bit() != 0
    }

    /// The outputs of the set, in the order of the table.
    pub fn outputs(self) -> impl Iterator<Item = &'static Output> {
        TABLE.iter().filter(move |output| self.contains(output.topic))
    }

    /// The topics of either set.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The topics of both sets.
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether an output of the set is computed from `need`.
    pub fn need(self, need: Need) -> bool {
        self.outputs().any(|output| output.needs.contains(&need))
    }

    /// Whether no output of the set is worth a frame's work.
    pub fn is_idle(self) -> bool {
        self.outputs().all(|output| output.group == Group::Times)
    }

    /// The set without the outputs of the groups that are not `on`.
    pub fn of_groups(self, on: impl Fn(Group) -> bool) -> Self {
        self.outputs().filter(|output| on(output.group)).map(|output| output.topic).collect()
    }
}

impl FromIterator<Topic> for Topics {
    fn from_iter<I: IntoIterator<Item = Topic>>(topics: I) -> Self {
        Self(topics.into_iter().fold(0, |set, topic| set | topic.bit()))
    }
}

/// A camera's topics that somebody wants, shared between threads: the ROS side writes those with subscribers,
/// the live page those that are looked at, and the stages read both once per frame.
#[derive(Debug, Default)]
pub struct Subscribed(AtomicU32);

impl Subscribed {
    /// The set as it is now.
    pub fn get(&self) -> Topics {
        Topics(self.0.load(Ordering::Relaxed))
    }

    /// Replaces the set.
    pub fn set(&self, topics: Topics) {
        self.0.store(topics.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of docs/topics.md: the name of a topic of ours, and its type.
    fn documented() -> Vec<(String, String)> {
        let page = include_str!("../docs/topics.md").lines();
        let rows = page.filter_map(|line| line.strip_prefix("| `~/")?.split_once("` | "));
        let typed = rows.filter_map(|(name, rest)| {
            let words = rest.split(" | ").next()?;
            let message = words.split(' ').next()?;
            message.contains('/').then(|| (name.to_owned(), message.to_owned()))
        });
        typed.collect()
    }

    #[test]
    fn the_page_of_topics_has_every_output_with_its_type() {
        let page = documented();
        for output in &TABLE {
            let message = format!("{}/{}", output.message.package(), output.message.name());
            let row = (output.name.to_owned(), message);
            assert!(page.contains(&row), "docs/topics.md lacks {row:?}");
        }
        let others = [
            "query",
            "segmentation/label_info",
            "set_enabled",
            "save_pca_basis",
            "reset_pca_basis",
            "teach",
            "save_head",
        ];
        let is_known = |name: &str| others.contains(&name) || TABLE.iter().any(|output| output.name == name);
        for (name, _) in &page {
            assert!(is_known(name), "docs/topics.md has {name}, which is no output");
        }
    }

    #[test]
    fn names_are_unique_and_begin_with_their_group() {
        for (index, output) in TABLE.iter().enumerate() {
            assert!(TABLE[index + 1..].iter().all(|other| other.name != output.name), "{}", output.name);
            let head = matches!(output.exists, Exists::WithDepth | Exists::WithDepthOfModelSize);
            assert_eq!(head, output.group == Group::Depth, "{}", output.name);
        }
    }

    #[test]
    fn a_set_knows_what_it_takes() {
        let set = |topics: &[Topic]| topics.iter().copied().collect::<Topics>();
        assert!(set(&[]).is_idle() && set(&[Topic::PipelineLatency, Topic::ProcessingTime]).is_idle());
        assert!(!set(&[Topic::GridInfo, Topic::ProcessingTime]).is_idle());
        let points = set(&[Topic::Points, Topic::GridInfo]);
        assert!(points.need(Need::Depth) && points.need(Need::Labels) && !points.need(Need::Features));
        let without_depth = points.of_groups(|group| group != Group::Depth);
        assert_eq!(without_depth, set(&[Topic::GridInfo]));
        let all: Topics = TABLE.iter().map(|output| output.topic).collect();
        assert_eq!(all.outputs().count(), TABLE.len());
    }
}
