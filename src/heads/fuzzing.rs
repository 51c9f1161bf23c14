//! Head files of any bytes, for the fuzzers.
#![expect(clippy::missing_panics_doc, reason = "a panic is what the fuzzers look for")]

use std::path::Path;

use tch::{Device, Kind};

use super::Head;
use super::card::Card;

/// A head file; what is no safetensors file is read as a card.
pub fn head_file(data: &[u8]) {
    if let Ok(head) = Head::parse(Path::new("head.safetensors"), data, Device::Cpu, Kind::Float) {
        assert!(!head.constants().is_empty());
    }
    if let Ok(card) = std::str::from_utf8(data).map_err(drop).and_then(|text| Card::parse(text).map_err(drop))
    {
        assert!((1..=255).contains(&card.n_outputs()));
    }
}
