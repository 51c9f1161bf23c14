//! What was made of a frame, as messages.

use serde_bytes::ByteBuf;

use super::any::AnyMessage;
use super::calibration::camera_info;
use super::messages::{
    CameraInfo, CompressedImage, Embedding, Header, Image, LabelInfo, PatchFeatures, PointCloud2, PointField,
    VisionClass,
};
use crate::config::FeaturesDtype;
use crate::encode::{self, Cloud};
use crate::geometry::{CameraModel, Intrinsics, Size};
use crate::heads::Class;
use crate::outputs::Topic;
use crate::stages::derive::{self, DepthMap, Derived, FeatureMap, RgbImage};
use crate::stages::publish::Encoded;

/// What image_transport's subscriber reads as "a PNG file of an rgb8 image": it decodes to
/// OpenCV's bgr8 and turns that back into the first word.
const PNG_OF_RGB8: &str = "rgb8; png compressed bgr8";

/// The same for an image of labels: one byte per pixel, exact.
const PNG_OF_MONO8: &str = "mono8; png compressed mono8";

/// `PointField.FLOAT32` and `PointField.UINT32`.
const FLOAT32: u8 = 7;
const UINT32: u8 = 6;

/// Everything that the messages of one frame are filled from. Each part is taken by its message.
pub(super) struct Parts {
    /// Of the frame, unchanged; every message carries it.
    pub(super) header: Header,
    pub(super) derived: Derived,
    pub(super) encoded: Encoded,
}

impl Parts {
    fn image(&self, size: Size, encoding: String, pixel_bytes: usize, data: Vec<u8>) -> AnyMessage {
        AnyMessage::Image(Image {
            header: self.header.clone(),
            height: size.height,
            width: size.width,
            encoding,
            is_bigendian: 0,
            step: size.width * pixel_bytes as u32,
            data: ByteBuf::from(data),
        })
    }

    fn mono8(&self, size: Size, bytes: Vec<u8>) -> AnyMessage {
        self.image(size, "mono8".to_owned(), 1, bytes)
    }

    fn rgb8(&self, image: RgbImage) -> AnyMessage {
        self.image(image.size, "rgb8".to_owned(), 3, image.bytes)
    }

    fn float32(&self, map: FeatureMap) -> AnyMessage {
        let encoding = format!("32FC{}", map.channels);
        self.image(map.grid, encoding, map.channels * size_of::<f32>(), map.bytes)
    }

    fn depth(&self, map: &DepthMap) -> AnyMessage {
        let bytes = map.meters.iter().flat_map(|meters| meters.to_le_bytes()).collect();
        self.image(map.size, "32FC1".to_owned(), size_of::<f32>(), bytes)
    }

    fn file(&self, format: &str, file: Vec<u8>) -> AnyMessage {
        let (header, format) = (self.header.clone(), format.to_owned());
        AnyMessage::CompressedImage(CompressedImage { header, format, data: ByteBuf::from(file) })
    }

    fn camera_info(&self, intrinsics: Intrinsics) -> AnyMessage {
        let info: CameraInfo = camera_info(self.header.clone(), intrinsics);
        AnyMessage::CameraInfo(info)
    }

    fn patch_features(&self, map: FeatureMap) -> AnyMessage {
        let Derived { card, geometry, .. } = &self.derived;
        AnyMessage::PatchFeatures(PatchFeatures {
            header: self.header.clone(),
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
        })
    }

    fn embedding(&self, embedding: derive::Embedding) -> AnyMessage {
        let card = &self.derived.card;
        AnyMessage::Embedding(Embedding {
            header: self.header.clone(),
            model: card.name.clone(),
            revision: card.revision.clone(),
            n_cls_tokens: embedding.n_cls_tokens as u32,
            channels: embedding.channels as u32,
            pooled: embedding.pooled,
            class_tokens: embedding.class_tokens,
        })
    }

    fn points(&self, cloud: Cloud) -> AnyMessage {
        let point_step = cloud.point_step();
        let fields = cloud.fields.iter().enumerate().map(|(index, field)| PointField {
            name: field.name.to_owned(),
            offset: 4 * index as u32,
            datatype: if field.is_float { FLOAT32 } else { UINT32 },
            count: 1,
        });
        AnyMessage::PointCloud2(PointCloud2 {
            header: self.header.clone(),
            height: cloud.size.height,
            width: cloud.size.width,
            fields: fields.collect(),
            is_bigendian: false,
            point_step,
            row_step: point_step * cloud.size.width,
            data: ByteBuf::from(cloud.bytes),
            is_dense: false,
        })
    }
}

