//! The wiring of the stages, with engines that run or fail when they are told to.

mod workers;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use pixio_node::cli;
use pixio_node::config::{DepthResolution, FeaturesDtype, Fit, Live, ResizeFilter, Value, Values};
use pixio_node::engine::threads::PassThreads;
use pixio_node::engine::{Engine, EngineError, Tokens};
use pixio_node::geometry::Size;
use pixio_node::outputs::{Topic, Topics};
use pixio_node::pipeline::{Camera, Intake, Pipeline, Shared, Work};
use pixio_node::runtime::clock::Clock;
use pixio_node::runtime::statistics::Span;
use pixio_node::stages::camera::{CameraImage, Frame, Header, Raster, Stamp};
use pixio_node::stages::derive::{
    BasisKeeper, Common, Dense, Derived, Deriver, DeriverConfig, ModelCard, Worker,
};
use pixio_node::stages::fit::Fitter;
use pixio_node::stages::publish::{Encoded, Encoder, EncoderConfig, FrameTimes, Sent, Sink};
use tch::{Kind, Tensor};

/// Finishes a batch when the gate lets it through, and fails after `n_left` of them.
struct Staged {
    gate: mpsc::Receiver<()>,
    n_left: usize,
    n_runs: Arc<AtomicUsize>,
}

impl Engine for Staged {
    fn kind(&self) -> String {
        "staged".into()
    }

    fn taps(&self) -> &[usize] {
        &[1]
    }

    fn stops_early(&self) -> bool {
        false
    }

    fn run(&mut self, images: &[Tensor], _n_taps: usize) -> Result<Tokens, EngineError> {
        self.n_runs.fetch_add(1, Ordering::Relaxed);
        // A gate that is gone is open.
        let _opened = self.gate.recv();
        let Some(n_left) = self.n_left.checked_sub(1) else {
            return Err(EngineError { message: "out of memory".into() });
        };
        self.n_left = n_left;
        // An image's tokens are its brightness.
        let images = Tensor::cat(images, 0);
        let brightness = images.flatten(1, -1).to_kind(Kind::Float).mean_dim(&[1i64][..], false, Kind::Float);
        let taps = vec![brightness.reshape([-1, 1, 1]).repeat([1, 9, 2])];
        Ok(Tokens { taps, ..Tokens::default() })
    }
}

/// Keeps the stamps that come out.
struct Stamps(Arc<Mutex<Vec<i32>>>);

impl Sink for Stamps {
    fn send(&mut self, derived: Derived, _encoded: Encoded) -> Sent {
        assert_eq!(derived.header.frame_id, "camera");
        if let Some(map) = &derived.features {
            let first = map.bytes.first_chunk().copied().map(f32::from_le_bytes);
            assert_eq!(first, Some(derived.header.stamp.nanosec as f32), "another image's tokens");
        }
        self.0.lock().unwrap().push(derived.header.stamp.sec);
        Sent { n_sent: 1, n_failed: 0 }
    }

    fn tell(&mut self, _camera: usize, _wanted: Topics, _times: FrameTimes) {}
}

/// In the order in which it ends, also when a test fails.
struct Rig {
    /// Lets batches through one by one; `None` all.
    gate: Option<mpsc::Sender<()>>,
    intakes: Vec<Intake>,
    pipeline: Pipeline,
    shared: Shared,
    stamps: Arc<Mutex<Vec<i32>>>,
    n_runs: Arc<AtomicUsize>,
    end: mpsc::Receiver<()>,
}

enum Gate {
    Open,
    Shut,
}

const SIZE: Size = Size { width: 16, height: 128 };

fn rig(n_cameras: usize, gate: Gate, n_left: usize, wanted: &[Topic]) -> Rig {
    rig_of_batches(n_cameras, 8, gate, n_left, wanted)
}

