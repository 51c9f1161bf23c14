//! The wiring of the stages, with an engine that is slow or fails when it is told to.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use pixio_node::cli;
use pixio_node::config::{DepthResolution, FeaturesDtype, Fit, Live, ResizeFilter, Value, Values};
use pixio_node::engine::{Engine, EngineError, Tokens};
use pixio_node::geometry::Size;
use pixio_node::pipeline::{Camera, Intake, Pipeline, Shared};
use pixio_node::runtime::clock::Clock;
use pixio_node::runtime::wanted::{Topic, Topics};
use pixio_node::stages::camera::{Frame, Header, Picture, Raster, Stamp};
use pixio_node::stages::fit::Fitter;
use pixio_node::stages::heads::{BasisKeeper, Dense, Heads, HeadsConfig, ModelCard, Output};
use pixio_node::stages::publish::{Encoded, Encoder, EncoderConfig, Sent, Sink, Times};
use tch::{Kind, Tensor};

/// Takes `delay` for a batch and fails after `n_left` of them.
struct Staged {
    delay: Duration,
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

    fn run(&mut self, images: &Tensor, _n_taps: usize) -> Result<Tokens, EngineError> {
        self.n_runs.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.delay);
        let Some(n_left) = self.n_left.checked_sub(1) else {
            return Err(EngineError { message: "out of memory".into() });
        };
        self.n_left = n_left;
        // A picture's tokens are its brightness.
        let brightness = images.flatten(1, -1).to_kind(Kind::Float).mean_dim(&[1i64][..], false, Kind::Float);
        Ok(Tokens { taps: vec![brightness.reshape([-1, 1, 1]).repeat([1, 9, 2])] })
    }
}

/// Keeps the stamps that come out.
struct Stamps(Arc<Mutex<Vec<i32>>>);

impl Sink for Stamps {
    fn send(&mut self, output: Output, _encoded: Encoded) -> Sent {
        assert_eq!(output.header.frame_id, "camera");
        if let Some(map) = &output.features {
            let first = map.bytes.first_chunk().copied().map(f32::from_le_bytes);
            assert_eq!(first, Some(output.header.stamp.nanosec as f32), "another picture's tokens");
        }
        self.0.lock().unwrap().push(output.header.stamp.sec);
        Sent { n_sent: 1, n_failed: 0 }
    }

    fn tell(&mut self, _camera: usize, _wanted: Topics, _times: Times) {}
}

struct Rig {
    pipeline: Pipeline,
    intakes: Vec<Intake>,
    shared: Shared,
    stamps: Arc<Mutex<Vec<i32>>>,
    n_runs: Arc<AtomicUsize>,
    end: mpsc::Receiver<()>,
}

const SIZE: Size = Size { width: 16, height: 128 };

fn rig(n_cameras: usize, delay: Duration, n_left: usize, wanted: &[Topic]) -> Rig {
    let args = ["pixio_node", "--model", "none"].map(str::to_owned);
    let values = Values::new(&cli::parse(args.into_iter(), &|_| None).unwrap().settings).unwrap();
    let shared = Shared::new(n_cameras, Arc::new(Live::new(values, |_| ())), Arc::new(Clock::new(false)));
    shared.subscribed.iter().for_each(|camera| camera.set(wanted.iter().copied().collect()));
    let card = ModelCard { name: "staged".into(), revision: "0".into(), layer: 1, n_cls_tokens: 1 };
    let config = HeadsConfig {
        card: card.clone(),
        features_dtype: FeaturesDtype::Float32,
        reduced_channels: 1,
        basis: Arc::new(BasisKeeper::new(None, card, None)),
        taps: vec![1],
        dense: Dense::default(),
        depth_resolution: DepthResolution::default(),
    };
    let (stamps, n_runs) = (Arc::default(), Arc::default());
    let engine = Staged { delay, n_left, n_runs: Arc::clone(&n_runs) };
    let cameras = (0..n_cameras).map(|i| {
        let fitter = Fitter::new(Fit::Stretch, SIZE, ResizeFilter::Linear, 25_000_000);
        Camera { name: i.to_string(), fitter }
    });
    let (ended, end) = mpsc::channel();
    let sink: Box<dyn Sink> = Box::new(Stamps(Arc::clone(&stamps)));
    let publishing = (Encoder::new(EncoderConfig::default()), sink);
    let heads = Heads::new(config);
    let engine: (Box<dyn Engine>, usize) = (Box::new(engine), 8);
    let started = Pipeline::start(cameras.collect(), engine, heads, publishing, &shared, &ended);
    let (pipeline, intakes) = started.unwrap();
    Rig { pipeline, intakes, shared, stamps, n_runs, end }
}

