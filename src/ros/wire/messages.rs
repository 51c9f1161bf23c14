//! Messages as they go over the wire, field by field as in their `.msg` files. Payloads are
//! generic: borrowed where one is read, owned where one is written.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::short::short;
use crate::runtime::clock::Clock;
use crate::stages::camera;

/// `builtin_interfaces/Time`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Time {
    /// Whole seconds.
    pub sec: i32,
    /// Nanoseconds past `sec`.
    pub nanosec: u32,
}

impl Time {
    /// By this machine's clock.
    pub fn now() -> Self {
        Self::from_nanos(Clock::System.now_nanos().unwrap_or_default())
    }

    /// Of nanoseconds since the epoch.
    pub fn from_nanos(nanos: i64) -> Self {
        let sec = i32::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i32::MAX);
        Self { sec, nanosec: nanos.rem_euclid(1_000_000_000) as u32 }
    }

    /// Nanoseconds since the epoch.
    pub fn nanos(&self) -> i64 {
        camera::Stamp { sec: self.sec, nanosec: self.nanosec }.nanos()
    }
}

/// `std_msgs/Header`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Time of acquisition.
    pub stamp: Time,
    /// Frame of the data.
    #[serde(deserialize_with = "short")]
    pub frame_id: String,
}

impl From<Header> for camera::Header {
    fn from(header: Header) -> Self {
        let Time { sec, nanosec } = header.stamp;
        Self { stamp: camera::Stamp { sec, nanosec }, frame_id: header.frame_id }
    }
}

impl From<camera::Header> for Header {
    fn from(header: camera::Header) -> Self {
        let camera::Stamp { sec, nanosec } = header.stamp;
        Self { stamp: Time { sec, nanosec }, frame_id: header.frame_id }
    }
}

/// `sensor_msgs/Image`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image<B = ByteBuf> {
    /// Stamp and optical frame.
    pub header: Header,
    /// Rows in pixels.
    pub height: u32,
    /// Columns in pixels.
    pub width: u32,
    /// Pixel layout, such as `bgr8`.
    #[serde(deserialize_with = "short")]
    pub encoding: String,
    /// Not zero when samples of several bytes are big endian.
    pub is_bigendian: u8,
    /// Bytes from one row to the next.
    pub step: u32,
    /// Pixels.
    pub data: B,
}

/// `sensor_msgs/CompressedImage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompressedImage<B = ByteBuf> {
    /// Stamp and optical frame.
    pub header: Header,
    /// Compression, in the words of image_transport.
    #[serde(deserialize_with = "short")]
    pub format: String,
    /// An image file.
    pub data: B,
}

/// `sensor_msgs/RegionOfInterest`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RegionOfInterest {
    /// Leftmost column.
    pub x_offset: u32,
    /// Topmost row.
    pub y_offset: u32,
    /// Rows; zero means all.
    pub height: u32,
    /// Columns; zero means all.
    pub width: u32,
    /// Whether a rectified image needs a region of its own.
    pub do_rectify: bool,
}

/// `sensor_msgs/CameraInfo`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CameraInfo {
    /// Stamp and optical frame.
    pub header: Header,
    /// Rows of the full sensor image.
    pub height: u32,
    /// Columns of the full sensor image.
    pub width: u32,
    /// Such as `plumb_bob`.
    #[serde(deserialize_with = "short")]
    pub distortion_model: String,
    /// Distortion coefficients.
    pub d: Vec<f64>,
    /// 3x3 camera matrix, row-major.
    pub k: [f64; 9],
    /// 3x3 rectification, row-major.
    pub r: [f64; 9],
    /// 3x4 projection, row-major.
    pub p: [f64; 12],
    /// Columns of the sensor in one pixel; zero means one.
    pub binning_x: u32,
    /// Rows of the sensor in one pixel; zero means one.
    pub binning_y: u32,
    /// The part of the sensor that was read.
    pub roi: RegionOfInterest,
}

/// `geometry_msgs/Point`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Columns, where it is one of an image; metres elsewhere, here and below.
    pub x: f64,
    /// Rows.
    pub y: f64,
    /// Not used in an image.
    pub z: f64,
}

/// `geometry_msgs/PointStamped`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointStamped {
    /// Stamp and frame.
    pub header: Header,
    /// Where.
    pub point: Point,
}

/// `sensor_msgs/PointField`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointField {
    /// Such as `x`.
    pub name: String,
    /// First byte within a point.
    pub offset: u32,
    /// Type of a value, in the message's numbers.
    pub datatype: u8,
    /// Values.
    pub count: u32,
}

/// `sensor_msgs/PointCloud2`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointCloud2 {
    /// Stamp and optical frame.
    pub header: Header,
    /// Rows of points.
    pub height: u32,
    /// Columns of points.
    pub width: u32,
    /// What a point holds.
    pub fields: Vec<PointField>,
    /// Whether values are big endian.
    pub is_bigendian: bool,
    /// Bytes of a point.
    pub point_step: u32,
    /// Bytes of a row.
    pub row_step: u32,
    /// Points, row-major.
    pub data: ByteBuf,
    /// Whether all points are valid.
    pub is_dense: bool,
}

