//! `bench`: how long each stage takes on this machine, on images that need no camera.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use crossbeam_channel::Sender;
use serde::Serialize;
use serde_json::json;

use crate::commands::Failure;
use crate::commands::film::Film;
use crate::commands::measure::{self, Contender, measure, settled_mb};
use crate::commands::signals::Signals;
use crate::config::{Config, EngineChoice, Live, Values};
use crate::console::stdout::Stdout;
use crate::engine::Engine;
use crate::engine::graph::LaunchMode;
use crate::engine::job::EngineJob;
use crate::engine::proof::{self, BatchShape};
use crate::engine::store::folder::Folder;
use crate::engine::threads::PassThreads;
use crate::files;
use crate::outputs::{Topic, Topics};
use crate::pipeline::{Camera, Intake, Pipeline, Shared, Work};
use crate::runtime::clock::Clock;
use crate::runtime::statistics::{Percentiles, Span, Spans, spans_json};
use crate::setup::Model;
use crate::setup::engine::{self, candidates};
use crate::setup::heads::{HeadFile, head_files};
use crate::setup::input::{fitter, input_size};
use crate::stages::camera::Frame;
use crate::stages::derive::{Derived, Worker};
use crate::stages::publish::{Encoded, FrameTimes, Sent, Sink};

pub use crate::commands::film::Images;

/// What `bench` measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchOptions {
    /// Engines: `auto`, `eager` or folders.
    pub engines: Vec<String>,
    /// Images of one forward pass.
    pub batch: i64,
    /// Frames per measurement.
    pub n_frames: usize,
    /// What the camera sends.
    pub image: Images,
    /// Where the figures go as JSON.
    pub json: Option<PathBuf>,
}

/// Longest wait for one frame before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longest run at saturation.
const SATURATED: Duration = Duration::from_secs(20);

/// Forgets every output, but for telling that there was one.
struct Nowhere(Sender<()>);

impl Sink for Nowhere {
    fn send(&mut self, _derived: Derived, _encoded: Encoded) -> Sent {
        // At saturation nobody waits for it.
        let _untold = self.0.try_send(());
        Sent { n_sent: 1, n_failed: 0 }
    }

    fn tell(&mut self, _camera: usize, _wanted: Topics, _times: FrameTimes) {}
}

