//! The outputs of a frame as messages on their topics.

use std::time::Duration;

use ros2_client::Publisher;
use serde::Serialize;
use serde_bytes::ByteBuf;

use super::calibration::camera_info;
use super::messages::{CameraInfo, CompressedImage, Embedding, Header, Image, PatchFeatures};
use crate::config::FeaturesDtype;
use crate::geometry::Geometry;
use crate::logging::Throttle;
use crate::runtime::wanted::Topic;
use crate::stages::heads::{FeatureMap, ModelCard, Output, RgbPicture};
use crate::stages::publish::{Sent, Sink};

/// Least time between two warnings about one topic.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(5);

/// What image_transport's subscriber reads as "a PNG file of an rgb8 picture": it decodes to
/// OpenCV's bgr8 and turns that back into the first word.
const PNG_OF_RGB8: &str = "rgb8; png compressed bgr8";

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
}

/// ROS type of a topic: package and name.
pub(super) fn message_type(topic: Topic) -> (&'static str, &'static str) {
    match topic {
        Topic::Features => ("pixio_node", "PatchFeatures"),
        Topic::Reduced | Topic::Pca => ("sensor_msgs", "Image"),
        Topic::PcaCompressed => ("sensor_msgs", "CompressedImage"),
        Topic::GridInfo => ("sensor_msgs", "CameraInfo"),
        Topic::Embedding => ("pixio_node", "Embedding"),
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
    fn send(&mut self, output: Output) -> Sent {
        let mut sent = Sent::default();
        let Some(topics) = self.0.get_mut(output.camera) else { return sent };
        let Output { header, card, geometry, .. } = output;
        let header = Header::from(header);
        let stamped = || header.clone();
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
        let pca_file = output.pca_png.map(|file| CompressedImage {
            header: stamped(),
            format: PNG_OF_RGB8.to_owned(),
            data: ByteBuf::from(file),
        });
        topics.features.send(features, &mut sent);
        topics.reduced.send(output.reduced.map(|map| float_image(stamped(), map)), &mut sent);
        topics.pca.send(output.pca.map(|picture| rgb_image(stamped(), picture)), &mut sent);
        topics.pca_compressed.send(pca_file, &mut sent);
        topics.grid_info.send(output.grid_info.map(|grid| camera_info(stamped(), grid)), &mut sent);
        topics.embedding.send(embedding, &mut sent);
        sent
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
