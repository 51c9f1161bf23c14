//! The encoder against transformers, on what `tests/peers/make_parity.py` wrote into $PIXIO_PARITY.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pixio_node::engine::{Engine, eager::Eager};
use pixio_node::pixio::{Backbone, Pixio, Source};
use tch::{Device, Kind, Tensor};

use crate::{error, skipped};

/// Bound in float32, of the largest value.
const FLOAT32: f64 = 2e-5;
/// Bound of the cosine in bfloat16 and float16.
const COSINE: f64 = 0.999;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    kind: String,
    folders: Vec<String>,
    sizes: Vec<String>,
}

/// Every folder of every case of this kind, with its golden tensors.
fn each(kind: &str, mut check: impl FnMut(&str, &Path, &str, &dyn Fn(&str) -> Tensor)) {
    let Some(root) = std::env::var_os("PIXIO_PARITY").map(PathBuf::from) else {
        skipped(&format!("parity of {kind}s (PIXIO_PARITY is not set)"));
        return;
    };
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(root.join("parity.json")).unwrap()).unwrap();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.kind == kind).collect();
    assert!(!cases.is_empty(), "no {kind} in {}", root.display());
    for case in cases {
        let golden = Tensor::read_safetensors(root.join(format!("{}.safetensors", case.name))).unwrap();
        let golden: HashMap<String, Tensor> = golden.into_iter().collect();
        for folder in &case.folders {
            for size in &case.sizes {
                let get = |key: &str| golden[&format!("{size}.{key}")].shallow_clone();
                check(&format!("{folder} {size}"), &root.join(folder), size, &get);
            }
        }
    }
}

fn load(folder: &Path, kind: Kind) -> Pixio {
    let source = Source::resolve(folder.to_str().unwrap()).unwrap();
    Pixio::load(&source, Device::Cpu, kind).unwrap()
}

fn cosine(found: &Tensor, expect: &Tensor) -> f64 {
    let (found, expect) =
        (found.to_kind(Kind::Double).flatten(0, -1), expect.to_kind(Kind::Double).flatten(0, -1));
    found.dot(&expect).double_value(&[]) / (found.norm() * expect.norm()).double_value(&[])
}

fn n_blocks(pixio: &Pixio) -> usize {
    pixio.config().num_hidden_layers
}

#[test]
fn model_equals_transformers_in_float32() {
    let mut worst = 0.0_f64;
    each("model", |what, folder, _, golden| {
        let pixio = load(folder, Kind::Float);
        let encoded = pixio.forward(&golden("pixel_values")).unwrap();
        let mut check = |name: &str, found: &Tensor| {
            let error = error(found, &golden(name));
            assert!(error <= FLOAT32, "{what} {name}: {error:.1e}");
            worst = worst.max(error);
        };
        check("last_hidden_state", &encoded.last_hidden_state);
        check("pooler_output", &encoded.pooler_output);
        assert_eq!(encoded.hidden_states.len(), n_blocks(&pixio) + 1);
        for (index, state) in encoded.hidden_states.iter().enumerate() {
            check(&format!("hidden_states.{index}"), state);
        }
    });
    println!("largest error of the model: {worst:.1e} of the largest value");
}

#[test]
fn uint8_images_give_the_same_as_normalised_floats() {
    let mut worst = 0.0_f64;
    each("model", |what, folder, _, golden| {
        let pixio = load(folder, Kind::Float);
        let blocks: Vec<usize> = (0..=n_blocks(&pixio)).rev().collect();
        let states = pixio.encode(&golden("images"), &blocks).unwrap();
        for (state, block) in states.iter().zip(&blocks) {
            let error = error(state, &golden(&format!("hidden_states.{block}")));
            assert!(error <= FLOAT32, "{what} block {block}: {error:.1e}");
            worst = worst.max(error);
        }
        let last = pixio.normalize(&states[0]).unwrap();
        assert!(error(&last, &golden("last_hidden_state")) <= FLOAT32, "{what}");
    });
    println!("largest error from uint8: {worst:.1e} of the largest value");
}

#[test]
fn half_precisions_keep_the_direction() {
    for kind in [Kind::BFloat16, Kind::Half] {
        let mut worst = 1.0_f64;
        each("model", |what, folder, _, golden| {
            // The layouts differ in names only, and half precision is slow on most CPUs.
            if !folder.ends_with("saved") {
                return;
            }
            let pixio = load(folder, kind);
            let bytes = pixio.encode(&golden("images"), &[n_blocks(&pixio)]).unwrap().remove(0);
            let values = pixio.forward(&golden("pixel_values")).unwrap();
            for last in [pixio.normalize(&bytes).unwrap(), values.last_hidden_state] {
                assert_eq!(last.kind(), kind);
                let cosine = cosine(&last, &golden("last_hidden_state"));
                assert!(cosine > COSINE, "{what} {kind:?}: {cosine}");
                worst = worst.min(cosine);
            }
        });
        println!("smallest cosine in {kind:?}: {worst:.6}");
    }
}

#[test]
fn backbone_stages_equal_transformers_with_the_right_norm() {
    let mut worst = 0.0_f64;
    each("backbone", |what, folder, _, golden| {
        let backbone = Backbone::new(load(folder, Kind::Float)).unwrap();
        let maps = backbone.forward(&golden("pixel_values")).unwrap();
        assert!(!maps.is_empty());
        for (index, map) in maps.iter().enumerate() {
            let error = error(map, &golden(&format!("feature_maps.{index}")));
            assert!(error <= FLOAT32, "{what} map {index}: {error:.1e}");
            worst = worst.max(error);
        }
    });
    println!("largest error of a stage: {worst:.1e} of the largest value");
}

#[test]
fn the_engine_returns_the_normalised_taps() {
    each("model", |what, folder, _, golden| {
        if !folder.ends_with("module") {
            return;
        }
        let pixio = load(folder, Kind::Float);
        let last = n_blocks(&pixio);
        let mut engine = Eager::new(pixio, &[1, last]).unwrap();
        let taps = engine.run(&[golden("images")], usize::MAX).unwrap().taps;
        assert_eq!((engine.taps(), taps.len()), ([1, last].as_slice(), 2));
        assert!(error(&taps[1], &golden("last_hidden_state")) <= FLOAT32, "{what}");
        let only_first = engine.run(&[golden("images")], 1).unwrap().taps;
        assert!(only_first.len() == 1 && only_first[0].equal(&taps[0]), "{what}");
        let first = engine.pixio().normalize(&golden("hidden_states.1")).unwrap();
        assert!(error(&taps[0], &first) <= FLOAT32, "{what}");
    });
}

#[test]
fn layouts_and_files_of_one_model_have_their_own_revision() {
    let mut revisions = Vec::new();
    each("model", |_, folder, size, _| {
        if size == "256x256" && folder.parent().is_some_and(|case| case.ends_with("tiny")) {
            revisions.push(load(folder, Kind::Float).revision().to_owned());
        }
    });
    assert!(revisions.iter().all(|revision| revision.len() == 12));
    let n_folders = revisions.len();
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), n_folders);
}
