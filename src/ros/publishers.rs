//! The outputs of a frame as messages on their topics.

use std::time::Duration;

use ros2_client::Publisher;
use serde::Serialize;
use serde_bytes::ByteBuf;

use super::calibration::camera_info;
use super::messages::{
    CameraInfo, CompressedImage, Embedding, Float64, Header, Image, LabelInfo, PatchFeatures, PointCloud2,
    PointField, VisionClass,
};
use crate::config::FeaturesDtype;
use crate::encode::{self, Cloud};
use crate::geometry::{CameraModel, Geometry, Size};
use crate::heads::Class;
use crate::logging::Throttle;
use crate::runtime::wanted::{Topic, Topics};
use crate::stages::heads::{DepthMap, FeatureMap, LabelMap, ModelCard, Output, RgbPicture};
use crate::stages::publish::{Encoded, Sent, Sink, Times};

/// Least time between two warnings about one topic.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(5);

/// What image_transport's subscriber reads as "a PNG file of an rgb8 picture": it decodes to
/// OpenCV's bgr8 and turns that back into the first word.
const PNG_OF_RGB8: &str = "rgb8; png compressed bgr8";

/// The same for a picture of labels: one byte per pixel, exact.
const PNG_OF_MONO8: &str = "mono8; png compressed mono8";

/// `PointField.FLOAT32` and `PointField.UINT32`.
const FLOAT32: u8 = 7;
const UINT32: u8 = 6;

/// Publishers of every camera.
pub struct Publishers(Vec<CameraOutputs>);

/// Publishers of one camera.
pub(super) struct CameraOutputs {
    pub(super) features: Out<PatchFeatures>,
    pub(super) reduced: Out<Image>,
    pub(super) pca: Out<Image>,
    pub(super) pca_compressed: Out<CompressedImage>,
    pub(super) grid_info: Out<CameraInfo>,
    pub(super) embedding: Out<Embedding>,
    pub(super) similarity: Out<Image>,
    pub(super) pipeline_latency: Out<Float64>,
    pub(super) processing_time: Out<Float64>,
    pub(super) depth: Option<DepthOutputs>,
    pub(super) segmentation: Option<SegmentationOutputs>,
}

/// Publishers of a camera's depth.
pub(super) struct DepthOutputs {
    pub(super) image: Option<Out<Image>>,
    pub(super) compressed: Out<CompressedImage>,
    pub(super) info: Out<CameraInfo>,
    pub(super) color: Out<CompressedImage>,
    pub(super) points: Out<PointCloud2>,
}

/// Publishers of a camera's segmentation.
pub(super) struct SegmentationOutputs {
    pub(super) image: Out<Image>,
    pub(super) compressed: Out<CompressedImage>,
    pub(super) confidence: Out<Image>,
    pub(super) info: Out<CameraInfo>,
    pub(super) overlay: Out<CompressedImage>,
    /// Holds what late subscribers hear.
    pub(super) _label_info: Publisher<LabelInfo>,
}

/// ROS type of a topic: package and name.
pub(super) fn message_type(topic: Topic) -> (&'static str, &'static str) {
    match topic {
        Topic::Features => ("pixio_node", "PatchFeatures"),
        Topic::Reduced
        | Topic::Pca
        | Topic::Depth
        | Topic::Labels
        | Topic::Confidence
        | Topic::Similarity => ("sensor_msgs", "Image"),
        Topic::PcaCompressed
        | Topic::DepthCompressed
        | Topic::DepthColor
        | Topic::LabelsCompressed
        | Topic::Overlay => ("sensor_msgs", "CompressedImage"),
        Topic::GridInfo | Topic::DepthInfo | Topic::LabelsInfo => ("sensor_msgs", "CameraInfo"),
        Topic::Points => ("sensor_msgs", "PointCloud2"),
        Topic::Embedding => ("pixio_node", "Embedding"),
        Topic::PipelineLatency | Topic::ProcessingTime => ("std_msgs", "Float64"),
    }
}

/// One topic.
pub(super) struct Out<M: Serialize> {
    topic: String,
    publisher: Publisher<M>,
    failing: Throttle,
}