/// The message of an output, if there is one for this frame. The times of a frame are none of its outputs.
pub(super) fn message(topic: Topic, parts: &mut Parts) -> Option<AnyMessage> {
    let Parts { derived, encoded, .. } = parts;
    match topic {
        Topic::Features => derived.features.take().map(|map| parts.patch_features(map)),
        Topic::Reduced => derived.reduced.take().map(|map| parts.float32(map)),
        Topic::Pca => derived.pca.take().map(|image| parts.rgb8(image)),
        Topic::PcaCompressed => encoded.pca.take().map(|file| parts.file(PNG_OF_RGB8, file)),
        Topic::GridInfo => derived.grid_info.take().map(|info| parts.camera_info(info)),
        Topic::Embedding => derived.embedding.take().map(|embedding| parts.embedding(embedding)),
        Topic::Similarity => derived.similarity.take().map(|map| parts.float32(map)),
        Topic::DepthInfo => derived.depth_info.take().map(|info| parts.camera_info(info)),
        Topic::Depth => derived.depth.take().map(|map| parts.depth(&map)),
        Topic::DepthCompressed => encoded.depth.take().map(|file| parts.file(encode::COMPRESSED_DEPTH, file)),
        Topic::DepthColor => encoded.depth_color.take().map(|file| parts.file(PNG_OF_RGB8, file)),
        Topic::Points => encoded.points.take().map(|cloud| parts.points(cloud)),
        Topic::LabelsInfo => {
            let info = derived.input_info.take().map(CameraModel::into_intrinsics);
            info.map(|info| parts.camera_info(info))
        }
        Topic::LabelsCompressed => encoded.labels.take().map(|file| parts.file(PNG_OF_MONO8, file)),
        Topic::Overlay => encoded.overlay.take().map(|file| parts.file(PNG_OF_RGB8, file)),
        Topic::Labels | Topic::Confidence => {
            let map = derived.labels.as_mut()?;
            let bytes = if topic == Topic::Labels { &mut map.classes } else { &mut map.confidence };
            let (size, bytes) = (map.size, std::mem::take(bytes));
            Some(parts.mono8(size, bytes))
        }
        Topic::PipelineLatency | Topic::ProcessingTime => None,
    }
}

