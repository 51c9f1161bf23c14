//! Files that teach, of any bytes, for the fuzzers.
#![expect(clippy::missing_panics_doc, reason = "a panic is what the fuzzers look for")]

use tch::{Device, Kind};

use super::clicks::Click;
use super::fit::fitted;
use super::store::{Binding, Exemplars, Limits};
use crate::heads::{EncoderCard, Head};

/// Most bytes of a reason: foreign names in it are cut.
const MOST_REASON_BYTES: usize = 4096;

/// What exemplars of `fuzz/corpora/teaching.py`'s model are bound to.
pub fn binding() -> Binding {
    let backbone = EncoderCard {
        model: "m".into(),
        revision: "0123456789ab".into(),
        hidden_size: 2,
        num_hidden_layers: 4,
        n_cls_tokens: 8,
    };
    Binding { backbone, taps: vec![2, 4], size: "256x256".into() }
}

/// A file of exemplars that are bound to [`binding`].
pub fn exemplars_file(data: &[u8]) {
    let binding = binding();
    let limits = Limits { per_class: 3, in_all: 5 };
    match Exemplars::parse(data, binding.clone(), limits, 0.0) {
        Ok(exemplars) => {
            assert!(exemplars.counts().iter().all(|&n| n <= limits.per_class));
            if let Ok(Some(parts)) = fitted(&exemplars) {
                let _head = Head::of(&parts, Device::Cpu, Kind::Float);
            }
            let Ok(bytes) = exemplars.bytes() else { return };
            let again = Exemplars::parse(&bytes, binding, limits, 0.0);
            assert!(again.is_ok_and(|again| again.counts() == exemplars.counts()));
        }
        Err(err) => assert!(format!("{err:#}").len() < MOST_REASON_BYTES),
    }
}

/// A file of clicks.
pub fn clicks_file(data: &[u8]) {
    match Click::parse(data) {
        Ok(clicks) => {
            for Click { line, image, pixel, class } in clicks {
                assert!(0 < line && !image.as_os_str().is_empty() && !class.trim().is_empty());
                assert!(pixel.iter().all(|value| value.is_finite()));
            }
        }
        Err(why) => assert!(why.len() < MOST_REASON_BYTES && !why.contains(char::is_control), "{why}"),
    }
}