/// `vision_msgs/VisionClass`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisionClass {
    /// Label of the class in the segmentation image.
    pub class_id: u16,
    /// For people.
    pub class_name: String,
}

/// `vision_msgs/LabelInfo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelInfo {
    /// When the classes were made known.
    pub header: Header,
    /// Every class.
    pub class_map: Vec<VisionClass>,
    /// Least confidence of a label; 0 labels every pixel.
    pub threshold: f32,
}

/// `pixio_node/PatchFeatures`: see `msg/PatchFeatures.msg`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchFeatures {
    /// Of the image, unchanged.
    pub header: Header,
    /// Name of the model.
    pub model: String,
    /// First 12 hex digits of the SHA-256 of its weights.
    pub revision: String,
    /// Block that the tokens come from, counted from 1.
    pub layer: u32,
    /// Whether the final layer norm was applied.
    pub normalized: bool,
    /// Rows of the camera's image.
    pub image_height: u32,
    /// Columns of the camera's image.
    pub image_width: u32,
    /// Rows of patches.
    pub grid_height: u32,
    /// Columns of patches.
    pub grid_width: u32,
    /// Values per patch.
    pub channels: u32,
    /// Camera pixel of a patch's centre: x = m0 col + m1 row + m2, y = m3 col + m4 row + m5.
    pub image_from_grid: [f64; 6],
    /// `float16` or `float32`.
    pub dtype: String,
    /// `[grid_height, grid_width, channels]`, row-major, little endian.
    pub data: ByteBuf,
}

/// `pixio_node/Embedding`: see `msg/Embedding.msg`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// Of the image, unchanged.
    pub header: Header,
    /// Name of the model.
    pub model: String,
    /// First 12 hex digits of the SHA-256 of its weights.
    pub revision: String,
    /// Class tokens.
    pub n_cls_tokens: u32,
    /// Values per token.
    pub channels: u32,
    /// `[channels]`: mean of the class tokens.
    pub pooled: Vec<f32>,
    /// `[n_cls_tokens, channels]`, row-major.
    pub class_tokens: Vec<f32>,
}

/// `diagnostic_msgs/KeyValue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// What it is.
    pub key: String,
    /// How much or which.
    pub value: String,
}

/// `diagnostic_msgs/DiagnosticStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosticStatus {
    /// 0 OK, 1 WARN, 2 ERROR, 3 STALE.
    pub level: u8,
    /// Node and task.
    pub name: String,
    /// What was found.
    pub message: String,
    /// Name of what was diagnosed.
    pub hardware_id: String,
    /// Figures.
    pub values: Vec<KeyValue>,
}

/// `diagnostic_msgs/DiagnosticArray`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiagnosticArray {
    /// When it was found.
    pub header: Header,
    /// One for each thing.
    pub status: Vec<DiagnosticStatus>,
}

/// `std_msgs/Float64`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Float64 {
    /// The number.
    pub data: f64,
}

/// Request of `std_srvs/SetBool`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetBoolRequest {
    /// On or off.
    pub data: bool,
}

/// Answer of `std_srvs/SetBool`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetBoolResponse {
    /// Whether it was done.
    pub success: bool,
    /// What was done, or why not.
    pub message: String,
}

/// Request of `std_srvs/Trigger`: one byte that says nothing, as every empty message has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TriggerRequest {
    structure_needs_at_least_one_member: u8,
}

/// Answer of `std_srvs/Trigger`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TriggerResponse {
    /// Whether it was done.
    pub success: bool,
    /// What was done, or why not.
    pub message: String,
}

/// Request of `pixio_node/Teach`: see `srv/Teach.srv`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TeachRequest {
    /// Name of the camera, empty where there is one.
    pub camera: String,
    /// Name of the class.
    pub class_name: String,
    /// Columns of the pixels.
    pub x: Vec<f64>,
    /// Rows of the pixels.
    pub y: Vec<f64>,
    /// Whether the class is forgotten instead.
    pub forget: bool,
}

/// Answer of `pixio_node/Teach`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TeachResponse {
    /// Whether it was done.
    pub success: bool,
    /// What was done, or why not.
    pub message: String,
    /// The class's number in label images.
    pub class_id: u8,
    /// Exemplars of the class now.
    pub exemplars: u32,
}

/// Request of `pixio_node/SaveHead`: see `srv/SaveHead.srv`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SaveHeadRequest {
    /// Where the head goes.
    pub path: String,
}

impl ros2_client::Message for TeachRequest {}
impl ros2_client::Message for TeachResponse {}
impl ros2_client::Message for SaveHeadRequest {}
impl ros2_client::Message for SetBoolRequest {}
impl ros2_client::Message for SetBoolResponse {}
impl ros2_client::Message for TriggerRequest {}
impl ros2_client::Message for TriggerResponse {}
