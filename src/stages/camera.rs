//! Camera: one image as a camera topic delivered it, with the checks that need no pixels.
//! This module knows no ROS: `ros/` fills a [`Frame`] and hands it over.

use std::sync::Arc;
use std::time::Instant;

use crate::geometry::Calibration;
use crate::runtime::pool::Lease;

/// Time of acquisition as the camera's driver wrote it. It travels unchanged to every output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Whole seconds.
    pub sec: i32,
    /// Nanoseconds past `sec`.
    pub nanosec: u32,
}

impl Stamp {
    /// Nanoseconds since the epoch of the camera's clock.
    pub fn nanos(self) -> i64 {
        i64::from(self.sec) * 1_000_000_000 + i64::from(self.nanosec)
    }
}

/// Stamp and optical frame of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Time of acquisition.
    pub stamp: Stamp,
    /// The camera's optical frame (REP 103).
    pub frame_id: String,
}

/// The pixels as they arrived: a raw raster in a ROS encoding or a compressed file.
#[derive(Debug)]
pub enum CameraImage {
    /// `sensor_msgs/Image`.
    Raw(Raster),
    /// `sensor_msgs/CompressedImage`: a JPEG or PNG file; its first bytes decide, not its `format`.
    Compressed(Lease),
}

impl CameraImage {
    /// Bytes as they arrived.
    pub fn n_bytes(&self) -> usize {
        match self {
            Self::Raw(raster) => raster.bytes.len(),
            Self::Compressed(file) => file.len(),
        }
    }
}

/// A raw raster as `sensor_msgs/Image` describes it. Nothing in it has been checked yet.
#[derive(Debug)]
pub struct Raster {
    /// Name of the pixel layout, such as `bgr8`.
    pub encoding: String,
    /// Columns in pixels.
    pub width: u32,
    /// Rows in pixels.
    pub height: u32,
    /// Bytes from one row to the next; at least the bytes of a row.
    pub step: u32,
    /// Byte order of 16-bit samples.
    pub big_endian: bool,
    /// `height * step` bytes, when the message is honest.
    pub bytes: Lease,
}

/// One image of one camera on its way to the model.
#[derive(Debug)]
pub struct Frame {
    /// Goes unchanged to every output made from this frame.
    pub header: Header,
    /// Index of the camera in the configuration.
    pub camera: usize,
    /// When our callback saw it; the zero of every latency that the node reports.
    pub received: Instant,
    /// Pixels as they arrived.
    pub image: CameraImage,
    /// What the newest CameraInfo says, of whatever size.
    pub intrinsics: Option<Arc<Calibration>>,
}

/// Takes what the topics of one camera bring: the pipeline in the node.
pub trait CameraListener: Send {
    /// An image has come.
    fn frame(&mut self, frame: Frame);

    /// A message has come that is not what its type says; `why` is for people.
    fn refused(&mut self, why: &str);

    /// Somebody points at a pixel, x and y in the camera's image.
    fn query(&mut self, pixel: [f64; 2]);
}
