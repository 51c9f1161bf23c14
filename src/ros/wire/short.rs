//! Strings of peers that are names. A long one is no name, and the message is refused before it is copied.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Bytes of a frame, an encoding, a format or a node's name at most. ROS allows as many in the name of a
/// topic.
pub(in crate::ros) const MOST_BYTES: usize = 256;

/// For `deserialize_with`.
///
/// # Errors
/// The string is too long, or none.
pub(in crate::ros) fn short<'de, D: Deserializer<'de>>(message: D) -> Result<String, D::Error> {
    message.deserialize_str(Short)
}

struct Short;

impl Visitor<'_> for Short {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string of at most {MOST_BYTES} bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        match text.len() {
            n_bytes if MOST_BYTES < n_bytes => Err(E::custom(format!(
                "a name of {n_bytes} bytes (frame_id, encoding, format or distortion_model), and at most \
                 {MOST_BYTES} are read"
            ))),
            _ => Ok(text.to_owned()),
        }
    }
}
