//! Messages of pages of any bytes, for the fuzzers.
#![expect(clippy::missing_panics_doc, reason = "a panic is what the fuzzers look for")]

use super::framing;
use super::messages::{AboutImage, FromPage};

/// A message of a page, text or binary.
pub fn page_message(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _read = serde_json::from_str::<FromPage>(text);
    }
    if let Some((about, file)) = framing::split::<AboutImage>(data) {
        assert!(about.stamp().nanosec < 1_000_000_000 && file.len() < data.len());
    }
}
