//! A message of any output: publishers of all outputs have one type, and a row of the table says which DDS
//! type each is.

use serde::Serialize;

use super::messages::{CameraInfo, CompressedImage, Embedding, Float64, Image, PatchFeatures, PointCloud2};
#[cfg(test)]
use crate::outputs::Message;

/// On the wire it is the message that it holds, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(in crate::ros) enum AnyMessage {
    PatchFeatures(PatchFeatures),
    Embedding(Embedding),
    Image(Image),
    CompressedImage(CompressedImage),
    CameraInfo(CameraInfo),
    PointCloud2(PointCloud2),
    Float64(Float64),
}

#[cfg(test)]
impl AnyMessage {
    /// The type that a row of the table names for it.
    pub(super) fn message(&self) -> Message {
        match self {
            Self::PatchFeatures(_) => Message::PatchFeatures,
            Self::Embedding(_) => Message::Embedding,
            Self::Image(_) => Message::Image,
            Self::CompressedImage(_) => Message::CompressedImage,
            Self::CameraInfo(_) => Message::CameraInfo,
            Self::PointCloud2(_) => Message::PointCloud2,
            Self::Float64(_) => Message::Float64,
        }
    }

    /// Bytes of its payload; `None` for messages of numbers and names.
    pub(super) fn n_bytes(&self) -> Option<usize> {
        match self {
            Self::PatchFeatures(features) => Some(features.data.len()),
            Self::Embedding(embedding) => Some(4 * (embedding.pooled.len() + embedding.class_tokens.len())),
            Self::Image(image) => Some(image.data.len()),
            Self::CompressedImage(image) => Some(image.data.len()),
            Self::PointCloud2(cloud) => Some(cloud.data.len()),
            Self::CameraInfo(_) | Self::Float64(_) => None,
        }
    }
}
