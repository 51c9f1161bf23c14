//! The table of all parameters: what each is called, means and may be. The command line, its help,
//! the checks and `config/pixio.yaml` follow it.

use super::choices::{self, Device, Fit, ImageTransport, LogLevel, NetworkInterface, Precision};
use super::choices::{DepthResolution, EngineBuild, FeaturesDtype, Reliability, ResizeFilter, Upsampling};
use super::sizes;

pub use super::kind::Kind;

/// One parameter.
#[derive(Debug)]
pub struct Parameter {
    /// As in ROS; the option is the same with dashes.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// As one would type it; `None` when it must be given.
    pub default: Option<&'static str>,
    /// Unit of the number, or nothing.
    pub unit: &'static str,
    /// One sentence or two.
    pub doc: &'static str,
    /// Whether it can change while the node runs.
    pub at_run_time: bool,
    /// Whether `infer` has an option for it.
    pub offline: bool,
    /// Whether each of several cameras may have its own, as in `front.max_rate`.
    pub per_camera: bool,
    /// Heading in the help and in `config/pixio.yaml`.
    pub group: &'static str,
}

const MODEL: &str = "Model";
const PICTURE: &str = "Picture";
const HEADS: &str = "Heads";
const TOPICS: &str = "Topics and network";
const OUTPUTS: &str = "Outputs";
const REPORTS: &str = "Reports";

