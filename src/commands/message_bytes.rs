//! How large messages will be, which decides how they are sent.

use crate::commands::model::{Model, input_size};
use crate::config::{Config, DepthResolution, FeaturesDtype, Fit};
use crate::geometry::{PATCH, Size};
use crate::runtime::wanted::Topic;
use crate::stages::heads::{pca_size, reduced_channels};
use crate::stages::publish::points_stride;

/// Size of one message of `topic`, within a few header bytes.
pub(super) fn message_bytes(topic: Topic, config: &Config, model: &Model) -> usize {
    let pixels = |size: Size| size.width as usize * size.height as usize;
    let Size { width, height } = input_size(config);
    // Nobody knows yet how large the camera's pictures are.
    let camera = Size { width: 640, height: 480 };
    let input = if config.fit == Fit::Window { camera } else { input_size(config) };
    let grid = Size { width: width / PATCH, height: height / PATCH };
    let channels = model.pixio().config().hidden_size;
    match topic {
        Topic::Features => {
            let element_bytes = match config.features_dtype {
                FeaturesDtype::Float16 => 2,
                FeaturesDtype::Float32 => 4,
            };
            pixels(grid) * channels * element_bytes
        }
        Topic::Reduced => pixels(grid) * reduced_channels(config.reduced_channels, grid) * 4,
        // The compressed twin is smaller than this by an amount that the picture decides.
        Topic::Pca | Topic::PcaCompressed => pixels(pca_size(grid)) * 3,
        Topic::GridInfo | Topic::DepthInfo | Topic::LabelsInfo => 512,
        Topic::PipelineLatency | Topic::ProcessingTime => 8,
        // Compressed twins are smaller than their bounds here by an amount that the picture decides.
        Topic::Depth => pixels(input) * 4,
        Topic::DepthCompressed => match config.depth_resolution {
            DepthResolution::Model => pixels(input) * 2,
            DepthResolution::Camera => pixels(camera) * 2,
        },
        Topic::DepthColor | Topic::Overlay => pixels(input) * 3,
        Topic::Points => {
            let stride = points_stride(config.points_stride, input);
            let n_points = input.width.div_ceil(stride) as usize * input.height.div_ceil(stride) as usize;
            n_points * if model.made.classes.is_some() { 20 } else { 16 }
        }
        Topic::Labels | Topic::LabelsCompressed | Topic::Confidence => pixels(input),
        Topic::Similarity => pixels(grid) * 4,
        Topic::Embedding => (model.card.n_cls_tokens + 1) * channels * 4,
    }
}
