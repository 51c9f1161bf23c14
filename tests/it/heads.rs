//! Heads against python/pixio_engine/heads.py, on what `tests/peers/make_heads.py` wrote into $PIXIO_HEADS.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use pixio_node::config::Upsampling;
use pixio_node::geometry::Size;
use pixio_node::heads::{Coverage, Head, HeadError, HeadKind, Task};
use tch::{Device, Kind, Tensor};

use crate::{error, skipped};

/// Bound in float32, of the largest value.
const FLOAT32: f64 = 1e-4;
const GRID: [i64; 2] = [6, 9];
const SIZE: Size = Size { width: 144, height: 96 };
/// Two by two windows cover it.
const IMAGE: Size = Size { width: 300, height: 200 };
const NAMES: [&str; 10] = [
    "linear-depth",
    "dpt-depth",
    "linear-segmentation",
    "dpt-segmentation",
    "taps-depth",
    "place-depth",
    "taps-place-depth",
    "taps-segmentation",
    "place-segmentation",
    "taps-place-segmentation",
];

fn root() -> Option<PathBuf> {
    let root = std::env::var_os("PIXIO_HEADS").map(PathBuf::from);
    if root.is_none() {
        skipped("heads (PIXIO_HEADS is not set)");
    }
    root
}

fn golden(root: &Path, name: &str) -> HashMap<String, Tensor> {
    Tensor::read_safetensors(root.join(format!("{name}.golden.safetensors"))).unwrap().into_iter().collect()
}

fn taps(golden: &HashMap<String, Tensor>, kind: Kind) -> Vec<Tensor> {
    (0..4).filter_map(|index| golden.get(&format!("tap.{index}"))).map(|tap| tap.to_kind(kind)).collect()
}

/// The head of `file` on the CPU.
fn load(file: &Path, kind: Kind) -> Result<Head, HeadError> {
    Head::parse(file, &fs::read(file).unwrap(), Device::Cpu, kind)
}

#[test]
fn heads_equal_the_reference() {
    let Some(root) = root() else { return };
    let mut worst = 0.0_f64;
    for name in NAMES {
        let golden = golden(&root, name);
        let head = load(&root.join(format!("{name}.safetensors")), Kind::Float).unwrap();
        let raw = head.run(&taps(&golden, Kind::Float), GRID).unwrap();
        let mut check = |what: &str, found: &Tensor, expect: &Tensor| {
            let error = error(found, expect);
            assert!(error <= FLOAT32, "{name} {what}: {error:.1e}");
            worst = worst.max(error);
        };
        check("raw", &raw, &golden["raw"]);
        let golden_of = |what: &str, first: bool| {
            let value = &golden[what];
            if first { value.get(0) } else { value.shallow_clone() }
        };
        // Of two images the first; of the windows over a third all.
        let whole = (raw, Coverage::Whole(SIZE), "", true);
        let windows = (golden["windows.raw"].shallow_clone(), Coverage::Windows(IMAGE), "windows.", false);
        for (raw, coverage, prefix, first) in [whole, windows] {
            let expect = |what: &str| golden_of(&format!("{prefix}{what}"), first);
            let depth = head.depth(&raw, coverage).unwrap();
            let labels = head.labels(&raw, coverage, Upsampling::Logits).unwrap();
            match head.card().task {
                Task::Depth { .. } => {
                    assert!(labels.is_none());
                    check("depth", &depth.unwrap(), &expect("depth"));
                }
                Task::Segmentation { .. } => {
                    assert!(depth.is_none());
                    let labels = labels.unwrap();
                    check("confidence", &labels.confidence, &expect("confidence"));
                    assert!(labels.classes.to_kind(Kind::Int64).equal(&expect("classes")), "{name}");
                }
            }
        }
    }
    println!("largest error of a head: {worst:.1e} of the largest value");
}

