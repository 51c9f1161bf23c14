//! Engines on a GPU. These tests run where PIXIO_GPU_TESTS is set, which `scripts/bench-gpu --tests` does,
//! and one after the other (`--test-threads=1`), for one of them fills the GPU.

use std::path::PathBuf;
use std::slice;
use std::sync::OnceLock;

use pixio_node::config::{self, Upsampling};
use pixio_node::engine::arithmetic::Arithmetic;
use pixio_node::engine::builder::{BUDGET, Plan, Stop, build};
use pixio_node::engine::graph::LaunchMode;
use pixio_node::engine::head::{HeadEngine, Taken, Wanted};
use pixio_node::engine::job::EngineJob;
use pixio_node::engine::proof::{BatchShape, test_images};
use pixio_node::engine::store::folder::Folder;
use pixio_node::engine::swap::Swap;
use pixio_node::engine::{Engine, Place, Tokens, device};
use pixio_node::ffi::cuda;
use pixio_node::ffi::package::{Package, Signature};
use pixio_node::geometry::Size;
use pixio_node::heads::{Coverage, Head};
use pixio_node::pixio::{Pixio, Source};
use tch::{Device, Kind, Tensor};

use crate::{error, skipped};

const SIZE: Size = Size { width: 256, height: 256 };
const GPU: Device = Device::Cuda(0);

/// Whether to test at all; loads CUDA.
fn is_here(what: &str) -> bool {
    if std::env::var_os("PIXIO_GPU_TESTS").is_none() {
        skipped(&format!("{what} (PIXIO_GPU_TESTS is not set)"));
        return false;
    }
    assert_eq!(device::device(config::Device::Auto).unwrap(), GPU, "there is no GPU");
    true
}

fn job(launch: LaunchMode) -> EngineJob {
    let source = Source::resolve("random:tiny").unwrap();
    let arithmetic = Arithmetic::Bfloat16;
    let pixio = Pixio::load(&source, GPU, arithmetic.kind()).unwrap();
    EngineJob {
        source,
        pixio,
        device: GPU,
        arithmetic,
        taps: vec![2, 4],
        sizes: vec![SIZE],
        batches: vec![1],
        launch,
    }
}

/// Those of models/pixio-tiny, whose tokens are as wide as the model's.
fn heads() -> Vec<Head> {
    let folder =
        std::env::var_os("PIXIO_TINY").map_or_else(|| PathBuf::from("models/pixio-tiny"), PathBuf::from);
    let load = |task| {
        let file = folder.join(format!("{task}.safetensors"));
        Head::parse(&file, &std::fs::read(&file).unwrap(), GPU, Kind::BFloat16).unwrap()
    };
    vec![load("depth"), load("segmentation")]
}

/// One engine for all tests.
fn folder() -> &'static Folder {
    static FOLDER: OnceLock<Folder> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let (job, out) = (job(LaunchMode::Graph), std::env::temp_dir().join("pixio-gpu-tests"));
        let python = std::env::var_os("PYTHON").map(Into::into);
        let (batches, int8_kernel) = (vec![1, 2], None);
        let plan = Plan {
            job,
            target: None,
            heads: heads(),
            batches,
            python,
            out,
            int8_kernel,
            max_autotune: false,
            budget: BUDGET,
            is_background: false,
        };
        build(&plan, &Stop::default(), &mut |text| println!("{text}")).unwrap().folder
    })
}

fn noise(batch: i64) -> Tensor {
    let (height, width) = (i64::from(SIZE.height), i64::from(SIZE.width));
    Tensor::randint(256, [batch, height, width, 3], (Kind::Uint8, Device::Cpu))
}

/// Tokens in float32 on the CPU: what the next run does to the engine's own no longer matters.
fn tokens(engine: &mut dyn Engine, images: &Tensor, n_taps: usize) -> Vec<Tensor> {
    let taps = engine.run(slice::from_ref(images), n_taps).unwrap().taps;
    taps.iter().map(|tap| tap.to_kind(Kind::Float).to_device(Device::Cpu)).collect()
}

/// The tokens of two taps as those of four, which the heads read.
fn four_taps(tokens: Tokens) -> Tokens {
    Tokens { taps: [0, 0, 1, 1].map(|tap| tokens.taps[tap].shallow_clone()).into(), ..tokens }
}

/// How much of a map differs: where two classes are about as likely, rounding decides.
fn share_that_differs(found: &Tensor, expect: &Tensor) -> f64 {
    let differ = (found - expect).abs().gt(0.05 * expect.abs().max().double_value(&[]));
    differ.to_kind(Kind::Float).mean(Kind::Float).double_value(&[])
}

