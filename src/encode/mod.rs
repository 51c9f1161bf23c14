//! Maps and images as bytes for the wire and for eyes. Pure: no topic, no tensor.

mod cloud;
mod compressed_depth;
mod jpeg;
mod paint;
mod png;
mod resample;

pub use cloud::{Cloud, Field, Surface, cloud};
pub use compressed_depth::{COMPRESSED_DEPTH, compressed_depth};
pub use jpeg::jpeg;
pub use paint::{depth_colors, depth_scale, label_colors, overlay};
pub use png::{gray8, gray16, rgb8};
pub use resample::at_camera;