/// At most `batch_max` frames go through the engine at once.
fn rig_of_batches(n_cameras: usize, batch_max: usize, gate: Gate, n_left: usize, wanted: &[Topic]) -> Rig {
    let (opening, opened) = mpsc::channel();
    let n_runs = Arc::default();
    let engine = Staged { gate: opened, n_left, n_runs: Arc::clone(&n_runs) };
    let rig = rig_of_engines(vec![Box::new(engine)], n_cameras, batch_max, wanted);
    let gate = match gate {
        Gate::Open => None,
        Gate::Shut => Some(opening),
    };
    Rig { gate, n_runs, ..rig }
}

/// A worker for each of `engines`.
fn rig_of_engines(
    engines: Vec<Box<dyn Engine>>,
    n_cameras: usize,
    batch_max: usize,
    wanted: &[Topic],
) -> Rig {
    let args = ["pixio_node", "--model", "none"].map(str::to_owned);
    let values = Values::new(&cli::parse(args.into_iter(), &|_| None).unwrap().settings).unwrap();
    let shared = Shared::new(n_cameras, Arc::new(Live::new(values, |_| ())), Arc::new(Clock::new(false)));
    shared.subscribed.iter().for_each(|camera| camera.set(wanted.iter().copied().collect()));
    let card = ModelCard { name: "staged".into(), revision: "0".into(), layer: 1, n_cls_tokens: 1 };
    let config = DeriverConfig {
        card: card.clone(),
        features_dtype: FeaturesDtype::Float32,
        reduced_channels: 1,
        common: Common { basis: Arc::new(BasisKeeper::new(None, card, None)), teaching: None },
        taps: vec![1],
        dense: Dense::default(),
        depth_resolution: DepthResolution::default(),
    };
    let first = Deriver::new(config);
    let worker = |engine| Worker { engine, deriver: first.beside(Dense::default()) };
    let stamps = Arc::default();
    let cameras = (0..n_cameras).map(|i| {
        let fitter = Fitter::new(Fit::Stretch, SIZE, ResizeFilter::Linear, 25_000_000);
        Camera { name: i.to_string(), fitter }
    });
    let (ended, end) = mpsc::channel();
    let sink: Box<dyn Sink> = Box::new(Stamps(Arc::clone(&stamps)));
    let work = Work {
        threads: PassThreads { alone: 2, all: 2 },
        workers: engines.into_iter().map(worker).collect(),
        batch_max,
        encoder: Encoder::new(EncoderConfig::default()),
        sink,
    };
    let started = Pipeline::start(cameras.collect(), work, &shared, &ended);
    let (pipeline, intakes) = started.unwrap();
    Rig { gate: None, intakes, pipeline, shared, stamps, n_runs: Arc::default(), end }
}

impl Rig {
    fn push(&mut self, camera: usize, sec: i32) {
        assert!(self.intakes[camera].push(frame(camera, sec, "mono8")).is_continue());
    }

    fn n_runs(&self) -> usize {
        self.n_runs.load(Ordering::Relaxed)
    }

    /// Has the model busy with the first frame of a camera, behind a gate that is shut.
    fn start_model(&mut self, camera: usize) {
        self.push(camera, 1);
        wait_until("the model runs", || self.n_runs() == 1);
    }

    /// Pushes a frame that then waits before the model, fitted. It is pushed twice: once the second has been
    /// fitted, the first or the second waits.
    fn push_until_it_waits(&mut self, camera: usize, sec: i32) {
        let latencies = Arc::clone(&self.shared.latencies);
        latencies[camera].take();
        for _ in 0..2 {
            self.push(camera, sec);
            wait_until("the frame is fitted", || {
                let spans = latencies[camera].take();
                spans.iter().any(|(span, percentiles)| *span == Span::Fit && percentiles.n == 1)
            });
        }
    }

    /// Lets one batch through and waits until the engine has begun with the next.
    fn step(&mut self) {
        let n_runs = self.n_runs();
        self.gate.as_ref().unwrap().send(()).unwrap();
        wait_until("the next batch", || self.n_runs() == n_runs + 1);
    }

    fn settle(&self) {
        wait_until("all frames are settled", || {
            self.shared.accounting.iter().all(|of| of.snapshot().in_flight() == 0)
        });
    }

    fn stop(mut self) {
        self.intakes.clear();
        self.pipeline.stop().unwrap();
    }
}

