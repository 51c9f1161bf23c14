//! The live page.

use super::check::ip_address;
use super::{Kind, Parameter};

pub(super) static PARAMETERS: [Parameter; 2] = [
    parameter(
        "live_port",
        Kind::Integer(0, 65535),
        "0",
        "Port of the live page, which shows this node at work in a browser. 0 serves none; `pixio_node live` then \
         takes 8470.",
    )
    .online_only(),
    parameter(
        "live_address",
        Kind::Text("ADDRESS", "an IP address of this machine", ip_address),
        "127.0.0.1",
        "Address of the live page. With any other than loopback, whoever reads the printed token in the network's \
         traffic can look on.",
    )
    .online_only(),
];

/// Both are read at start.
const fn parameter(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Parameter {
    Parameter::new("Live page", name, kind, default, doc)
}
