//! Configuration: ROS parameters, files and command line become one checked [`Config`]. Every
//! default is in `parameters`; what a [`Config`] holds cannot be wrong later.

mod value;

use std::path::PathBuf;

use crate::geometry::Size;

pub use value::Value;

/// Everything that the node was told, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Folder, cached Hugging Face id or `random:NAME`; resolved by `pixio::source`.
    pub model: String,
    /// Where the model runs.
    pub device: Device,
    /// Arithmetic of the model.
    pub precision: Precision,
    /// CPU threads of one forward pass; `None` lets libtorch choose.
    pub threads: Option<usize>,
    /// Model input in pixels (both sides divisible by 16). Not read under [`Fit::Auto`].
    pub size: Size,
    /// How a camera picture becomes a model input.
    pub fit: Fit,
    /// The resampling filter.
    pub resize_filter: ResizeFilter,
    /// Block whose tokens feed `~/features`, counted from 1; `None` is the last.
    pub layer: Option<usize>,
    /// Raw or compressed camera topics.
    pub image_transport: ImageTransport,
    /// QoS of the camera subscriptions.
    pub image_reliability: Reliability,
    /// QoS of the outputs; `None` chooses by size.
    pub output_reliability: Option<Reliability>,
    /// Address that DDS uses.
    pub network_interface: NetworkInterface,
    /// Upper bound of frames per second; `None` takes every frame.
    pub max_rate: Option<f64>,
    /// Element type of `~/features`.
    pub features_dtype: FeaturesDtype,
    /// Channels of `~/features/reduced`, 1 to 64.
    pub reduced_channels: usize,
    /// PCA basis file; `None` uses the cache.
    pub pca_basis: Option<PathBuf>,
    /// Seconds between two lines of statistics.
    pub stats_period_secs: f64,
}

/// Device of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// CUDA when it loads, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA device by index.
    Cuda(usize),
}

/// Arithmetic of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// bfloat16 on CUDA, float32 on the CPU.
    Auto,
    /// 32-bit floats.
    Float32,
    /// 16-bit brain floats.
    Bfloat16,
    /// 16-bit IEEE floats.
    Float16,
}

/// How a camera picture becomes a model input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Each axis scaled on its own; what Hugging Face does.
    Stretch,
    /// Scaled to fit inside, centred, the rest padded with the mean colour.
    Letterbox,
    /// Scaled to cover, the middle kept.
    Crop,
    /// Stretched to the standard size nearest the camera's aspect.
    Auto,
}

/// Resampling filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeFilter {
    /// Antialiased bicubic, as in training.
    Exact,
    /// OpenCV's bilinear: fastest, aliases.
    Linear,
}

/// Camera topic flavour, named as in image_transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageTransport {
    /// `sensor_msgs/Image`.
    Raw,
    /// `sensor_msgs/CompressedImage`.
    Compressed,
}

/// QoS reliability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// Lost samples stay lost.
    BestEffort,
    /// Lost samples are sent again.
    Reliable,
}

/// Which network address DDS uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkInterface {
    /// The default route's address; loopback when there is none or ROS asks for localhost.
    Auto,
    /// This address.
    Address(std::net::IpAddr),
}

/// Element type of published features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeaturesDtype {
    /// IEEE half.
    Float16,
    /// IEEE single.
    Float32,
}