/// Measures forward passes of every engine in turn, then, for batches of one, each in the whole pipeline
/// without ROS: frame by frame for latencies, flat out for the rate.
///
/// # Errors
/// Setup errors, or a stage's own.
pub fn bench(
    config: &Config,
    values: &Values,
    options: &BenchOptions,
    signals: Signals,
) -> Result<(), Failure> {
    let _listener = signals.end_at_once()?;
    let mut out = Stdout::default();
    let film = Film::open(&options.image, fitter(config)).map_err(Failure::Setup)?;
    // The model as it is, whose threads the engines share.
    let plain = Config { engine: EngineChoice::Eager, cuda_graph: false, ..config.clone() };
    let mut model = Model::load(&plain).map_err(Failure::Setup)?;
    // Nothing but the weights is there yet.
    let weights_mb = settled_mb(model.job.device);
    model.warm(config).map_err(|err| Failure::Running(err.into()))?;
    let (mut contenders, mut origins, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for entrant in entrants(config, &model, options) {
        match load(config, &model.job, options.batch, entrant, weights_mb) {
            Ok((contender, folder)) => {
                contenders.push(contender);
                origins.push((folder, entrant.launch));
            }
            Err(err) => {
                tracing::error!("{err:#}");
                failed.push(json!({"engine": entrant.name, "error": format!("{err:#}")}));
            }
        }
    }
    if contenders.is_empty() {
        return Err(Failure::Setup(anyhow::anyhow!("no engine can be measured")));
    }
    let heading = format!("{} revision {} in {}", model.card.name, model.card.revision, model.place());
    let (size, batch) = (input_size(config), options.batch);
    out.line(format_args!(
        "{heading}: forward passes of {batch} x {size}, {} each, in turn",
        options.n_frames
    ));
    // Without a file for the figures, they are for a reader.
    let is_wanted = |out: &Stdout| out.is_open() || options.json.is_some();
    if !is_wanted(&out) {
        return out.finish().map_err(Failure::Running);
    }
    let n_cls = model.card.n_cls_tokens;
    let shape = BatchShape { size, batch };
    let figures = measure(&mut contenders, model.job.device, n_cls, shape, options.n_frames);
    let figures = figures.map_err(|err| Failure::Running(err.into()))?;
    measure::print(&mut out, &figures);

    let mut entries = Vec::new();
    let mut path = FramePath { config, values, n_frames: options.n_frames, film };
    for ((Contender { name, engine, .. }, (folder, launch)), figures) in
        contenders.into_iter().zip(origins).zip(figures)
    {
        if !is_wanted(&out) {
            break;
        }
        model.run_heads_as(folder, launch);
        let mut entry = json!(figures);
        entry["engine"] = json!(name);
        // One camera's images go through one by one.
        if batch == 1 {
            let measured = path.measure(engine, &model)?;
            path.print(&mut out, &figures.kind, &measured);
            let PathFigures { spans, rate, together, heads } = measured;
            entry["spans_ms"] = spans_json(&spans);
            entry["frames_per_second_at_saturation"] = json!(rate);
            entry["frames_per_second_of_all_cameras"] = json!(together);
            entry["heads"] = json!(heads);
        }
        entries.push(entry);
    }
    let n_failed = failed.len();
    entries.extend(failed);
    let film = path.film;
    let report = json!({
        "model": model.card.name,
        "revision": model.card.revision,
        "device": format!("{:?}", model.job.device),
        "precision": model.job.arithmetic,
        "image": [film.size.width, film.size.height],
        "encoding": film.encoding(),
        "size": [size.width, size.height],
        "frames": options.n_frames,
        "batch": batch,
        "engines": entries,
    });
    if let Some(path) = &options.json {
        let written = files::write(path, format!("{report:#}\n").as_bytes());
        written.with_context(|| format!("cannot write {}", path.display())).map_err(Failure::Running)?;
    }
    match n_failed {
        0 => out.finish().map_err(Failure::Running),
        n => Err(Failure::Running(anyhow::anyhow!("{n} engines could not be measured"))),
    }
}

/// An engine that was asked for, and how its work reaches a GPU.
#[derive(Clone, Copy)]
struct Entrant<'a> {
    /// `auto`, `eager` or a folder.
    name: &'a str,
    launch: LaunchMode,
}

/// Every engine by name; on a GPU as it is launched kernel by kernel and as a graph.
fn entrants<'a>(config: &Config, model: &Model, options: &'a BenchOptions) -> Vec<Entrant<'a>> {
    let launches: &[LaunchMode] = match (model.job.device.is_cuda(), config.cuda_graph) {
        (true, true) => &[LaunchMode::Plain, LaunchMode::Graph],
        _ => &[LaunchMode::Plain],
    };
    let entrants = |name| launches.iter().map(move |&launch| Entrant { name, launch });
    options.engines.iter().flat_map(|name| entrants(name.as_str())).collect()
}

/// Loads an engine for forward passes of `batch` images; returns the folder that holds it as well.
fn load(
    config: &Config,
    job: &EngineJob,
    batch: i64,
    Entrant { name, launch }: Entrant<'_>,
    weights_mb: Option<f64>,
) -> anyhow::Result<(Contender, Option<Folder>)> {
    // One image at a time, and those of several cameras together.
    let batches = if batch == 1 { job.batches.clone() } else { vec![batch] };
    let job = EngineJob { batches, launch, ..job.shallow_clone() };
    let config = Config { engine: EngineChoice::from_text(name), ..config.clone() };
    let images = [proof::test_images(BatchShape { size: input_size(&config), batch })?];
    let mut folder = None;
    let contender = Contender::load(name, job.device, weights_mb, &images, || {
        let loaded = engine::load(&config, &job, candidates(&config)?)?;
        folder = loaded.folder;
        Ok(loaded.engine)
    });
    Ok((contender?, folder))
}