impl<M: Serialize> Out<M> {
    pub(super) fn new(topic: String, publisher: Publisher<M>) -> Self {
        Self { topic, publisher, failing: Throttle::new(BETWEEN_WARNINGS) }
    }

    /// Sends `message`, if there is one, and adds what became of it to `sent`.
    fn send(&mut self, message: Option<M>, sent: &mut Sent) {
        let Some(message) = message else { return };
        let Err(err) = self.publisher.publish(message) else {
            sent.n_sent += 1;
            return;
        };
        sent.n_failed += 1;
        if let Some(more) = self.failing.admit() {
            tracing::warn!("{}: a message could not be sent ({more} more before it): {err}", self.topic);
        }
    }
}

impl Publishers {
    pub(super) fn new(cameras: Vec<CameraOutputs>) -> Self {
        Self(cameras)
    }
}

impl Sink for Publishers {
    fn send(&mut self, output: Output, encoded: Encoded) -> Sent {
        let mut sent = Sent::default();
        let Some(topics) = self.0.get_mut(output.camera) else { return sent };
        let Output { header, card, geometry, wanted, .. } = output;
        let header = Header::from(header);
        let stamped = || header.clone();
        let file = |format: &str, file: Option<Vec<u8>>| {
            file.map(|file| CompressedImage {
                header: stamped(),
                format: format.to_owned(),
                data: ByteBuf::from(file),
            })
        };
        let features = output.features.map(|map| patch_features(stamped(), &card, &geometry, map));
        let embedding = output.embedding.map(|embedding| Embedding {
            header: stamped(),
            model: card.name.clone(),
            revision: card.revision.clone(),
            n_cls_tokens: embedding.n_cls_tokens as u32,
            channels: embedding.channels as u32,
            pooled: embedding.pooled,
            class_tokens: embedding.class_tokens,
        });
        let pca = output.pca.filter(|_| wanted.contains(Topic::Pca));
        topics.features.send(features, &mut sent);
        topics.reduced.send(output.reduced.map(|map| float_image(stamped(), map)), &mut sent);
        topics.pca.send(pca.map(|picture| rgb_image(stamped(), picture)), &mut sent);
        topics.pca_compressed.send(file(PNG_OF_RGB8, encoded.pca), &mut sent);
        topics.grid_info.send(output.grid_info.map(|grid| camera_info(stamped(), grid)), &mut sent);
        topics.embedding.send(embedding, &mut sent);
        topics.similarity.send(output.similarity.map(|map| float_image(stamped(), map)), &mut sent);
        if let Some(topics) = &mut topics.depth {
            topics.info.send(output.depth_info.map(|info| camera_info(stamped(), info)), &mut sent);
            let depth = output.depth.filter(|_| wanted.contains(Topic::Depth));
            if let Some(topic) = &mut topics.image {
                topic.send(depth.map(|map| depth_image(stamped(), &map)), &mut sent);
            }
            topics.compressed.send(file(encode::COMPRESSED_DEPTH, encoded.depth), &mut sent);
            topics.color.send(file(PNG_OF_RGB8, encoded.depth_color), &mut sent);
            topics.points.send(encoded.points.map(|cloud| point_cloud(stamped(), cloud)), &mut sent);
        }
        if let Some(topics) = &mut topics.segmentation {
            let info = output.input_info.filter(|_| wanted.contains(Topic::LabelsInfo));
            let info = info.map(CameraModel::into_intrinsics);
            topics.info.send(info.map(|info| camera_info(stamped(), info)), &mut sent);
            topics.compressed.send(file(PNG_OF_MONO8, encoded.labels), &mut sent);
            topics.overlay.send(file(PNG_OF_RGB8, encoded.overlay), &mut sent);
            let (labels, confidence) = label_images(&header, output.labels, wanted);
            topics.image.send(labels, &mut sent);
            topics.confidence.send(confidence, &mut sent);
        }
        sent
    }

