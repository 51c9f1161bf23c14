//! Compiled engines: the same numbers as the eager model, and refusals instead of wrong ones. Engines are
//! compiled here, which takes Python with torch: set PIXIO_ENGINES=1 where `scripts/setup --engines` has put
//! it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::OnceLock;
use std::time::Duration;

use pixio_node::engine::EngineError;
use pixio_node::engine::arithmetic::Arithmetic;
use pixio_node::engine::builder::{Plan, Stop, build};
use pixio_node::engine::choose::ENGINES;
use pixio_node::engine::graph::LaunchMode;
use pixio_node::engine::int8::Kernel;
use pixio_node::engine::job::EngineJob;
use pixio_node::engine::proof::{self, BatchShape};
use pixio_node::engine::store::folder::Folder;
use pixio_node::ffi::package::{Package, Signature};
use pixio_node::geometry::Size;
use pixio_node::pixio::{Pixio, Source};
use tch::{Device, Kind, Tensor};

use crate::{error, skipped};

mod builds;
mod refused;

const SIZES: [Size; 2] = [Size { width: 96, height: 64 }, Size { width: 256, height: 256 }];
const TAPS: [usize; 2] = [2, 4];

fn job(model: &str, arithmetic: Arithmetic, sizes: &[Size]) -> EngineJob {
    let source = Source::resolve(model).unwrap();
    let pixio = Pixio::load(&source, Device::Cpu, arithmetic.kind()).unwrap();
    let (taps, sizes) = (TAPS.to_vec(), sizes.to_vec());
    EngineJob {
        source,
        pixio,
        device: Device::Cpu,
        arithmetic,
        taps,
        sizes,
        batches: vec![1],
        launch: LaunchMode::Plain,
    }
}

/// The fixed batch of a proof.
fn test_images(size: Size, batch: i64) -> Result<Tensor, EngineError> {
    proof::test_images(BatchShape { size, batch })
}

/// Time for proving that no machine needs.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A program that a build can start.
fn script(name: &str, text: &str) -> PathBuf {
    let tools = root().join("tools");
    fs::create_dir_all(&tools).unwrap();
    let file = tools.join(name);
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    file
}

/// The Python of `scripts/setup`, which compiles the same engine once; `None` where setup has made none.
fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = PYTHON.get_or_init(|| {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (python, tool) = (project.join(".venv/bin/python"), project.join("tests/peers/compile_once.py"));
        let text = format!("exec '{}' '{}' \"$@\"", python.display(), tool.display());
        python.exists().then(|| script("compile-once", &text))
    });
    made.clone()
}

fn plan(job: EngineJob, out: PathBuf) -> Plan {
    let (heads, batches, python, int8_kernel) = (vec![], vec![1, 4], python(), None);
    let (target, max_autotune, budget, is_background) = (None, false, PATIENCE, false);
    Plan { job, target, heads, batches, python, out, int8_kernel, max_autotune, budget, is_background }
}

/// A folder for this run, on the disk of the build: engines are machine code, and /tmp may not run any.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engines");
        // What the run before has left: nothing tells when the last test is done.
        let _first = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        root
    })
}

/// One float32 engine of random:tiny for all tests; `None` where none can be compiled.
fn engine() -> Option<&'static Folder> {
    static ENGINE: OnceLock<Option<Folder>> = OnceLock::new();
    let built = ENGINE.get_or_init(|| {
        std::env::var_os("PIXIO_ENGINES")?;
        let plan = plan(
            job("random:tiny", Arithmetic::Float32, &SIZES),
            root().join("cache").join(ENGINES).join("tiny"),
        );
        Some(build(&plan, &Stop::default(), &mut |text| println!("{text}")).unwrap().folder)
    });
    if built.is_none() {
        skipped("compiled engines (PIXIO_ENGINES is not set)");
    }
    built.as_ref()
}

/// Another checkpoint of the same architecture.
fn other_checkpoint(folder: &Path) -> String {
    let tiny = Pixio::load(&Source::resolve("random:tiny").unwrap(), Device::Cpu, Kind::Float).unwrap();
    let constants = tiny.constants([16, 16]).unwrap();
    let of = |name: &str| constants.iter().find(|(known, _)| known == name).unwrap().1.shallow_clone() * 1.25;
    let mut tensors = vec![
        ("cls_token".to_owned(), of("class_tokens")),
        ("pos_embed".into(), Tensor::cat(&[of("class_tokens"), of("position")], 1)),
        (
            "patch_embed.proj.weight".into(),
            of("patch.weight").reshape([192, 16, 16, 3]).permute([0, 3, 1, 2]).contiguous() * 50.0,
        ),
        ("patch_embed.proj.bias".into(), of("patch.bias")),
        ("norm.weight".into(), of("norm.weight")),
        ("norm.bias".into(), of("norm.bias")),
    ];
    for block in 0..4 {
        for (ours, theirs) in [
            ("norm1", "norm1"),
            ("qkv", "attn.qkv"),
            ("projection", "attn.proj"),
            ("norm2", "norm2"),
            ("fc1", "mlp.fc1"),
            ("fc2", "mlp.fc2"),
        ] {
            for role in ["weight", "bias"] {
                tensors.push((
                    format!("blocks.{block}.{theirs}.{role}"),
                    of(&format!("blocks.{block}.{ours}.{role}")),
                ));
            }
        }
    }
    let config = r#"{"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3}"#;
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), config).unwrap();
    Tensor::write_safetensors(&tensors, folder.join("model.safetensors")).unwrap();
    folder.display().to_string()
}

