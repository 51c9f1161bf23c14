//! Cameras, topics and the network.

use super::check::network_interface;
use super::{Kind, Parameter};
use crate::config::choices::{ImageTransport, Reliability, words};

pub(super) static PARAMETERS: [Parameter; 10] = [
    parameter(
        "cameras",
        Kind::Names("NAME,NAME"),
        "[]",
        "Names of several cameras that share the model: front reads front/image and front/camera_info and \
         writes ~/front/features and so on, and front.max_rate is its own max_rate. [] is one camera without \
         a name.",
    )
    .online_only(),
    parameter(
        "image_transport",
        Kind::Choice(words::<ImageTransport>),
        "raw",
        "raw reads sensor_msgs/Image from the topic image, compressed reads sensor_msgs/CompressedImage from \
         image/compressed.",
    )
    .per_camera()
    .online_only(),
    parameter(
        "image_reliability",
        Kind::Choice(words::<Reliability>),
        "best_effort",
        "QoS of the camera subscriptions. best_effort receives from every publisher.",
    )
    .per_camera()
    .online_only(),
    parameter(
        "output_reliability",
        Kind::Choice(words::<Option<Reliability>>),
        "auto",
        "QoS of the outputs. auto is reliable, which serves best effort subscribers too.",
    )
    .online_only(),
    parameter(
        "network_interface",
        Kind::Text("ADDRESS", "auto or an IP address", network_interface),
        "auto",
        "Address that DDS uses. auto is the address of the default route, or loopback when there is none or \
         ROS asks for localhost. Traffic from networks other than the one named here, or from any network \
         when ROS asks for localhost, is dropped.",
    )
    .online_only(),
    parameter(
        "send_burst",
        Kind::Integer(1500, 16 << 20),
        "140000",
        "Maximum bytes of large messages sent at once to an address of another machine, which a receiver's \
         socket buffer has to hold. On this machine the kernel tells what fits.",
    )
    .in_unit("bytes")
    .online_only(),
    parameter(
        "send_rate",
        Kind::Integer(0, 100_000_000_000),
        "200000000",
        "Maximum bytes per second of large messages to an address of another machine; the rest waits, or is \
         replaced by a newer message. 0 sets no limit, for this machine neither.",
    )
    .in_unit("bytes/s")
    .online_only(),
    parameter(
        "max_rate",
        Kind::Double(0.0, 1000.0),
        "0.0",
        "Maximum frames per second taken from a camera. 0 takes all.",
    )
    .in_unit("Hz")
    .changeable()
    .per_camera()
    .online_only(),
    parameter(
        "max_age",
        Kind::Double(0.0, 3600.0),
        "1.0",
        "A frame that has waited longer for the model counts as displaced. With 0 it is still processed.",
    )
    .in_unit("s")
    .changeable()
    .online_only(),
    parameter(
        "expected_rate",
        Kind::Double(0.0, 1000.0),
        "0.0",
        "Frames per second that a camera should send: /diagnostics warns of less than nine tenths. 0 expects \
         nothing.",
    )
    .in_unit("Hz")
    .per_camera()
    .online_only(),
];

/// Most are read at start and mean something to `infer` as well.
const fn parameter(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Parameter {
    Parameter::new("Topics and network", name, kind, default, doc)
}