#[test]
fn a_replayed_graph_gives_what_a_plain_run_gives_on_fresh_images() {
    if !is_here("replays") {
        return;
    }
    let (graph, plain) = (job(LaunchMode::Graph), job(LaunchMode::Plain));
    let pairs = [
        (graph.eager().unwrap(), plain.eager().unwrap()),
        (graph.load(folder()).unwrap(), plain.load(folder()).unwrap()),
    ];
    for (mut graph, mut plain) in pairs {
        assert_eq!(graph.kind(), format!("{} + graph", plain.kind()));
        for turn in 0..30 {
            let (batch, n_taps) = (1 + turn % 2, 1 + turn as usize / 2 % 2);
            let images = noise(batch);
            // Also from images that are on the GPU already.
            let there = if turn % 3 == 0 { images.to_device(GPU) } else { images.shallow_clone() };
            let (found, expect) = (tokens(&mut *graph, &there, n_taps), tokens(&mut *plain, &images, n_taps));
            assert_eq!(found.len(), n_taps);
            for (found, expect) in found.iter().zip(&expect) {
                let error = error(found, expect);
                assert!(error < 1e-2, "{} turn {turn}: {error:.1e}", graph.kind());
            }
        }
    }
}

#[test]
fn a_head_gives_the_same_compiled_and_recorded_as_kernel_by_kernel() {
    if !is_here("heads") {
        return;
    }
    let (graph, plain) = (job(LaunchMode::Graph), job(LaunchMode::Plain));
    let (mut recorded, mut expected) = (graph.load(folder()).unwrap(), plain.eager().unwrap());
    let mut recording: Vec<_> = heads().into_iter().map(HeadEngine::new).collect();
    let mut compiled: Vec<_> = heads().into_iter().map(HeadEngine::new).collect();
    let mut plainly: Vec<_> = heads().into_iter().map(HeadEngine::new).collect();
    for head in &mut compiled {
        assert_ne!(head.take_packages(folder(), &graph).unwrap(), Taken::Nothing);
    }
    let wanted = Wanted { coverage: Coverage::Whole(SIZE), upsampling: Upsampling::default() };
    let on_cpu = |maps: Vec<Tensor>| -> Vec<Tensor> {
        maps.iter().map(|map| map.to_kind(Kind::Float).to_device(Device::Cpu)).collect()
    };
    for turn in 0..20 {
        let images = [noise(1)];
        let tokens = four_taps(expected.run(&images, 2).unwrap());
        let expect: Vec<_> =
            plainly.iter_mut().map(|head| on_cpu(head.run(&tokens, wanted).unwrap())).collect();
        let tokens = four_taps(recorded.run(&images, 2).unwrap());
        assert!(matches!(tokens.place, Place::Results(_)) && tokens.lane.is_some());
        // Both read the same tokens, one after the other, and so do copies of them.
        let copied = Tokens {
            taps: tokens.taps.iter().map(Tensor::detach_copy).collect(),
            lane: tokens.lane.clone(),
            place: Place::Anywhere,
        };
        for which in 0..2 {
            for (is_compiled, tokens) in [(true, &tokens), (false, &tokens), (true, &copied)] {
                let engine = if is_compiled { &mut compiled[which] } else { &mut recording[which] };
                let found = on_cpu(engine.run(tokens, wanted).unwrap());
                assert_eq!(found.len(), expect[which].len());
                for (found, expect) in found.iter().zip(&expect[which]) {
                    let share = share_that_differs(found, expect);
                    assert!(share < 0.02, "turn {turn}: {share} of the pixels differ");
                }
            }
        }
    }
}

#[test]
fn several_cameras_together_get_the_maps_that_each_gets_alone() {
    if !is_here("several cameras") {
        return;
    }
    let mut engine = job(LaunchMode::Graph).eager().unwrap();
    let mut heads: Vec<_> = heads().into_iter().map(HeadEngine::new).collect();
    let wanted = Wanted { coverage: Coverage::Whole(SIZE), upsampling: Upsampling::default() };
    let images: Vec<_> = (0..4).map(|_| noise(1)).collect();
    let mut maps = |images: &[Tensor]| -> Vec<Tensor> {
        let tokens = four_taps(engine.run(images, 2).unwrap());
        let mut all = Vec::new();
        for index in 0..images.len() {
            let tokens = if images.len() == 1 { &tokens } else { &tokens.of_image(index).unwrap() };
            for head in &mut heads {
                let maps = head.run(tokens, wanted).unwrap();
                all.extend(maps.iter().map(|map| map.to_kind(Kind::Float).to_device(Device::Cpu)));
            }
        }
        all
    };
    // Recordings of fewer images come first: theirs must not write to the tokens of more.
    for n in [1, 2, 4, 2, 4] {
        let together = maps(&images[..n]);
        let alone: Vec<_> = images[..n].iter().flat_map(|image| maps(slice::from_ref(image))).collect();
        assert_eq!(together.len(), alone.len());
        for (index, (together, alone)) in together.iter().zip(&alone).enumerate() {
            let share = share_that_differs(together, alone);
            assert!(share < 0.02, "{n} cameras, map {index}: {share} of the pixels differ");
        }
    }
}

