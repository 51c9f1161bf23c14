//! The closed sets of words among the parameters, and how each word is spelled.

use std::net::IpAddr;
use std::path::PathBuf;

/// A parameter that is one of a few words.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every value with its word, the usual one first.
    const ALL: &'static [(&'static str, Self)];

    /// The value that `word` stands for.
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
    }

    /// The word of this value.
    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// Every word of a choice, in the order of [`Choice::ALL`].
pub(super) fn words<C: Choice>() -> Vec<&'static str> {
    C::ALL.iter().map(|(word, _)| *word).collect()
}

/// Device of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The first GPU if that works, otherwise the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA device by index.
    Cuda(usize),
}

impl Device {
    /// `auto`, `cpu`, `cuda` (the first device) or `cuda:N`.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:")?.parse().ok().map(Self::Cuda),
        }
    }
}

/// Which network address DDS uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkInterface {
    /// The default route's address; loopback when there is none or ROS asks for localhost.
    Auto,
    /// The given address.
    Address(IpAddr),
}

impl NetworkInterface {
    /// `auto` or an address such as `192.168.1.7`.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            _ => text.parse().ok().map(Self::Address),
        }
    }
}

/// Arithmetic of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// bfloat16 on CUDA (float16 below compute capability 8.0), float32 on the CPU.
    Auto,
    /// 32-bit floats.
    Float32,
    /// 16-bit brain floats.
    Bfloat16,
    /// 16-bit IEEE floats.
    Float16,
    /// Linear layers in 8-bit integers: only in compiled engines on the CPU.
    Int8,
}

impl Choice for Precision {
    const ALL: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("float32", Self::Float32),
        ("bfloat16", Self::Bfloat16),
        ("float16", Self::Float16),
        ("int8", Self::Int8),
    ];
}

/// What runs the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// A fitting compiled engine from the cache, else the eager model.
    Auto,
    /// The eager model.
    Eager,
    /// The compiled engine in this folder.
    Folder(PathBuf),
}

impl EngineChoice {
    /// `auto`, `eager` or the path of a folder.
    pub fn from_text(text: &str) -> Self {
        match text {
            "auto" => Self::Auto,
            "eager" => Self::Eager,
            _ => Self::Folder(text.into()),
        }
    }
}

/// What a segmentation head's maps are brought to the size of the model input as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Upsampling {
    /// Scores, before the likeliest class is taken: as in training.
    #[default]
    Logits,
    /// Classes, after it: faster, with jagged borders.
    Labels,
}

impl Choice for Upsampling {
    const ALL: &'static [(&'static str, Self)] = &[("logits", Self::Logits), ("labels", Self::Labels)];
}

/// At which pixels depth is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DepthResolution {
    /// Pixels of the model input.
    #[default]
    Model,
    /// Pixels of the camera's image, in compressedDepth only.
    Camera,
}

impl Choice for DepthResolution {
    const ALL: &'static [(&'static str, Self)] = &[("model", Self::Model), ("camera", Self::Camera)];
}

/// Whether a missing engine is built while the node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineBuild {
    /// No.
    Off,
    /// In the background; it takes over between two frames.
    Background,
}

impl Choice for EngineBuild {
    const ALL: &'static [(&'static str, Self)] = &[("off", Self::Off), ("background", Self::Background)];
}

/// How a camera image becomes a model input.
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
    /// As it is, seen by windows of 256 pixels.
    Window,
}

impl Choice for Fit {
    const ALL: &'static [(&'static str, Self)] = &[
        ("stretch", Self::Stretch),
        ("letterbox", Self::Letterbox),
        ("crop", Self::Crop),
        ("auto", Self::Auto),
        ("window", Self::Window),
    ];
}

/// Resampling filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeFilter {
    /// Antialiased bicubic, as in training.
    Exact,
    /// OpenCV's bilinear: fastest, aliases.
    Linear,
}

impl Choice for ResizeFilter {
    const ALL: &'static [(&'static str, Self)] = &[("exact", Self::Exact), ("linear", Self::Linear)];
}

/// Camera topic flavour, named as in image_transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageTransport {
    /// `sensor_msgs/Image`.
    Raw,
    /// `sensor_msgs/CompressedImage`.
    Compressed,
}

impl Choice for ImageTransport {
    const ALL: &'static [(&'static str, Self)] = &[("raw", Self::Raw), ("compressed", Self::Compressed)];
}

/// QoS reliability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// Lost samples stay lost.
    BestEffort,
    /// Lost samples are sent again.
    Reliable,
}

impl Choice for Reliability {
    const ALL: &'static [(&'static str, Self)] =
        &[("best_effort", Self::BestEffort), ("reliable", Self::Reliable)];
}

// `None` leaves the choice to the size of the message.
impl Choice for Option<Reliability> {
    const ALL: &'static [(&'static str, Self)] = &[
        ("auto", None),
        ("reliable", Some(Reliability::Reliable)),
        ("best_effort", Some(Reliability::BestEffort)),
    ];
}

/// Element type of published features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeaturesDtype {
    /// IEEE half.
    Float16,
    /// IEEE single.
    Float32,
}

impl Choice for FeaturesDtype {
    const ALL: &'static [(&'static str, Self)] = &[("float16", Self::Float16), ("float32", Self::Float32)];
}

/// Lowest severity that is logged, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What only a developer asks for.
    Debug,
    /// The course of events.
    Info,
    /// Something to mend; the node goes on.
    Warn,
    /// Something failed.
    Error,
}

impl Choice for LogLevel {
    const ALL: &'static [(&'static str, Self)] =
        &[("debug", Self::Debug), ("info", Self::Info), ("warn", Self::Warn), ("error", Self::Error)];
}
