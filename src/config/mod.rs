//! Configuration: ROS parameters, files and command line become one checked [`Config`]. Every
//! default is in [`parameters`]; what a [`Config`] holds cannot be wrong later.

mod choices;
mod depth;
mod descriptor;
mod error;
pub mod files;
pub mod live;
mod origin;
pub mod parameters;
mod settings;
mod sizes;
mod token;
mod value;
pub mod yaml;

use std::net::IpAddr;
use std::path::PathBuf;

use crate::geometry::Size;

pub use choices::{
    Choice, DepthResolution, Device, EngineBuild, EngineChoice, FeaturesDtype, Fit, ImageTransport, LogLevel,
    NetworkInterface, Precision, Reliability, ResizeFilter, Upsampling,
};
pub use depth::DepthLimits;
pub use descriptor::{Descriptor, Range};
pub use error::ConfigError;
pub use live::{Live, Outputs};
pub use origin::Origin;
pub use settings::{Ownership, Settings, Values};
pub use sizes::{model_size_from_text, size_from_text};
pub use token::check_token;
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
    /// What runs the model.
    pub engine: EngineChoice,
    /// Folder that engines are looked for and built in; `None` is the user's cache.
    pub engine_cache: Option<PathBuf>,
    /// Whether a missing engine is built while the node runs.
    pub engine_build: EngineBuild,
    /// Whether work for a GPU is recorded and replayed.
    pub cuda_graph: bool,
    /// CPU threads of one forward pass; `None` measures.
    pub threads: Option<usize>,
    /// Model input in pixels (both sides divisible by 16). Not read under [`Fit::Auto`] and [`Fit::Window`].
    pub size: Size,
    /// How a camera image becomes a model input.
    pub fit: Fit,
    /// The resampling filter.
    pub resize_filter: ResizeFilter,
    /// Forward passes side by side; `None` takes as many as pay.
    pub streams: Option<usize>,
    /// Most pixels of an image that is read.
    pub max_image_pixels: u64,
    /// Block whose tokens feed `~/features`, counted from 1; `None` is the last.
    pub layer: Option<usize>,
    /// Head file for depth; `None` has no depth.
    pub depth_head: Option<PathBuf>,
    /// Head file for segmentation; `None` has no segmentation.
    pub segmentation_head: Option<PathBuf>,
    /// Whether the node is taught.
    pub teaching: bool,
    /// Exemplars that are kept of a class.
    pub exemplars_per_class: usize,
    /// Exemplars that are kept of all classes.
    pub exemplars_in_all: usize,
    /// Least confidence of a label of what was taught, 0 to 1.
    pub teaching_threshold: f64,
    /// What of a segmentation head is brought to the size of the model input.
    pub segmentation_upsampling: Upsampling,
    /// At which pixels depth is told.
    pub depth_resolution: DepthResolution,
    /// Depth pixels per point in each direction; `None` gives at most 64 points in each.
    pub points_stride: Option<u32>,
    /// The cameras, one at least.
    pub cameras: Vec<CameraConfig>,
    /// Maximum number of images, from several cameras, in one forward pass.
    pub batch_max: usize,
    /// QoS of the outputs; `None` fits every subscriber.
    pub output_reliability: Option<Reliability>,
    /// How fast large messages leave.
    pub pace: SendPace,
    /// Address that DDS uses.
    pub network_interface: NetworkInterface,
    /// Element type of `~/features`.
    pub features_dtype: FeaturesDtype,
    /// Channels of `~/features/reduced`, 1 to 64.
    pub reduced_channels: usize,
    /// PCA basis file; `None` uses the cache.
    pub pca_basis: Option<PathBuf>,
    /// Seconds between two lines of statistics; 0 writes none.
    pub stats_period_secs: f64,
    /// File that gets the statistics as JSON lines.
    pub stats_file: Option<PathBuf>,
    /// Lowest severity that is logged at start.
    pub log_level: LogLevel,
    /// Whether time is that of `/clock`.
    pub use_sim_time: bool,
    /// Port of the live page; `None` serves none.
    pub live_port: Option<u16>,
    /// Address of the live page.
    pub live_address: IpAddr,
}

/// How fast large messages leave to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendPace {
    /// Most bytes at once.
    pub burst_bytes: usize,
    /// Most bytes per second; 0 has no limit.
    pub bytes_per_second: u64,
}

/// The configuration of one camera. Its `max_rate` is in [`Live`].
#[derive(Clone, Debug, PartialEq)]
pub struct CameraConfig {
    /// As in `cameras`; empty for the one camera that has no name.
    pub name: String,
    /// Raw or compressed images.
    pub transport: ImageTransport,
    /// QoS of its subscriptions.
    pub reliability: Reliability,
    /// Frames per second that it should send.
    pub expected_rate: Option<f64>,
}