/// The whole frame path without ROS, on the images of a film.
struct FramePath<'a> {
    config: &'a Config,
    values: &'a Values,
    n_frames: usize,
    film: Film,
}

impl FramePath<'_> {
    /// Latencies of every span, frames per second of the whole pipeline and what each head adds.
    fn measure(&mut self, engine: Box<dyn Engine>, model: &Model) -> Result<PathFigures, Failure> {
        let Self { config, values, n_frames, film } = self;
        let (config, n_frames) = (*config, *n_frames);
        let live = Arc::new(Live::new(values.clone(), |_level| ()));
        let n_cameras = config.cameras.len();
        let shared = Shared::new(n_cameras, live, Arc::new(Clock::new(false)));
        let wants = |more: &[Topic]| {
            let always = [Topic::Features, Topic::Embedding];
            let topics = always.iter().chain(more).copied().collect();
            shared.subscribed.iter().for_each(|camera| camera.set(topics));
        };
        wants(&[]);
        let (ended, end) = mpsc::channel();
        // Looking for outputs in short intervals would take the processor from the model.
        let (told, outputs) = crossbeam_channel::bounded(1);
        let cameras = (0..n_cameras).map(|index| Camera { name: index.to_string(), fitter: fitter(config) });
        let deriver = model.deriver(config, &model.common(None)).map_err(Failure::Setup)?;
        let work = Work {
            workers: vec![Worker { engine, deriver }],
            threads: PassThreads { alone: tch::get_num_threads(), all: tch::get_num_threads() },
            batch_max: config.batch_max,
            encoder: model.encoder(config),
            sink: Box::new(Nowhere(told)),
        };
        let started = Pipeline::start(cameras.collect(), work, &shared, &ended);
        let (pipeline, mut intakes) = started.map_err(Failure::Running)?;

        let measured = intakes.split_first_mut().context("no camera").and_then(|(intake, others)| {
            let mut next = || film.next();
            let n_published = || shared.accounting[0].snapshot().published;
            let mut serve_one = |intake: &mut Intake| {
                let before = n_published();
                push(intake, next())?;
                let came = outputs.recv_timeout(PATIENCE).is_ok();
                ensure!(came, if end.try_recv().is_ok() { "a stage has ended" } else { "no output came" });
                // The frame is counted a moment later.
                while n_published() == before {
                    std::thread::yield_now();
                }
                Ok(())
            };
            let mut percentiles = |intake: &mut Intake| {
                (0..3).try_for_each(|_| serve_one(intake))?;
                shared.latencies[0].take();
                (0..n_frames).try_for_each(|_| serve_one(intake))?;
                anyhow::Ok(shared.latencies[0].take())
            };
            let spans = percentiles(intake)?;
            let mut heads = Vec::new();
            for HeadFile { task, file, topic } in head_files(config) {
                wants(&[topic]);
                let with = percentiles(intake)?;
                // Measured in turn, so that both saw the same machine.
                wants(&[]);
                let without = percentiles(intake)?;
                let file_mb = std::fs::metadata(file).map_or(0.0, |about| about.len() as f64 / 1e6);
                heads.push(HeadCost { name: task, with_ms: p50(&with), without_ms: p50(&without), file_mb });
            }

            let rate = saturated(&mut [&mut *intake], &mut next, &shared, n_frames)?;
            let mut all: Vec<&mut Intake> = [intake].into_iter().chain(others).collect();
            let mut together = None;
            if 1 < all.len() {
                // The first batches of a size pay for set-up.
                saturated(&mut all, &mut next, &shared, 10 * n_cameras)?;
                together = Some(saturated(&mut all, &mut next, &shared, n_frames)?);
            }
            Ok(PathFigures { spans, rate, together, heads })
        });
        drop(intakes);
        // A stage that failed is why nothing was measured.
        pipeline.stop().map_err(Failure::Running)?;
        measured.map_err(Failure::Running)
    }

    fn print(&self, out: &mut Stdout, kind: &str, figures: &PathFigures) {
        let Self { config, n_frames, film, .. } = self;
        let PathFigures { spans, rate, together, heads } = figures;
        out.line(format_args!("\n{kind}: {film} -> {}, {n_frames} frames", input_size(config)));
        out.line(format_args!("{:<10}{:>10}{:>10}{:>10}   ms", "span", "p50", "p95", "p99"));
        for (span, Percentiles { p50, p95, p99, .. }) in spans.iter().filter(|(_, span)| span.n != 0) {
            out.line(format_args!("{:<10}{p50:>10.2}{p95:>10.2}{p99:>10.2}", span.name()));
        }
        out.line(format_args!("at saturation {rate:.1} frames per second"));
        if let Some(together) = together {
            let (n, times) = (config.cameras.len(), together / rate);
            out.line(format_args!("{n} cameras together {together:.1}, {times:.2} times as many"));
        }
        print_heads(out, heads);
    }
}