#[test]
fn one_engine_serves_every_checkpoint_of_its_architecture_as_the_eager_model_does() {
    let Some(folder) = engine() else { return };
    let other = other_checkpoint(&root().join("other"));
    let mut outputs = Vec::new();
    for model in ["random:tiny", &other] {
        let job = job(model, Arithmetic::Float32, &SIZES);
        let (mut eager, mut compiled) = (job.eager().unwrap(), job.load(folder).unwrap());
        assert_eq!((compiled.kind(), compiled.taps()), ("compiled".into(), &TAPS[..]));
        for (size, batch) in SIZES.iter().flat_map(|&size| [(size, 1), (size, 4)]) {
            let images = test_images(size, batch).unwrap();
            let (found, expect) = (
                compiled.run(slice::from_ref(&images), 2).unwrap().taps,
                eager.run(slice::from_ref(&images), 2).unwrap().taps,
            );
            assert_eq!(found.len(), 2);
            for (found, expect) in found.iter().zip(&expect) {
                let error = error(found, expect);
                assert!(error <= 1e-5, "{model} {size:?} batch {batch}: {error:.1e}");
            }
            assert!(compiled.run(slice::from_ref(&images), 1).unwrap().taps[0].equal(&found[0]));
            outputs.push(found[1].shallow_clone());
        }
    }
    assert!(error(&outputs[0], &outputs[4]) > 0.1, "both checkpoints give the same tokens");
}