impl CameraConfig {
    /// Before the names of its topics: nothing, or such as `front/`.
    pub fn prefix(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!("{}/", self.name) }
    }

    fn read(values: &Values, name: &str) -> Result<Self, ConfigError> {
        let own = |parameter: &str| match name {
            "" => parameter.to_owned(),
            _ => format!("{name}.{parameter}"),
        };
        let expected_rate = values.read(&own("expected_rate"), double)?;
        Ok(Self {
            name: name.to_owned(),
            transport: values.read(&own("image_transport"), choice)?,
            reliability: values.read(&own("image_reliability"), choice)?,
            expected_rate: (expected_rate > 0.0).then_some(expected_rate),
        })
    }
}

impl Config {
    /// Reads checked values.
    ///
    /// # Errors
    /// None that [`Values::new`] would have let through.
    pub fn from_values(values: &Values) -> Result<Self, ConfigError> {
        let path = |text: &str| (!["", "auto"].contains(&text)).then(|| PathBuf::from(text));
        let head = |text: &str| (text != "none").then(|| PathBuf::from(text));
        let cameras = match values.read("cameras", names)? {
            [] => vec![CameraConfig::read(values, "")?],
            names => names.iter().map(|name| CameraConfig::read(values, name)).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            model: values.read("model", text)?.into(),
            device: values.read("device", |value| Device::from_text(text(value)?))?,
            precision: values.read("precision", choice)?,
            engine: values.read("engine", |value| Some(EngineChoice::from_text(text(value)?)))?,
            engine_cache: values.read("engine_cache", text).map(path)?,
            engine_build: values.read("engine_build", choice)?,
            cuda_graph: values.read("cuda_graph", flag)?,
            threads: values.read("threads", count)?.filter(|threads| *threads > 0),
            size: values.read("size", |value| model_size_from_text(text(value)?).ok())?,
            fit: values.read("fit", choice)?,
            resize_filter: values.read("resize_filter", choice)?,
            streams: values.read("streams", count)?,
            max_image_pixels: values.read("max_image_pixels", |value| u64::try_from(count(value)??).ok())?,
            layer: values.read("layer", count)?,
            depth_head: values.read("depth_head", text).map(head)?,
            segmentation_head: values.read("segmentation_head", text).map(head)?,
            teaching: values.read("teaching", flag)?,
            exemplars_per_class: values.read("exemplars_per_class", |value| count(value)?)?,
            exemplars_in_all: values.read("exemplars_in_all", |value| count(value)?)?,
            teaching_threshold: values.read("teaching_threshold", double)?,
            segmentation_upsampling: values.read("segmentation_upsampling", choice)?,
            depth_resolution: values.read("depth_resolution", choice)?,
            points_stride: values.read("points_stride", count)?.and_then(|stride| u32::try_from(stride).ok()),
            cameras,
            batch_max: values.read("batch_max", |value| count(value)?)?,
            output_reliability: values.read("output_reliability", choice)?,
            pace: SendPace {
                burst_bytes: values.read("send_burst", |value| count(value)?)?,
                bytes_per_second: values.read("send_rate", |value| u64::try_from(count(value)??).ok())?,
            },
            network_interface: values
                .read("network_interface", |value| NetworkInterface::from_text(text(value)?))?,
            features_dtype: values.read("features_dtype", choice)?,
            reduced_channels: values.read("reduced_channels", |value| count(value)?)?,
            pca_basis: values.read("pca_basis", text).map(path)?,
            stats_period_secs: values.read("stats_period", double)?,
            stats_file: values.read("stats_file", text).map(path)?,
            log_level: values.read("log_level", choice)?,
            use_sim_time: values.read("use_sim_time", flag)?,
            live_port: values.read("live_port", port)?,
            live_address: values.read("live_address", |value| text(value)?.parse().ok())?,
        })
    }
}

fn text(value: &Value) -> Option<&str> {
    if let Value::String(text) = value { Some(text) } else { None }
}

fn names(value: &Value) -> Option<&[String]> {
    if let Value::StringArray(names) = value { Some(names) } else { None }
}

fn flag(value: &Value) -> Option<bool> {
    Some(*value == Value::Bool(true))
}

/// A port, or nothing for 0.
#[expect(clippy::option_option, reason = "the outer one says whether the value has the parameter's type")]
fn port(value: &Value) -> Option<Option<u16>> {
    let port = u16::try_from(count(value)??).ok()?;
    Some((port != 0).then_some(port))
}

fn double(value: &Value) -> Option<f64> {
    if let Value::Double(value) = value { Some(*value) } else { None }
}

fn choice<C: Choice>(value: &Value) -> Option<C> {
    text(value).and_then(C::from_word)
}

/// A count, or nothing for a word in its place.
#[expect(clippy::option_option, reason = "the outer one says whether the value has the parameter's type")]
fn count(value: &Value) -> Option<Option<usize>> {
    match value {
        Value::Integer(n) => usize::try_from(*n).ok().map(Some),
        _ => Some(None),
    }
}

#[cfg(test)]
mod tests;