#[test]
fn labels_upsampled_after_the_choice_are_those_of_the_nearest_pixel() {
    let Some(root) = root() else { return };
    let golden = golden(&root, "dpt-segmentation");
    let head = load(&root.join("dpt-segmentation.safetensors"), Kind::Float).unwrap();
    let (raw, [rows, columns]) = (&golden["raw"], [i64::from(SIZE.height), i64::from(SIZE.width)]);
    let labels = head.labels(raw, Coverage::Whole(SIZE), Upsampling::Labels).unwrap().unwrap();
    let small = raw.get(0).argmax(0, false);
    let step = [rows / small.size()[0], columns / small.size()[1]];
    let repeated =
        small.repeat_interleave_self_int(step[0], 0, None).repeat_interleave_self_int(step[1], 1, None);
    assert!(labels.classes.to_kind(Kind::Int64).equal(&repeated));
    assert_eq!(labels.confidence.size(), [rows, columns]);
}

#[test]
fn heads_in_bfloat16_are_near_the_reference() {
    let Some(root) = root() else { return };
    for name in NAMES {
        let golden = golden(&root, name);
        let head = load(&root.join(format!("{name}.safetensors")), Kind::BFloat16).unwrap();
        let raw = head.run(&taps(&golden, Kind::BFloat16), GRID).unwrap();
        assert_eq!(raw.kind(), Kind::BFloat16);
        let error = error(&raw.to_kind(Kind::Float), &golden["raw"]);
        assert!(error < 0.05, "{name}: {error:.1e}");
    }
}

#[test]
fn a_head_file_that_is_not_right_is_refused_by_name() {
    let Some(root) = root() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("head.safetensors");
    let good = fs::read(root.join("dpt-depth.safetensors")).unwrap();
    let check = |bytes: Vec<u8>, expect: &str| {
        fs::write(&file, bytes).unwrap();
        let loaded = load(&file, Kind::Float);
        let said = loaded.map_or_else(|err| err.to_string(), |head| format!("{:?}", head.card().head));
        assert!(said.contains(expect) && !said.contains('\n'), "{expect:?} is not in: {said}");
    };
    // The header is JSON: a word of the same length keeps the file whole.
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = good.windows(from.len()).position(|window| window == from.as_bytes());
        let mut bytes = good.clone();
        let at = at.unwrap_or_else(|| panic!("{from} is not in the file"));
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    check(good.clone(), &format!("{:?}", HeadKind::Dpt { features: 16, out_channels: [8, 12, 16, 20] }));
    check(good[..good.len() / 2].to_vec(), "head.safetensors: not a whole safetensors file");
    check(b"letter".to_vec(), "not a safetensors file: only 6 bytes long");
    check(replaced("\"card\"", "\"cart\""), "it has no card in its metadata");
    check(
        replaced("projects.3.bias", "projects.7.bias"),
        "tensor projects.3.bias is missing (expected [20])",
    );
    check(
        replaced("\\\"features\\\": 16", "\\\"features\\\": 24"),
        "tensor scratch.layer1_rn.weight is [16, 8, 3, 3], expected [24, 8, 3, 3]",
    );
    check(
        replaced("\\\"hidden_size\\\": 48", "\\\"hidden_size\\\": 64"),
        "tensor projects.0.weight is [8, 96, 1, 1], expected [8, 128, 1, 1]",
    );
    check(replaced("\\\"taps\\\": [2, 4, 6, 8]", "\\\"taps\\\": [2, 4, 6, 9]"), "of blocks 1 to 8");
    let nan = {
        let mut bytes = good.clone();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        bytes
    };
    check(nan, "has values that are not finite");
    let head = load(&root.join("dpt-depth.safetensors"), Kind::Float).unwrap();
    let one = taps(&golden(&root, "linear-depth"), Kind::Float);
    assert_eq!(
        head.run(&one, GRID).unwrap_err().to_string(),
        "the head reads the blocks [2, 4, 6, 8], 1 were given"
    );
}