/// An even image whose grey level is in the stamp too.
fn frame(camera: usize, sec: i32, encoding: &str) -> Frame {
    let grey = 7 + 10 * camera as u8;
    let raster = Raster {
        encoding: encoding.into(),
        width: SIZE.width,
        height: SIZE.height,
        step: SIZE.width,
        big_endian: false,
        bytes: vec![grey; (SIZE.width * SIZE.height) as usize].into(),
    };
    Frame {
        header: Header { stamp: Stamp { sec, nanosec: grey.into() }, frame_id: "camera".into() },
        camera,
        received: Instant::now(),
        image: CameraImage::Raw(raster),
        intrinsics: None,
    }
}

/// Ends as soon as it is so. The bound ends a test that hangs, and no other.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(300), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_frame_is_in_the_books_and_the_newest_of_each_camera_comes_out() {
    const N: i32 = 150;
    let mut rig = rig(2, Gate::Shut, usize::MAX, &[Topic::Features]);
    for sec in 1..=N {
        for camera in 0..2 {
            let encoding = if sec % 50 == 0 && sec < N { "nonsense" } else { "mono8" };
            let offset = N * i32::try_from(camera).unwrap();
            assert!(rig.intakes[camera].push(frame(camera, offset + sec, encoding)).is_continue());
        }
        // A batch for ten images.
        if sec % 10 == 0 {
            rig.gate.as_ref().unwrap().send(()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    rig.gate = None;
    rig.settle();
    let (shared, stamps) = (rig.shared.clone(), Arc::clone(&rig.stamps));
    rig.stop();
    let stamps = stamps.lock().unwrap();
    let mut n_published = 0;
    for (camera, of) in shared.accounting.iter().enumerate() {
        let counts = of.snapshot();
        assert_eq!((counts.received, counts.unwanted, counts.in_flight()), (N as u64, 0, 0), "{counts}");
        assert!(0 < counts.displaced, "{counts}");
        n_published += counts.published;
        let offset = N * i32::try_from(camera).unwrap();
        let own: Vec<_> = stamps.iter().filter(|&&sec| offset < sec && sec <= offset + N).collect();
        assert_eq!((own.len() as u64, *own[own.len() - 1]), (counts.published, offset + N), "{counts}");
        assert!(own.is_sorted(), "{own:?}");
    }
    assert_eq!(stamps.len() as u64, n_published);
}

#[test]
fn cameras_that_wait_together_share_a_forward_pass_and_keep_their_own_tokens() {
    let mut rig = rig(4, Gate::Shut, usize::MAX, &[Topic::Features]);
    rig.start_model(0);
    (0..4).for_each(|camera| rig.push_until_it_waits(camera, 2));
    rig.gate = None;
    rig.settle();
    assert_eq!(*rig.stamps.lock().unwrap(), [1, 2, 2, 2, 2]);
    assert_eq!(rig.n_runs(), 2);
    assert_eq!(rig.shared.batches.snapshot().into_iter().collect::<Vec<_>>(), [(1, 1), (4, 1)]);
    rig.stop();
}

#[test]
fn cameras_that_all_keep_sending_get_equal_shares_of_the_model() {
    const N_PASSES: u64 = 40;
    let mut rig = rig_of_batches(4, 2, Gate::Shut, usize::MAX, &[Topic::Features]);
    rig.start_model(0);
    for sec in 2..2 + i32::try_from(N_PASSES).unwrap() {
        (0..4).for_each(|camera| rig.push_until_it_waits(camera, sec));
        rig.step();
    }
    rig.gate = None;
    rig.settle();
    for of in rig.shared.accounting.iter() {
        let counts = of.snapshot();
        // Two of four in a pass; the first of all and the last of each came beside them.
        assert!(counts.published.abs_diff(N_PASSES / 2) <= 2, "{counts}");
    }
    rig.stop();
}

#[test]
fn a_model_that_was_busy_gets_the_newest_frame_next() {
    let mut rig = rig(1, Gate::Shut, usize::MAX, &[Topic::Features]);
    rig.start_model(0);
    (2..=30).for_each(|sec| rig.push_until_it_waits(0, sec));
    rig.gate = None;
    rig.settle();
    assert_eq!(*rig.stamps.lock().unwrap(), [1, 30]);
    rig.stop();
}

#[test]
fn a_frame_that_has_waited_too_long_is_displaced() {
    let check = |max_age_secs: f64, expect: (u64, u64, u64)| {
        let mut rig = rig(1, Gate::Open, usize::MAX, &[Topic::Features]);
        rig.shared.live.apply("max_age", &Value::Double(max_age_secs)).unwrap();
        let a_minute_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let old = Frame { received: a_minute_ago, ..frame(0, 1, "mono8") };
        assert!(rig.intakes[0].push(old).is_continue());
        rig.settle();
        let counts = rig.shared.accounting[0].snapshot();
        assert_eq!((counts.published, counts.displaced, counts.too_old), expect, "{counts}");
        rig.stop();
    };
    check(59.0, (0, 1, 1));
    check(3600.0, (1, 0, 0));
}

#[test]
fn what_is_switched_off_is_not_made() {
    let mut rig = rig(1, Gate::Open, usize::MAX, &[Topic::Features, Topic::PipelineLatency]);
    let mut n_published = |change: &dyn Fn(&Live), sec| {
        change(&rig.shared.live);
        rig.push(0, sec);
        rig.settle();
        rig.shared.accounting[0].snapshot().published
    };
    assert_eq!(n_published(&|_| (), 1), 1);
    let publish = |is_on| move |live: &Live| live.apply("publish_features", &Value::Bool(is_on)).unwrap();
    assert_eq!(n_published(&publish(false), 2), 1);
    assert_eq!(n_published(&publish(true), 3), 2);
    assert_eq!(n_published(&|live| live.set_enabled(false), 4), 2);
    assert_eq!(n_published(&|live| live.set_enabled(true), 5), 3);
    rig.stop();
}

#[test]
fn what_waits_when_the_node_stops_is_displaced() {
    let mut rig = rig(1, Gate::Shut, usize::MAX, &[Topic::Features]);
    rig.start_model(0);
    rig.push_until_it_waits(0, 2);
    let Rig { pipeline, mut intakes, shared, n_runs, gate, .. } = rig;
    intakes.clear();
    let (told, thread) = mpsc::channel();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(move || {
            told.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
            pipeline.stop()
        });
        // All that is left to `stop` when it sleeps is to wait for the threads.
        let state = std::path::Path::new("/proc").join(thread.recv().unwrap()).join("stat");
        wait_until("the end is waited for", || std::fs::read_to_string(&state).unwrap().contains(") S "));
        drop(gate);
        stopping.join().unwrap().unwrap();
    });
    let counts = shared.accounting[0].snapshot();
    assert_eq!((counts.published, counts.displaced, counts.in_flight()), (1, 2, 0), "{counts}");
    assert_eq!(n_runs.load(Ordering::Relaxed), 1);
}

#[test]
fn an_engine_that_fails_ends_all_and_says_why() {
    let mut rig = rig(1, Gate::Open, 2, &[Topic::Features]);
    let mut sec = 0;
    wait_until("the intake is closed", || {
        rig.end.try_recv().is_ok() || {
            sec += 1;
            rig.intakes[0].push(frame(0, sec, "mono8")) == ControlFlow::Break(())
        }
    });
    rig.intakes.clear();
    let err = rig.pipeline.stop().unwrap_err().to_string();
    assert_eq!(err, "model: the model failed: out of memory");
    assert_eq!(rig.stamps.lock().unwrap().len(), 2);
}

#[test]
fn the_model_does_not_run_for_nobody() {
    for wanted in [&[][..], &[Topic::GridInfo]] {
        let mut rig = rig(1, Gate::Open, usize::MAX, wanted);
        (0..20).for_each(|sec| rig.push(0, sec));
        rig.settle();
        assert_eq!(rig.n_runs(), 0, "{wanted:?}");
        rig.stop();
    }
}