/// The classes of a segmentation head and the least confidence of its labels, as every late subscriber hears
/// them.
pub(in crate::ros) fn label_info(header: Header, classes: &[Class], threshold: f32) -> LabelInfo {
    let class_map = classes
        .iter()
        .enumerate()
        .map(|(id, class)| VisionClass { class_id: id as u16, class_name: class.name.clone() });
    LabelInfo { header, class_map: class_map.collect(), threshold }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::geometry::{Geometry, Projection, Readout, Rect};
    use crate::outputs::{Group, Payload, TABLE};
    use crate::runtime::input_pixels::InputPixels;
    use crate::stages::camera;
    use crate::stages::derive::{LabelMap, ModelCard};

    const MODEL: Size = Size { width: 48, height: 32 };
    const GRID: Size = Size { width: 3, height: 2 };
    const N_CHANNELS: usize = 5;

    /// A frame of which there is everything.
    fn whole() -> Parts {
        let (n_patches, n_pixels) = (3 * 2, 48 * 32);
        let map = |channels, dtype, value_bytes: usize| FeatureMap {
            grid: GRID,
            channels,
            dtype,
            bytes: vec![1; n_patches * channels * value_bytes],
        };
        let k = [500.0, 0.0, 24.0, 0.0, 500.0, 16.0, 0.0, 0.0, 1.0];
        let intrinsics = Intrinsics {
            size: MODEL,
            distortion_model: "plumb_bob".to_owned(),
            d: vec![0.0; 5],
            k,
            r: [0.0; 9],
            p: [0.0; 12],
        };
        let readout = Readout::new(MODEL, [1; 2], Rect { left: 0, top: 0, size: MODEL }).unwrap();
        let input_info = CameraModel::new(intrinsics.clone(), readout, Projection::Raw).unwrap();
        let card = ModelCard { name: "m".into(), revision: "0".into(), layer: 1, n_cls_tokens: 2 };
        let embedding = derive::Embedding {
            n_cls_tokens: 2,
            channels: N_CHANNELS,
            pooled: vec![0.0; N_CHANNELS],
            class_tokens: vec![0.0; 2 * N_CHANNELS],
        };
        let derived = Derived {
            header: camera::Header::default(),
            camera: 0,
            received: Instant::now(),
            geometry: Geometry::stretch(MODEL, MODEL),
            pixels: InputPixels::default(),
            card: Arc::new(card),
            wanted: TABLE.iter().map(|output| output.topic).collect(),
            features: Some(map(N_CHANNELS, FeaturesDtype::Float16, 2)),
            reduced: Some(map(N_CHANNELS, FeaturesDtype::Float32, 4)),
            pca: Some(RgbImage { size: derive::pca_size(GRID), bytes: vec![0; n_patches * 8 * 8 * 3] }),
            grid_info: Some(intrinsics.clone()),
            embedding: Some(embedding),
            exemplars: None,
            similarity: Some(map(1, FeaturesDtype::Float32, 4)),
            depth: Some(DepthMap { size: MODEL, meters: vec![1.0; n_pixels], max_meters: 10.0 }),
            labels: Some(LabelMap {
                size: MODEL,
                classes: vec![0; n_pixels],
                confidence: vec![0; n_pixels],
                legend: Arc::default(),
            }),
            input_info: Some(input_info),
            depth_info: Some(intrinsics),
            lacks: Vec::new(),
        };
        let file = || Some(vec![7; 9]);
        let encoded = Encoded {
            pca: file(),
            depth: file(),
            depth_color: file(),
            points: Some(Cloud { size: Size { width: 1, height: 1 }, fields: &[], bytes: vec![0; 16] }),
            labels: file(),
            overlay: file(),
            lack: None,
        };
        Parts { header: Header { frame_id: "optical".to_owned(), ..Header::default() }, derived, encoded }
    }

    #[test]
    fn every_output_of_a_frame_is_a_message_of_its_type_and_size() {
        let mut parts = whole();
        let (n_patches, n_pixels) = (3 * 2, 48 * 32);
        for output in TABLE.iter().filter(|output| output.group != Group::Times) {
            let filled = message(output.topic, &mut parts).expect(output.name);
            assert_eq!(filled.message(), output.message, "{}", output.name);
            let expect = match output.size {
                Payload::Small => None,
                Payload::Varies => filled.n_bytes(),
                Payload::ClassTokens => Some(4 * N_CHANNELS * 3),
                Payload::PerChannel(bytes) => Some(n_patches * N_CHANNELS * bytes),
                Payload::PerPatch(bytes) => Some(n_patches * bytes),
                Payload::PerPixel(bytes) => Some(n_pixels * bytes),
            };
            assert_eq!(filled.n_bytes(), expect, "{}", output.name);
            assert_eq!(header(&filled).frame_id, "optical", "{}", output.name);
        }
    }

    fn header(message: &AnyMessage) -> &Header {
        match message {
            AnyMessage::PatchFeatures(message) => &message.header,
            AnyMessage::Embedding(message) => &message.header,
            AnyMessage::Image(message) => &message.header,
            AnyMessage::CompressedImage(message) => &message.header,
            AnyMessage::CameraInfo(message) => &message.header,
            AnyMessage::PointCloud2(message) => &message.header,
            AnyMessage::Float64(_) => panic!("a frame's outputs have headers"),
        }
    }

    #[test]
    fn a_message_of_any_type_is_written_as_that_type() {
        use ros2_client::dds::rustdds::no_key::SerializerAdapter;
        use ros2_client::dds::rustdds::serialization::CDRSerializerAdapter;
        let mut parts = whole();
        let Some(any @ AnyMessage::Image(_)) = message(Topic::Depth, &mut parts) else { panic!("no image") };
        let AnyMessage::Image(image) = any.clone() else { panic!("no image") };
        let ours =
            <CDRSerializerAdapter<AnyMessage> as SerializerAdapter<AnyMessage>>::to_bytes(&any).unwrap();
        let plain = <CDRSerializerAdapter<Image> as SerializerAdapter<Image>>::to_bytes(&image).unwrap();
        assert_eq!(ours, plain);
    }
}