#[test]
fn images_on_the_wrong_device_are_refused_and_the_next_good_ones_are_served() {
    if !is_here("devices of inputs") {
        return;
    }
    let (folder, pixio) = (folder(), job(LaunchMode::Plain).pixio);
    let entry = &folder.manifest.packages[0];
    let signature = Signature { kind: Kind::Uint8, batch: 1..=1, shape: vec![256, 256, 3], device: GPU };
    let mut package = Package::open(&folder.file(entry).unwrap(), signature.clone()).unwrap();
    package.give_constants(pixio.constants([16, 16]).unwrap(), |name| entry.form(name)).unwrap();
    let said = package.run(&noise(1)).unwrap_err().to_string();
    assert!(said.contains("on Cpu, the package takes Uint8 [1 to 1, [256, 256, 3]] on Cuda(0)"), "{said}");
    assert_eq!(package.run(&noise(1).to_device(GPU)).unwrap().len(), 2);
    let on_cpu = Signature { device: Device::Cpu, ..signature };
    assert!(Package::open(&folder.file(entry).unwrap(), on_cpu).is_err());
}

#[test]
fn ten_thousand_replays_need_no_more_memory_than_the_first() {
    if !is_here("memory") {
        return;
    }
    let mut engine = job(LaunchMode::Graph).load(folder()).unwrap();
    let cuda = cuda::load().unwrap();
    let images = noise(1);
    let first = tokens(&mut *engine, &images, 2);
    let before = cuda.memory(0).unwrap().reserved;
    for _ in 0..10_000 {
        engine.run(slice::from_ref(&images), 2).unwrap();
    }
    let grown = cuda.memory(0).unwrap().reserved.saturating_sub(before);
    assert!(grown == 0, "{grown} bytes more");
    let last = tokens(&mut *engine, &images, 2);
    assert!(first.iter().zip(&last).all(|(first, last)| first.equal(last)));
}

#[test]
fn an_engine_that_is_made_on_another_thread_takes_over_under_load() {
    if !is_here("swap") {
        return;
    }
    folder();
    let (send, better) = crossbeam_channel::bounded::<Box<dyn Engine>>(1);
    let mut engine = Swap::new(job(LaunchMode::Graph).eager().unwrap(), better, |_kind| ());
    let images = noise(1);
    let expect = tokens(&mut *job(LaunchMode::Plain).eager().unwrap(), &images, 2);
    std::thread::scope(|scope| {
        // Records its graphs while the other replays its own.
        scope.spawn(move || send.send(job(LaunchMode::Graph).load(folder()).unwrap()).unwrap());
        let mut n_after = 0;
        for _ in 0..200_000 {
            let found = tokens(&mut engine, &images, 2);
            for (found, expect) in found.iter().zip(&expect) {
                assert!(error(found, expect) < 2e-2);
            }
            n_after += usize::from(engine.kind().starts_with("compiled"));
            if n_after == 100 {
                return;
            }
        }
        panic!("the better engine never took over");
    });
}

#[test]
fn a_gpu_that_is_full_is_an_error_and_not_the_end() {
    if !is_here("full memory") {
        return;
    }
    let job = job(LaunchMode::Graph);
    let large = Size { width: 1024, height: 1024 };
    let images = test_images(BatchShape { size: large, batch: 8 }).unwrap();
    let mut full = job.eager().unwrap();
    let mut taken = Vec::new();
    // In ever smaller pieces until nothing is left.
    for exponent in (20..34).rev() {
        while let Ok(piece) = Tensor::f_empty([1i64 << exponent], (Kind::Uint8, GPU)) {
            taken.push(piece);
        }
    }
    let said = full.run(slice::from_ref(&images), 2).expect_err("there is no memory left").to_string();
    assert!(said.contains("out of memory") && !said.contains('\n'), "{said}");
    drop((taken, full));
    cuda::load().unwrap().empty_cache().unwrap();
    assert_eq!(tokens(&mut *job.eager().unwrap(), &images, 2).len(), 2);
}

#[test]
fn a_gpu_that_is_not_there_is_refused_with_how_many_are() {
    if !is_here("devices") {
        return;
    }
    let said = device::device(config::Device::Cuda(99)).unwrap_err().to_string();
    assert!(
        said.contains("cuda:99 was asked for") && said.contains("CUDA devices are usable here"),
        "{said}"
    );
    let gpu = cuda::load().unwrap().gpu(0).unwrap();
    assert!(!gpu.name.is_empty() && gpu.capability.contains('.'), "{gpu:?}");
}
