//! Messages and names of any bytes, for the fuzzers.
#![expect(clippy::missing_panics_doc, reason = "a panic is what the fuzzers look for")]

use std::marker::PhantomData;

use ros2_client::dds::rustdds::RepresentationIdentifier;
use ros2_client::dds::rustdds::serialization::deserialize_from_cdr_with_decoder_and_rep_id;
use ros2_client::parameters::raw;
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::camera::{CameraTopics, CopyOut};
use super::discovery::ParticipantNodes;
use super::start::args::{self, Piece, RosArg};
use super::start::names::Names;
use super::wire::calibration::calibration;
use super::wire::messages::{CameraInfo, PointStamped, SetBoolRequest, Time, TriggerRequest};
use crate::config::ImageTransport;
use crate::geometry::Projection;
use crate::runtime::pool::Pool;
use crate::text;

/// What is read from the wire, one after the other.
const READERS: [fn(&[u8], RepresentationIdentifier); 11] = [
    |bytes, encoding| image(bytes, encoding, ImageTransport::Raw),
    |bytes, encoding| image(bytes, encoding, ImageTransport::Compressed),
    |bytes, encoding| lens(message::<CameraInfo>(bytes, encoding)),
    any::<PointStamped>,
    any::<Time>,
    any::<ParticipantNodes>,
    any::<SetBoolRequest>,
    any::<TriggerRequest>,
    any::<raw::Parameter>,
    any::<Vec<raw::Parameter>>,
    // Requests of `get_parameters`, `list_parameters` and their like are lists of names.
    any::<(Vec<String>, u64)>,
];

fn seeded<'a, S: DeserializeSeed<'a>>(
    bytes: &'a [u8],
    encoding: RepresentationIdentifier,
    seed: S,
) -> Option<S::Value> {
    match deserialize_from_cdr_with_decoder_and_rep_id(bytes, encoding, seed) {
        Ok((message, _)) => Some(message),
        Err(err) => {
            assert!(text::one_line(&err.to_string()).len() < 1 << 16, "a message without bound");
            None
        }
    }
}

fn message<M: DeserializeOwned>(bytes: &[u8], encoding: RepresentationIdentifier) -> Option<M> {
    seeded(bytes, encoding, PhantomData::<M>)
}

fn any<M: DeserializeOwned>(bytes: &[u8], encoding: RepresentationIdentifier) {
    let _read = message::<M>(bytes, encoding);
}

fn image(bytes: &[u8], encoding: RepresentationIdentifier, transport: ImageTransport) {
    drop(seeded(bytes, encoding, CopyOut { transport, pool: Pool::default() }));
}

/// A message of any of the types that the node reads; the first byte chooses it and the order of bytes.
pub fn cdr(data: &[u8]) {
    let Some((&which, bytes)) = data.split_first() else { return };
    let encodings = [RepresentationIdentifier::CDR_LE, RepresentationIdentifier::CDR_BE];
    READERS[usize::from(which >> 1) % READERS.len()](bytes, encodings[usize::from(which & 1)]);
}

/// A CameraInfo in little endian, to rays and points.
pub fn camera_info(data: &[u8]) {
    lens(message::<CameraInfo>(data, RepresentationIdentifier::CDR_LE));
}

fn lens(info: Option<CameraInfo>) {
    let Some(info) = info else { return };
    for projection in [Projection::Raw, Projection::Rectified] {
        let Ok(model) = calibration(info.clone(), projection) else { continue };
        assert!(model.focal_length().is_finite() && 0.0 < model.focal_length());
        let size = model.size();
        let stride = size.width.max(size.height) / 32 + 1;
        let Ok(optics) = model.optics() else { continue };
        if let Some(rays) = optics.rays(stride) {
            let is_whole =
                |ray: &[f32; 2]| ray.iter().all(|c| c.is_finite()) || ray.iter().any(|c| c.is_nan());
            assert!(rays.iter().all(is_whole), "a ray is finite, or there is none");
        }
    }
}

/// A command line, an argument a line: ROS arguments, then remaps.
pub fn ros_arguments(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let arguments = ["--ros-args".to_owned()].into_iter().chain(text.lines().map(str::to_owned));
    let Ok(pieces) = args::split(arguments) else { return };
    let rules = pieces.into_iter().filter_map(|piece| match piece {
        Piece::Ros(RosArg::Remap(rule)) => Some(rule),
        _ => None,
    });
    let Ok(names) = Names::new("pixio_node", &rules.collect::<Vec<_>>()) else { return };
    for transport in [ImageTransport::Raw, ImageTransport::Compressed] {
        for prefix in ["", "left/"] {
            if let Ok(topics) = CameraTopics::resolve(&names, prefix, transport) {
                assert!(topics.image.starts_with('/') && topics.camera_info.starts_with('/'));
                drop(topics.doubt(transport));
            }
        }
    }
}