/// An even picture whose grey level is in the stamp too.
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
        picture: Picture::Raw(raster),
        intrinsics: None,
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_frame_is_in_the_books_and_the_newest_of_each_camera_comes_out() {
    const N: i32 = 150;
    let mut rig = rig(2, Duration::from_millis(10), usize::MAX, &[Topic::Features]);
    for sec in 1..=N {
        for camera in 0..2 {
            let encoding = if sec % 50 == 0 && sec < N { "nonsense" } else { "mono8" };
            let offset = N * i32::try_from(camera).unwrap();
            assert!(rig.intakes[camera].push(frame(camera, offset + sec, encoding)).is_continue());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    wait_until("all frames are settled", || {
        rig.shared.accounting.iter().all(|of| of.snapshot().in_flight() == 0)
    });
    rig.intakes.clear();
    rig.pipeline.stop().unwrap();
    let stamps = rig.stamps.lock().unwrap();
    let mut n_published = 0;
    for (camera, of) in rig.shared.accounting.iter().enumerate() {
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
    let mut rig = rig(4, Duration::from_millis(300), usize::MAX, &[Topic::Features]);
    assert!(rig.intakes[0].push(frame(0, 1, "mono8")).is_continue());
    wait_until("the model runs", || rig.n_runs.load(Ordering::Relaxed) == 1);
    (0..4).for_each(|camera| assert!(rig.intakes[camera].push(frame(camera, 2, "mono8")).is_continue()));
    wait_until("all frames are settled", || {
        rig.shared.accounting.iter().all(|of| of.snapshot().in_flight() == 0)
    });
    rig.intakes.clear();
    rig.pipeline.stop().unwrap();
    assert_eq!(*rig.stamps.lock().unwrap(), [1, 2, 2, 2, 2]);
    assert_eq!(rig.n_runs.load(Ordering::Relaxed), 2);
    assert_eq!(rig.shared.batches.snapshot().into_iter().collect::<Vec<_>>(), [(1, 1), (4, 1)]);
}

#[test]
fn a_frame_that_has_waited_too_long_is_displaced() {
    let mut rig = rig(2, Duration::from_millis(300), usize::MAX, &[Topic::Features]);
    rig.shared.live.apply("max_age", &Value::Double(0.1)).unwrap();
    assert!(rig.intakes[0].push(frame(0, 1, "mono8")).is_continue());
    wait_until("the model runs", || rig.n_runs.load(Ordering::Relaxed) == 1);
    assert!(rig.intakes[1].push(frame(1, 2, "mono8")).is_continue());
    wait_until("all frames are settled", || {
        rig.shared.accounting.iter().all(|of| of.snapshot().in_flight() == 0)
    });
    let counts = rig.shared.accounting[1].snapshot();
    assert_eq!((counts.published, counts.displaced, counts.too_old), (0, 1, 1), "{counts}");
    rig.intakes.clear();
    rig.pipeline.stop().unwrap();
}

#[test]
fn what_is_switched_off_is_not_made() {
    let mut rig = rig(1, Duration::ZERO, usize::MAX, &[Topic::Features, Topic::PipelineLatency]);
    let mut n_published = |change: &dyn Fn(&Live), sec| {
        change(&rig.shared.live);
        assert!(rig.intakes[0].push(frame(0, sec, "mono8")).is_continue());
        wait_until("the frame is settled", || rig.shared.accounting[0].snapshot().in_flight() == 0);
        rig.shared.accounting[0].snapshot().published
    };
    assert_eq!(n_published(&|_| (), 1), 1);
    let publish = |is_on| move |live: &Live| live.apply("publish_features", &Value::Bool(is_on)).unwrap();
    assert_eq!(n_published(&publish(false), 2), 1);
    assert_eq!(n_published(&publish(true), 3), 2);
    assert_eq!(n_published(&|live| live.set_enabled(false), 4), 2);
    assert_eq!(n_published(&|live| live.set_enabled(true), 5), 3);
    rig.intakes.clear();
    rig.pipeline.stop().unwrap();
}

#[test]
fn what_waits_when_the_node_stops_is_displaced() {
    let mut rig = rig(1, Duration::from_millis(200), usize::MAX, &[Topic::Features]);
    assert!(rig.intakes[0].push(frame(0, 1, "mono8")).is_continue());
    wait_until("the model runs", || rig.n_runs.load(Ordering::Relaxed) == 1);
    assert!(rig.intakes[0].push(frame(0, 2, "mono8")).is_continue());
    rig.intakes.clear();
    rig.pipeline.stop().unwrap();
    let counts = rig.shared.accounting[0].snapshot();
    assert_eq!((counts.published, counts.displaced, counts.in_flight()), (1, 1, 0), "{counts}");
    assert_eq!(rig.n_runs.load(Ordering::Relaxed), 1);
}

#[test]
fn an_engine_that_fails_ends_all_and_says_why() {
    let mut rig = rig(1, Duration::ZERO, 2, &[Topic::Features]);
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
        let mut rig = rig(1, Duration::ZERO, usize::MAX, wanted);
        (0..20).for_each(|sec| assert!(rig.intakes[0].push(frame(0, sec, "mono8")).is_continue()));
        wait_until("all frames are settled", || rig.shared.accounting[0].snapshot().in_flight() == 0);
        assert_eq!(rig.n_runs.load(Ordering::Relaxed), 0, "{wanted:?}");
        rig.intakes.clear();
        rig.pipeline.stop().unwrap();
    }
}