/// Frames per second that come out when every intake gets more than the frame path takes, over about
/// `n_frames`.
fn saturated(
    intakes: &mut [&mut Intake],
    next: &mut impl FnMut() -> Frame,
    shared: &Shared,
    n_frames: usize,
) -> anyhow::Result<f64> {
    let n_published = || shared.accounting.iter().map(|camera| camera.snapshot().published).sum::<u64>();
    let (before, started) = (n_published(), Instant::now());
    let n_arrived = || n_published() - before;
    while n_arrived() < n_frames as u64 && started.elapsed() < SATURATED || n_arrived() == 0 {
        for (camera, intake) in intakes.iter_mut().enumerate() {
            push(intake, Frame { camera, ..next() })?;
        }
        // Cameras ten times faster than the frame path, that leave the processor alone.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(n_arrived() as f64 / started.elapsed().as_secs_f64())
}

/// What the frame path was measured to do.
struct PathFigures {
    spans: Spans,
    /// Frames per second at saturation.
    rate: f64,
    /// Frames per second of all cameras together, where there are several.
    together: Option<f64>,
    heads: Vec<HeadCost>,
}

/// What a head adds to a frame.
#[derive(Serialize)]
struct HeadCost {
    name: &'static str,
    /// Median time of forward pass and heads while the head's output has a subscriber.
    with_ms: f64,
    /// The same while the output has no subscriber.
    without_ms: f64,
    /// Of its file, and so of its weights in memory.
    file_mb: f64,
}

/// Of forward pass and heads together, ms: on a GPU work may wait in either.
fn p50(spans: &Spans) -> f64 {
    spans
        .iter()
        .filter(|(span, _)| matches!(span, Span::Forward | Span::Heads))
        .map(|(_, percentiles)| percentiles.p50)
        .sum()
}

fn print_heads(out: &mut Stdout, heads: &[HeadCost]) {
    if heads.is_empty() {
        return;
    }
    out.line(format_args!(
        "\n{:<14}{:>10}{:>10}{:>12}   p50 of forward + heads, ms",
        "head", "listened", "nobody", "file MB"
    ));
    for HeadCost { name, with_ms, without_ms, file_mb } in heads {
        out.line(format_args!("{name:<14}{with_ms:>10.2}{without_ms:>10.2}{file_mb:>12.2}"));
    }
}

fn push(intake: &mut Intake, frame: Frame) -> anyhow::Result<()> {
    ensure!(intake.push(frame).is_continue(), "a stage has ended");
    Ok(())
}