#[test]
fn engines_of_fewer_bits_are_proven_by_their_own_bounds() {
    if engine().is_none() {
        return;
    }
    let kernels = Kernel::ALL.into_iter().filter(|kernel| kernel.check([192, 192]).is_ok());
    let int8 = kernels.map(|kernel| (Arithmetic::Int8, Some(kernel), 0.998, 0.999_99));
    for (arithmetic, int8_kernel, least, most) in
        [(Arithmetic::Bfloat16, None, 0.999, 0.999_999)].into_iter().chain(int8)
    {
        let name = format!("{arithmetic}{}", int8_kernel.map(Kernel::word).unwrap_or_default());
        let out = root().join(&name);
        let mut plan = plan(job("random:tiny", arithmetic, &SIZES[..1]), out);
        plan.int8_kernel = int8_kernel;
        let folder = build(&plan, &Stop::default(), &mut |text| println!("{text}")).unwrap().folder;
        let parities: Vec<_> = folder.manifest.packages.iter().flat_map(|package| &package.parity).collect();
        assert_eq!(parities.iter().map(|parity| parity.batch).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(folder.manifest.int8_kernel, int8_kernel);
        for times in folder.manifest.packages.iter().flat_map(|package| &package.times) {
            assert!(0.0 < times.eager_ms && 0.0 < times.engine_ms && 0 < times.n_rounds, "{name}: {times:?}");
        }
        for parity in parities {
            assert!((least..most).contains(&parity.cosine), "{name}: {parity:?}");
        }
        // The weights are not in it: another checkpoint gets its own tokens.
        let images = test_images(SIZES[0], 1).unwrap();
        let mut tokens = Vec::new();
        for model in ["random:tiny".to_owned(), other_checkpoint(&root().join(format!("other-{name}")))] {
            let job = job(&model, arithmetic, &SIZES[..1]);
            let mut engine = job.load(&folder).unwrap();
            assert_eq!(engine.kind(), "compiled");
            tokens.extend(engine.run(slice::from_ref(&images), 2).unwrap().taps.pop());
        }
        assert!(error(&tokens[0], &tokens[1]) > 0.1, "{name}: both checkpoints give the same tokens");
    }
}

#[test]
fn a_smaller_set_of_taps_is_served_and_a_larger_one_refused() {
    let Some(folder) = engine() else { return };
    let mut last = job("random:tiny", Arithmetic::Float32, &SIZES[..1]);
    last.taps = vec![4];
    let images = test_images(SIZES[0], 1).unwrap();
    let found = last.load(folder).unwrap().run(slice::from_ref(&images), 1).unwrap().taps;
    assert!(
        error(&found[0], &last.eager().unwrap().run(slice::from_ref(&images), 1).unwrap().taps[0]) <= 1e-5
    );
    last.taps = vec![3, 4];
    let said = last.load(folder).err().unwrap().to_string();
    assert!(said.ends_with("it returns the blocks [2, 4], block 3 is needed"), "{said}");
}

#[test]
fn batches_and_inputs_that_were_not_built_are_refused_and_the_next_good_one_is_served() {
    let Some(folder) = engine() else { return };
    let mut compiled = job("random:tiny", Arithmetic::Float32, &SIZES[..1]).load(folder).unwrap();
    let good = test_images(SIZES[0], 1).unwrap();
    let mut check = |images: &Tensor, expect: &str| {
        let said =
            compiled.run(slice::from_ref(images), 2).map_or_else(|err| err.to_string(), |_| "served".into());
        assert!(said.contains(expect), "{expect:?} is not in: {said}");
        assert_eq!(compiled.run(slice::from_ref(&good), 2).unwrap().taps.len(), 2);
    };
    check(
        &test_images(SIZES[0], 5).unwrap(),
        "a batch of 5 was asked for, the engine was built for batches of 1 to 4",
    );
    check(
        &good.to_kind(Kind::Float),
        "input is Float [1, 64, 96, 3] on Cpu, the package takes Uint8 [1 to 4, [64, 96, 3]] on Cpu",
    );
    check(
        &good.permute([0, 2, 1, 3]).contiguous().permute([0, 2, 1, 3]),
        "input [1, 64, 96, 3] is not contiguous",
    );
    // A size that `fit: auto` may come upon and that was not built.
    check(&test_images(Size { width: 32, height: 32 }, 1).unwrap(), "served");
}

#[test]
fn a_package_without_its_constants_does_not_run() {
    let Some(folder) = engine() else { return };
    let entry = &folder.manifest.packages[0];
    let size = entry.size().unwrap();
    let shape = vec![i64::from(size.height), i64::from(size.width), 3];
    let signature = Signature { kind: Kind::Uint8, batch: 1..=4, shape, device: Device::Cpu };
    let mut package = Package::open(&folder.file(entry).unwrap(), signature).unwrap();
    let images = test_images(size, 1).unwrap();
    let said = package.run(&images).unwrap_err().to_string();
    assert_eq!(said, "the package was not given its constants");
    let metadata = package.metadata().unwrap();
    assert_eq!(metadata["AOTI_DEVICE_KEY"], "cpu");
    // Without vector instructions it would be right, and several times slower.
    let isa = &metadata["AOTI_CPU_ISA"];
    assert!(cfg!(not(target_arch = "x86_64")) || isa.contains("AVX"), "{isa}");

    let pixio = job("random:tiny", Arithmetic::Float32, &SIZES[..1]).pixio;
    let expected = |name: &str| entry.form(name);
    let good = pixio.constants([4, 6]).unwrap();
    let with = |name: &str, tensor: Tensor| {
        let others = good.iter().filter(|(known, _)| known != name);
        let others = others.map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        others.chain([(name.to_owned(), tensor)]).collect::<Vec<_>>()
    };
    let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, Device::Cpu));
    let mut check = |constants, expect: &str| {
        let said = package.give_constants(constants, expected).unwrap_err().to_string();
        assert!(said.contains(expect), "{expect:?} is not in: {said}");
        assert!(package.run(&images).is_err());
    };
    check(
        with("norm.bias", zeros(&[191], Kind::Float)),
        "constant norm.bias is Float [191] on Cpu, the package was compiled for Float [192] on Cpu",
    );
    check(with("norm.bias", zeros(&[192], Kind::Half)), "constant norm.bias is Half [192] on Cpu");
    check(with("norm.gain", zeros(&[192], Kind::Float)), "constant norm.gain is not one of the package's");
    check(
        good.iter().skip(1).map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect(),
        "wants a constant patch.weight, which is not given",
    );
    let all = good.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
    package.give_constants(all.collect(), expected).unwrap();
    assert_eq!(package.run(&images).unwrap().len(), 2);
}

#[test]
fn constants_go_with_their_package() {
    let Some(folder) = engine() else { return };
    let resident_mb = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096 / 1_000_000
    };
    let entry = &folder.manifest.packages[0];
    let shape = vec![i64::from(SIZES[0].height), i64::from(SIZES[0].width), 3];
    let signature = Signature { kind: Kind::Uint8, batch: 1..=4, shape, device: Device::Cpu };
    let pixio = job("random:tiny", Arithmetic::Float32, &SIZES[..1]).pixio;
    let [width, height] = [SIZES[0].width, SIZES[0].height].map(|side| i64::from(side) / 16);
    let mut before = 0;
    for turn in 0..60 {
        let constants = pixio.constants([height, width]).unwrap();
        let copies = constants.into_iter().map(|(name, tensor)| (name, tensor.detach_copy())).collect();
        let mut package = Package::open(&folder.file(entry).unwrap(), signature.clone()).unwrap();
        package.give_constants(copies, |name| entry.form(name)).unwrap();
        package.run(&test_images(SIZES[0], 1).unwrap()).unwrap();
        if turn == 9 {
            before = resident_mb();
        }
    }
    // Fifty sets of 7 MB; other tests take memory meanwhile.
    let grown = resident_mb().saturating_sub(before);
    assert!(grown < 200, "{grown} MB are still there");
}