    fn tell(&mut self, camera: usize, wanted: Topics, times: Times) {
        let Some(topics) = self.0.get_mut(camera) else { return };
        let millis = |topic, time: Option<Duration>| {
            let time = time.filter(|_| wanted.contains(topic));
            time.map(|time| Float64 { data: time.as_secs_f64() * 1e3 })
        };
        // What is told about a frame is none of its outputs.
        let uncounted = &mut Sent::default();
        topics.pipeline_latency.send(millis(Topic::PipelineLatency, times.pipeline_latency), uncounted);
        topics.processing_time.send(millis(Topic::ProcessingTime, Some(times.processing)), uncounted);
    }
}

/// The classes of a segmentation head, as every late subscriber hears them.
pub(super) fn label_info(header: Header, classes: &[Class]) -> LabelInfo {
    let class_map = classes
        .iter()
        .enumerate()
        .map(|(id, class)| VisionClass { class_id: id as u16, class_name: class.name.clone() });
    LabelInfo { header, class_map: class_map.collect(), threshold: 0.0 }
}

fn depth_image(header: Header, map: &DepthMap) -> Image {
    Image {
        header,
        height: map.size.height,
        width: map.size.width,
        encoding: "32FC1".to_owned(),
        is_bigendian: 0,
        step: map.size.width * size_of::<f32>() as u32,
        data: ByteBuf::from(map.meters.iter().flat_map(|meters| meters.to_le_bytes()).collect::<Vec<_>>()),
    }
}

/// The labels and how sure the head is of them, as far as each is wanted.
fn label_images(header: &Header, map: Option<LabelMap>, wanted: Topics) -> (Option<Image>, Option<Image>) {
    let Some(LabelMap { size, classes, confidence }) = map else { return (None, None) };
    let image = |topic, bytes| wanted.contains(topic).then(|| mono_image(header.clone(), size, bytes));
    (image(Topic::Labels, classes), image(Topic::Confidence, confidence))
}

fn mono_image(header: Header, size: Size, bytes: Vec<u8>) -> Image {
    Image {
        header,
        height: size.height,
        width: size.width,
        encoding: "mono8".to_owned(),
        is_bigendian: 0,
        step: size.width,
        data: ByteBuf::from(bytes),
    }
}

fn point_cloud(header: Header, cloud: Cloud) -> PointCloud2 {
    let point_step = cloud.point_step();
    let fields = cloud.fields.iter().enumerate().map(|(index, field)| PointField {
        name: field.name.to_owned(),
        offset: 4 * index as u32,
        datatype: if field.is_float { FLOAT32 } else { UINT32 },
        count: 1,
    });
    PointCloud2 {
        header,
        height: cloud.size.height,
        width: cloud.size.width,
        fields: fields.collect(),
        is_bigendian: false,
        point_step,
        row_step: point_step * cloud.size.width,
        data: ByteBuf::from(cloud.bytes),
        is_dense: false,
    }
}

fn patch_features(header: Header, card: &ModelCard, geometry: &Geometry, map: FeatureMap) -> PatchFeatures {
    PatchFeatures {
        header,
        model: card.name.clone(),
        revision: card.revision.clone(),
        layer: card.layer as u32,
        // Engines return their taps after the final norm.
        normalized: true,
        image_height: geometry.camera.height,
        image_width: geometry.camera.width,
        grid_height: map.grid.height,
        grid_width: map.grid.width,
        channels: map.channels as u32,
        image_from_grid: geometry.camera_from_grid(),
        dtype: match map.dtype {
            FeaturesDtype::Float16 => "float16".to_owned(),
            FeaturesDtype::Float32 => "float32".to_owned(),
        },
        data: ByteBuf::from(map.bytes),
    }
}

fn float_image(header: Header, map: FeatureMap) -> Image {
    Image {
        header,
        height: map.grid.height,
        width: map.grid.width,
        encoding: format!("32FC{}", map.channels),
        is_bigendian: 0,
        step: map.grid.width * map.channels as u32 * size_of::<f32>() as u32,
        data: ByteBuf::from(map.bytes),
    }
}

fn rgb_image(header: Header, picture: RgbPicture) -> Image {
    Image {
        header,
        height: picture.size.height,
        width: picture.size.width,
        encoding: "rgb8".to_owned(),
        is_bigendian: 0,
        step: picture.size.width * 3,
        data: ByteBuf::from(picture.bytes),
    }
}
