//! Model files of any bytes, for the fuzzers.
#![expect(clippy::missing_panics_doc, reason = "a panic is what the fuzzers look for")]

use std::path::Path;

use super::checkpoint::parse_header;
use super::config::PixioConfig;
use super::layouts::Layout;
use super::processor::Processor;
use super::weights::{BlockPart, Part, TensorRole};
use crate::files::safetensors;

/// `config.json`, and `preprocessor_config.json`.
pub fn config_json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(config) = PixioConfig::parse(text, Path::new("config.json")) {
        let grid = config.trained_grid();
        assert!(config.stages().is_ok());
        // The largest shapes that are computed from it.
        let n_tokens = grid.checked_mul(grid).and_then(|n| n.checked_add(config.n_cls_tokens));
        let n_numbers =
            n_tokens.and_then(|n| n.checked_mul(config.hidden_size)).and_then(|n| n.checked_mul(8));
        let n_mlp = config.mlp_hidden().checked_mul(config.hidden_size).and_then(|n| n.checked_mul(8));
        assert!(n_numbers.is_some() && n_mlp.is_some());
    }
    if let Ok(processor) = Processor::parse(text) {
        assert!(processor.deviation.iter().all(|value| 0.0 < *value));
    }
}

/// A safetensors file: its beginning, its header, and the names of an encoder in it.
pub fn safetensors_header(data: &[u8]) {
    let start = &data[..data.len().min(safetensors::START)];
    let Ok(n_bytes) = safetensors::header_bytes(start, data.len() as u64) else { return };
    let header = &data[safetensors::LENGTH..][..usize::try_from(n_bytes).unwrap_or(0)];
    let Ok(header) = parse_header(header) else { return };
    assert!(header.data_len().checked_add(data.len()).is_some());
    let names = header.offset_keys();
    match Layout::unwrap(names.iter().map(String::as_str)) {
        Ok((wrapper, layout)) => {
            assert!(wrapper.is_empty() || wrapper.ends_with('.'));
            for part in [Part::ClsToken, Part::Block(0, BlockPart::Qkv, TensorRole::Weight)] {
                assert!(!layout.names(part).is_empty());
            }
            let of_encoder = names.iter().filter(|name| layout.is_of_encoder(name));
            assert!(of_encoder.count() <= names.len());
        }
        Err(why) => assert!(why.len() < 4096, "a message without bound"),
    }
}
