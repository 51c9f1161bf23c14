//! Engines that are refused: built for something else, spoilt, or slower than the eager model.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pixio_node::engine::EngineError;
use pixio_node::engine::arithmetic::Arithmetic;
use pixio_node::engine::choose::{ENGINES, from_cache};
use pixio_node::engine::job::{EngineJob, Refusal};
use pixio_node::engine::store::folder::Folder;
use pixio_node::engine::timing::{Run, Runner, Stopwatch, Trial};
use pixio_node::geometry::Size;
use pixio_node::pixio::{Pixio, Source};
use tch::{Device, Kind};

use super::{SIZES, engine, job, root, test_images};

/// Says how many milliseconds the eager model and the engine take, however fast this machine is.
struct Says {
    eager: u64,
    engine: u64,
}

impl Stopwatch for Says {
    fn time(&mut self, runner: Runner, run: Run<'_>) -> Result<Duration, EngineError> {
        run()?;
        Ok(Duration::from_millis(if runner == Runner::Eager { self.eager } else { self.engine }))
    }
}

/// A trial as at the start of the node, on a machine where they take so many milliseconds.
fn trial(eager: u64, engine: u64) -> Trial {
    Trial::new(Box::new(Says { eager, engine }), Duration::from_secs(2), 5)
}

/// A copy of the engine, to spoil.
fn copy(engine: &Folder, name: &str) -> PathBuf {
    let target = root().join(name).join(ENGINES).join("tiny");
    fs::create_dir_all(&target).unwrap();
    for entry in fs::read_dir(engine.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), target.join(entry.file_name())).unwrap();
    }
    target
}

#[test]
fn an_engine_for_something_else_is_refused_with_both_sides_named() {
    let Some(folder) = engine() else { return };
    let check = |spoil: &dyn Fn(&mut EngineJob), expect: &str| {
        let mut job = job("random:tiny", Arithmetic::Float32, &SIZES);
        spoil(&mut job);
        let said = job.load(folder).map_or_else(|err| err.to_string(), |_| "served".into());
        assert!(said.contains(expect) && said.contains("/tiny: "), "{expect:?} is not in: {said}");
    };
    check(&|job| job.arithmetic = Arithmetic::Bfloat16, "it computes in float32, bfloat16 was asked for");
    let square = vec![Size { width: 128, height: 128 }];
    check(&|job| job.sizes = square.clone(), "it was built for 96x64, 256x256, the model input is 128x128");
    let source = Source::resolve("random:vitb16").unwrap();
    let vitb16 = Pixio::load(&source, Device::Cpu, Kind::Float).unwrap();
    let expect = "it was built for hidden_size 192, the model has 768";
    check(&|job| job.pixio = vitb16.shallow_clone(), expect);
}

#[test]
fn a_spoilt_engine_is_refused_and_the_cache_passes_over_it() {
    let Some(folder) = engine() else { return };
    let check = |name: &str, spoil: &dyn Fn(&Path), expect: &str| {
        let job = job("random:tiny", Arithmetic::Float32, &SIZES[..1]);
        let spoilt = copy(folder, name);
        let cache = root().join(name);
        assert!(
            from_cache(&job, &cache, &mut trial(10, 10), &mut Vec::new()).is_some(),
            "{name}: the copy is good before it is spoilt"
        );
        spoil(&spoilt);
        let opened = Folder::open(&spoilt).map_err(Into::into).and_then(|folder| job.load(&folder));
        // One that was built for something else is no failure.
        let is_misfit = matches!(opened, Err(Refusal::Misfit { .. }));
        let said = opened.map_or_else(|err| err.to_string(), |_| "served".into());
        assert!(said.contains(expect) && !said.contains('\n'), "{name}: {expect:?} is not in: {said}");
        let mut refused = Vec::new();
        assert!(from_cache(&job, &cache, &mut trial(10, 10), &mut refused).is_none(), "{name}");
        assert_eq!(refused.len(), usize::from(!is_misfit), "{name}: {refused:?}");
    };
    let package = |folder: &Path| folder.join("backbone-96x64.pt2");
    let manifest = |folder: &Path, from: &str, to: &str| {
        let file = folder.join("manifest.json");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from} is not in the manifest");
        fs::write(file, text.replace(from, to)).unwrap();
    };
    let bytes = |folder: &Path| fs::read(package(folder)).unwrap();
    let rehash = |folder: &Path, bytes: &[u8]| {
        let before = pixio_node::engine::store::folder::hash(&package(folder)).unwrap();
        fs::write(package(folder), bytes).unwrap();
        manifest(folder, &before, &pixio_node::engine::store::folder::hash(&package(folder)).unwrap());
    };
    let changed = "backbone-96x64.pt2 has changed since it was built";
    check("truncated", &|folder| fs::write(package(folder), &bytes(folder)[..100_000]).unwrap(), changed);
    check(
        "corrupted",
        &|folder| {
            let mut bytes = bytes(folder);
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(package(folder), bytes).unwrap();
        },
        changed,
    );
    // Truncated by somebody who knew the manifest.
    check("no-zip", &|folder| rehash(folder, &bytes(folder)[..100_000]), "backbone-96x64.pt2: ");
    check(
        "half-written",
        &|folder| fs::remove_file(folder.join("manifest.json")).unwrap(),
        "the folder holds no engine",
    );
    check(
        "newer",
        &|folder| manifest(folder, "\"format\": 3", "\"format\": 4"),
        "it has format 4, of a newer pixio_node",
    );
    check(
        "other-torch",
        &|folder| manifest(folder, "\"2.11.0\"", "\"2.12.0\""),
        "it was built with torch 2.12.0, this node runs 2.11.0",
    );
    check(
        "other-cpu",
        &|folder| manifest(folder, "\"instructions\": [", "\"instructions\": [\"amx_int9\","),
        "a CPU with amx_int9, which this one lacks",
    );
    // A package for another size under this one's name: its constants give it away.
    check("swapped", &|folder| rehash(folder, &fs::read(folder.join("backbone-256x256.pt2")).unwrap()), "");
}

#[test]
fn an_engine_that_is_slower_than_the_eager_model_serves_only_where_it_was_asked_for() {
    let Some(folder) = engine() else { return };
    let job = job("random:tiny", Arithmetic::Float32, &SIZES);
    let cache = root().join("cache");
    let check = |eager: u64, engine: u64, expect: &str| {
        let mut refused = Vec::new();
        let served = from_cache(&job, &cache, &mut trial(eager, engine), &mut refused);
        let said = refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert_eq!(
            (served.is_some(), refused.len()),
            (expect.is_empty(), usize::from(!expect.is_empty())),
            "{said}"
        );
        assert!(
            said.contains(expect) && said.contains(if expect.is_empty() { "" } else { "/tiny: " }),
            "{said}"
        );
        // Who names the folder gets the engine, and the figures.
        let mut tried = job.tried(folder, &mut trial(eager, engine)).unwrap();
        assert_eq!(tried.engine.run(&[test_images(SIZES[0], 1).unwrap()], 2).unwrap().taps.len(), 2);
        let said = tried.slower.map_or_else(String::new, |slower| slower.to_string());
        assert!(said.contains(expect) && said.is_empty() == expect.is_empty(), "{said}");
    };
    check(450, 290, "");
    check(100, 114, "");
    check(100, 130, "it is slower than eager execution on this machine: compiled 130 ms, eager 100 ms");
    // As torch's int8 product on a CPU without VNNI: the proof's own run is enough.
    check(
        450,
        20_400,
        "compiled 20.4 s, eager 450 ms for one image of 96x64 (45.3 times as long, one run of each)",
    );
}
