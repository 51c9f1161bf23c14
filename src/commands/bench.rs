//! `bench`: how long each stage takes on this machine, on pictures that need no camera.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::commands::Failure;
use crate::commands::model::{Model, fitter, input_size};
use crate::config::{Config, Live, Values};
use crate::geometry::Size;
use crate::pipeline::{Camera, Intake, Pipeline, Shared};
use crate::runtime::statistics::{Percentiles, Span, spans_json};
use crate::runtime::wanted::Topic;
use crate::stages::camera::{Frame, Header, Picture, Raster, Stamp};
use crate::stages::heads::{ModelCard, Output};
use crate::stages::publish::{Sent, Sink};

/// What `bench` measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Frames per measurement.
    pub n_frames: usize,
    /// Size of the camera's pictures (bgr8).
    pub picture: Size,
    /// Where the figures go as JSON.
    pub json: Option<PathBuf>,
}

/// Longest wait for one frame before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longest run at saturation.
const SATURATED: Duration = Duration::from_secs(20);

/// Forgets every output.
struct Nowhere;

impl Sink for Nowhere {
    fn send(&mut self, _output: Output) -> Sent {
        Sent { n_sent: 1, n_failed: 0 }
    }
}

/// Runs the whole pipeline without ROS: frame by frame for latencies, then flat out for the rate.
///
/// # Errors
/// Setup errors, or a stage's own.
pub fn bench(config: &Config, values: Values, options: &Options) -> Result<(), Failure> {
    let mut model = Model::load(config).map_err(Failure::Setup)?;
    let heads = model.heads(config);
    let about = (model.card.clone(), model.device, model.kind);
    model.warm(config).map_err(|err| Failure::Running(err.into()))?;

    let shared = Shared::new(1, Arc::new(Live::new(values, |_level| ())));
    shared.wanted.set([Topic::Features, Topic::Embedding].into_iter().collect());
    let (ended, end) = mpsc::channel();
    let camera = Camera { name: "bench".into(), fitter: fitter(config) };
    let started =
        Pipeline::start(vec![camera], Box::new(model.engine), heads, Box::new(Nowhere), &shared, &ended);
    let (pipeline, mut intakes) = started.map_err(Failure::Running)?;

    let measured = intakes.pop().context("no camera").and_then(|mut intake| {
        let mut next = pictures(options.picture);
        let n_published = || shared.accounting[0].snapshot().published;
        let mut serve_one = |intake: &mut Intake| {
            let (before, started) = (n_published(), Instant::now());
            push(intake, next())?;
            while n_published() == before {
                ensure!(end.try_recv().is_err(), "a stage has ended");
                ensure!(started.elapsed() < PATIENCE, "no output came");
                std::thread::sleep(Duration::from_micros(100));
            }
            Ok(())
        };
        (0..3).try_for_each(|_| serve_one(&mut intake))?;
        shared.latencies.take();
        (0..options.n_frames).try_for_each(|_| serve_one(&mut intake))?;
        let spans = shared.latencies.take();

        let (before, started) = (n_published(), Instant::now());
        let n_arrived = || n_published() - before;
        while n_arrived() < options.n_frames as u64 && started.elapsed() < SATURATED || n_arrived() == 0 {
            push(&mut intake, next())?;
            // A camera ten times faster than the frame path, that leaves the processor alone.
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok((spans, n_arrived() as f64 / started.elapsed().as_secs_f64()))
    });
    // A stage that failed is why nothing was measured.
    pipeline.stop().map_err(Failure::Running)?;
    let (spans, rate) = measured.map_err(Failure::Running)?;
    print(&about, config, options, &spans, rate).map_err(Failure::Running)
}

fn push(intake: &mut Intake, frame: Frame) -> anyhow::Result<()> {
    ensure!(intake.push(frame).is_continue(), "a stage has ended");
    Ok(())
}

/// Endless frames: a moving gradient with fine detail, so that no cache sees the same picture twice.
fn pictures(size: Size) -> impl FnMut() -> Frame {
    let pool = crate::runtime::pool::Pool::<Vec<u8>>::default();
    let mut shift = 0u32;
    let row_bytes = size.width * 3;
    let texture: Vec<u8> = (0..row_bytes * 2).map(|x| (x.wrapping_mul(2654435761) >> 24) as u8 / 2).collect();
    move || {
        shift = (shift + 3) % row_bytes;
        let mut bytes = pool.lease();
        bytes.clear();
        for y in 0..size.height {
            let start = ((shift + y * 5) % row_bytes) as usize;
            bytes.extend_from_slice(&texture[start..start + row_bytes as usize]);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stamp = Stamp { sec: now.as_secs() as i32, nanosec: now.subsec_nanos() };
        Frame {
            header: Header { stamp, frame_id: "bench".into() },
            camera: 0,
            received: Instant::now(),
            picture: Picture::Raw(Raster {
                encoding: "bgr8".into(),
                width: size.width,
                height: size.height,
                step: row_bytes,
                big_endian: false,
                bytes,
            }),
            intrinsics: None,
        }
    }
}

fn print(
    (card, device, kind): &(ModelCard, tch::Device, tch::Kind),
    config: &Config,
    options: &Options,
    spans: &[(Span, Percentiles)],
    rate: f64,
) -> anyhow::Result<()> {
    let (camera, input) = (options.picture, input_size(config));
    println!(
        "{} on {:?} in {:?}: {}x{} bgr8 -> {}x{}, {} frames",
        card.name, device, kind, camera.width, camera.height, input.width, input.height, options.n_frames
    );
    println!("{:<10}{:>10}{:>10}{:>10}   ms", "span", "p50", "p95", "p99");
    for (span, Percentiles { p50, p95, p99, .. }) in spans.iter().filter(|(_, found)| found.n != 0) {
        println!("{:<10}{p50:>10.2}{p95:>10.2}{p99:>10.2}", span.name());
    }
    println!("at saturation {rate:.1} frames per second");
    let Some(path) = &options.json else { return Ok(()) };
    let report = json!({
        "model": card.name, "revision": card.revision, "device": format!("{:?}", device),
        "precision": format!("{:?}", kind), "picture": [camera.width, camera.height],
        "size": [input.width, input.height], "frames": options.n_frames,
        "spans_ms": spans_json(spans), "frames_per_second_at_saturation": rate,
    });
    std::fs::write(path, format!("{report:#}\n")).with_context(|| format!("cannot write {}", path.display()))
}