/// Most parameters are read at start and mean something to `infer` as well.
const fn parameter(
    group: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Parameter {
    let (unit, at_run_time, offline, per_camera) = ("", false, true, false);
    Parameter { name, kind, default: Some(default), unit, doc, at_run_time, offline, per_camera, group }
}

impl Parameter {
    const fn in_unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    const fn changeable(self) -> Self {
        Self { at_run_time: true, ..self }
    }

    const fn online_only(self) -> Self {
        Self { offline: false, ..self }
    }

    const fn per_camera(self) -> Self {
        Self { per_camera: true, ..self }
    }

    const fn required(self) -> Self {
        Self { default: None, ..self }
    }
}

/// Every parameter, in the order of the help.
pub static TABLE: [Parameter; 43] = [
    parameter(
        MODEL,
        "model",
        Kind::Text("MODEL", "a folder, a Hugging Face id or random:NAME", given),
        "",
        "The Pixio model: a folder with config.json and model.safetensors, a Hugging Face id that is in the \
         local cache (nothing is downloaded), or random:NAME (tiny, vitb16, vitl16, vith16, vit1b16, vit5b16) \
         for random weights.",
    )
    .required(),
    parameter(
        MODEL,
        "device",
        Kind::Text("DEVICE", "auto, cpu, cuda or cuda:N", device),
        "auto",
        "Where the model runs. auto is CUDA when it loads, else the CPU.",
    ),
    parameter(
        MODEL,
        "precision",
        Kind::Choice(choices::words::<Precision>),
        "auto",
        "Arithmetic of the model. auto is that of the engine folder if one is named, else bfloat16 on CUDA and \
         float32 on the CPU; int8 needs a compiled engine and a CPU.",
    ),
    parameter(
        MODEL,
        "engine",
        Kind::Text("ENGINE", "auto, eager or the path of an engine folder", given),
        "auto",
        "What runs the model. auto takes a compiled engine that fits from the cache and proves it, else the eager \
         model; a folder that `pixio_node build` has made must fit.",
    ),
    parameter(
        MODEL,
        "engine_cache",
        Kind::Text("DIR", "auto or the path of a folder", given),
        "auto",
        "Where compiled engines are looked for and built. auto is ~/.cache/pixio_node.",
    ),
    parameter(
        MODEL,
        "engine_build",
        Kind::Choice(choices::words::<EngineBuild>),
        "off",
        "background builds an engine under engine: auto when none fits, while the eager model serves, and swaps it \
         in between two frames.",
    )
    .online_only(),
    parameter(
        MODEL,
        "cuda_graph",
        Kind::Bool,
        "true",
        "Whether the work of a forward pass is recorded once as a CUDA graph and replayed. Not read on the CPU.",
    ),
    parameter(
        MODEL,
        "threads",
        Kind::Integer(0, 1024),
        "0",
        "CPU threads of one forward pass. 0 takes what is fastest in a measurement at start, the fewest where it makes no difference.",
    )
    .in_unit("threads"),
    parameter(
        MODEL,
        "batch_max",
        Kind::Integer(1, 64),
        "8",
        "Most pictures of several cameras that go through the model at once.",
    )
    .in_unit("pictures")
    .online_only(),
    parameter(
        MODEL,
        "layer",
        Kind::WordOrInteger("last", 1),
        "last",
        "Block whose tokens become the features, counted from 1.",
    ),
    parameter(
        PICTURE,
        "size",
        Kind::Text("WIDTHxHEIGHT", "WIDTHxHEIGHT in pixels, both divisible by 16 and from 16 to 4096", model_size),
        "256x256",
        "Size of the model's input. Not read under fit: auto and fit: window.",
    ),
    parameter(
        PICTURE,
        "fit",
        Kind::Choice(choices::words::<Fit>),
        "stretch",
        "How a camera picture becomes a model input. stretch scales each axis on its own, letterbox keeps \
         the aspect and pads, crop keeps the aspect and cuts, auto stretches to the one of 288x224, 336x192, \
         256x256, 224x288 and 192x336 that is nearest the camera's aspect. window scales nothing: windows of 256x256, \
         170 pixels apart, go through the model as a batch and are merged into depth and segmentation; features are \
         not made.",
    ),
    parameter(
        PICTURE,
        "resize_filter",
        Kind::Choice(choices::words::<ResizeFilter>),
        "exact",
        "exact is the antialiased bicubic filter of training; linear is faster and aliases.",
    ),
    parameter(
        PICTURE,
        "max_image_pixels",
        Kind::Integer(1, 1_000_000_000),
        "25000000",
        "Most pixels of an image that is read, raw or compressed; larger ones are refused. While an image is read it takes up \
         to nine bytes of memory for each of its pixels.",
    )
    .in_unit("pixels"),
    parameter(
        HEADS,
        "depth_head",
        Kind::Text("FILE", "none or the path of a head file", given),
        "none",
        "Head that makes ~/depth/image and ~/points: a file that pixio-train-head or pixio-import-head has \
         written for this model.",
    ),
    parameter(
        HEADS,
        "segmentation_head",
        Kind::Text("FILE", "none or the path of a head file", given),
        "none",
        "Head that makes ~/segmentation/image: a file like that of depth_head.",
    ),
    parameter(
        HEADS,
        "segmentation_upsampling",
        Kind::Choice(choices::words::<Upsampling>),
        "logits",
        "What is brought from the head's resolution to that of the model input. logits are, before the likeliest \
         class is taken, as in training; labels are after it, which is faster and has stairs at borders.",
    ),
    parameter(
        HEADS,
        "depth_resolution",
        Kind::Choice(choices::words::<DepthResolution>),
        "model",
        "Pixels of depth: model are those of the model input, as for ~/points in either case; camera are those of the \
         camera's picture, for ~/depth/image/compressedDepth and ~/depth/camera_info, and there is no ~/depth/image.",
    )
    .online_only(),
    parameter(
        HEADS,
        "points_stride",
        Kind::WordOrInteger("auto", 1),
        "auto",
        "Pixels of the model input per point of ~/points, in each direction. auto gives at most 64 points in each.",
    )
    .in_unit("pixels")
    .online_only(),
    parameter(
        HEADS,
        "min_depth",
        Kind::Double(0.0, 1e6),
        "0.0",
        "Nearer depth is -inf in ~/depth/image and no point (REP 117). 0 has no limit.",
    )
    .in_unit("m")
    .changeable()
    .online_only(),
    parameter(
        HEADS,
        "max_depth",
        Kind::Double(0.0, 1e6),
        "0.0",
        "Farther depth is +inf in ~/depth/image and no point (REP 117). 0 has no limit.",
    )
    .in_unit("m")
    .changeable()
    .online_only(),
    parameter(
        HEADS,
        "overlay_opacity",
        Kind::Double(0.0, 1.0),
        "0.5",
        "How much of the picture the colours hide in ~/segmentation/overlay/compressed.",
    )
    .changeable()
    .online_only(),
    parameter(
        TOPICS,
        "cameras",
        Kind::Names("NAME,NAME"),
        "[]",
        "Names of several cameras that share the model: front reads front/image and front/camera_info and writes \
         ~/front/features and so on, and front.max_rate is its own max_rate. [] is one camera without a name.",
    )
    .online_only(),
    parameter(
        TOPICS,
        "image_transport",
        Kind::Choice(choices::words::<ImageTransport>),
        "raw",
        "raw reads sensor_msgs/Image from the topic image, compressed reads sensor_msgs/CompressedImage from \
         image/compressed.",
    )
    .per_camera()
    .online_only(),
    parameter(
        TOPICS,
        "image_reliability",
        Kind::Choice(choices::words::<Reliability>),
        "best_effort",
        "QoS of the camera subscriptions. best_effort receives from every publisher.",
    )
    .per_camera()
    .online_only(),
    parameter(
        TOPICS,
        "output_reliability",
        Kind::Choice(choices::words::<Option<Reliability>>),
        "auto",
        "QoS of the outputs. auto is reliable, which serves best effort subscribers too.",
    )
    .online_only(),
    parameter(
        TOPICS,
        "network_interface",
        Kind::Text("ADDRESS", "auto or an IP address", network_interface),
        "auto",
        "Address that DDS uses. auto is the address of the default route, or loopback when there is none or \
         ROS asks for localhost. What comes from other networks than the one named here, or from any when ROS \
         asks for localhost, is dropped.",
    )
    .online_only(),
    parameter(
        TOPICS,
        "send_burst",
        Kind::Integer(1500, 16 << 20),
        "140000",
        "Most bytes of large messages that leave at once to one address: a receiver's socket buffer has to hold them. The \
         default is two datagrams of 64 KB, and most receivers' buffers hold three.",
    )
    .in_unit("bytes")
    .online_only(),
    parameter(
        TOPICS,
        "send_rate",
        Kind::Integer(0, 100_000_000_000),
        "200000000",
        "Most bytes of large messages per second to one address; what does not fit waits, or is replaced by a newer \
         message. 0 has no limit.",
    )
    .in_unit("bytes/s")
    .online_only(),
    parameter(
        TOPICS,
        "max_rate",
        Kind::Double(0.0, 1000.0),
        "0.0",
        "Most frames per second that are taken from a camera. 0 takes all.",
    )
    .in_unit("Hz")
    .changeable()
    .per_camera()
    .online_only(),
    parameter(
        TOPICS,
        "max_age",
        Kind::Double(0.0, 3600.0),
        "1.0",
        "A frame that has waited longer for the model counts as displaced. 0 serves it all the same.",
    )
    .in_unit("s")
    .changeable()
    .online_only(),
    parameter(
        TOPICS,
        "expected_rate",
        Kind::Double(0.0, 1000.0),
        "0.0",
        "Frames per second that a camera should send: /diagnostics warns of less than nine tenths. 0 expects nothing.",
    )
    .in_unit("Hz")
    .per_camera()
    .online_only(),
    parameter(
        OUTPUTS,
        "publish_features",
        Kind::Bool,
        "true",
        "Whether ~/features, its reduced forms and ~/similarity are made for those who subscribe.",
    )
    .changeable()
    .online_only(),
    parameter(
        OUTPUTS,
        "publish_embedding",
        Kind::Bool,
        "true",
        "Whether ~/embedding is made for those who subscribe.",
    )
    .changeable()
    .online_only(),
    parameter(
        OUTPUTS,
        "publish_depth",
        Kind::Bool,
        "true",
        "Whether ~/depth and ~/points are made for those who subscribe.",
    )
    .changeable()
    .online_only(),
    parameter(
        OUTPUTS,
        "publish_segmentation",
        Kind::Bool,
        "true",
        "Whether ~/segmentation is made for those who subscribe.",
    )
    .changeable()
    .online_only(),
    parameter(
        OUTPUTS,
        "features_dtype",
        Kind::Choice(choices::words::<FeaturesDtype>),
        "float16",
        "Element type of ~/features.",
    )
    .online_only(),
    parameter(
        OUTPUTS,
        "reduced_channels",
        Kind::Integer(1, 64),
        "16",
        "Channels of ~/features/reduced; lowered with a warning when the message would pass 96 KB.",
    )
    .in_unit("channels")
    .online_only(),
    parameter(
        OUTPUTS,
        "pca_basis",
        Kind::Text("FILE", "auto or the path of a file", given),
        "auto",
        "Basis of ~/features/reduced and ~/features/pca. auto estimates it from the first frames and keeps it \
         in the cache; a path reads it from a file.",
    ),
    parameter(
        REPORTS,
        "stats_period",
        Kind::Double(0.0, 86_400.0),
        "10.0",
        "Time between two lines of statistics. 0 writes none.",
    )
    .in_unit("s")
    .online_only(),
    parameter(
        REPORTS,
        "stats_file",
        Kind::Text("FILE", "the path of a file, or nothing", anything),
        "",
        "File that gets the statistics as JSON, one line per period. Empty writes none.",
    )
    .online_only(),
    parameter(
        REPORTS,
        "log_level",
        Kind::Choice(choices::words::<LogLevel>),
        "info",
        "Least severity that is logged, to stderr and to /rosout.",
    )
    .changeable(),
    parameter(
        REPORTS,
        "use_sim_time",
        Kind::Bool,
        "false",
        "Whether ages are by the time on /clock, as of a bag or a simulator. Stamps are the camera's either way.",
    )
    .online_only(),
];

/// The parameter of that name.
pub fn find(name: &str) -> Option<&'static Parameter> {
    TABLE.iter().find(|parameter| parameter.name == name)
}

/// The camera and the parameter of it that a name such as `front.max_rate` means.
pub fn find_of_camera(name: &str) -> Option<(&str, &'static Parameter)> {
    let (camera, name) = name.split_once('.')?;
    Some((camera, find(name).filter(|parameter| parameter.per_camera)?))
}

/// Those that each camera may have its own of.
pub fn per_camera() -> impl Iterator<Item = &'static Parameter> {
    TABLE.iter().filter(|parameter| parameter.per_camera)
}

fn anything(_: &str) -> Result<(), String> {
    Ok(())
}

fn given(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("it must not be empty".into()) } else { Ok(()) }
}

fn device(text: &str) -> Result<(), String> {
    Device::from_text(text).map(drop).ok_or_else(String::new)
}

fn network_interface(text: &str) -> Result<(), String> {
    NetworkInterface::from_text(text).map(drop).ok_or_else(String::new)
}

fn model_size(text: &str) -> Result<(), String> {
    sizes::model_size_from_text(text).map(drop)
}
