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
use crate::commands::measure::{self, Contender, measure, reserved_mb};
use crate::setup::{Model, fitter, head_files, input_size, load_engine};
use crate::commands::signals::Signals;
use crate::config::{Config, Engine, Live, Values};
use crate::console::stdout::Stdout;
use crate::engine::choose::Task;
use crate::engine::store::folder::Folder;
use crate::engine::graph::Launch;
use crate::engine::proof;
use crate::pipeline::{Camera, Intake, Pipeline, Shared};
use crate::runtime::clock::Clock;
use crate::runtime::statistics::{Percentiles, Span, spans_json};
use crate::runtime::wanted::{Topic, Topics};
use crate::stages::camera::Frame;
use crate::stages::heads::Output;
use crate::stages::publish::{Encoded, Sent, Sink, Times};

pub use crate::commands::film::Images;

/// What `bench` measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Engines: `auto`, `eager` or folders.
    pub engines: Vec<String>,
    /// Pictures of one forward pass.
    pub batch: i64,
    /// Frames per measurement.
    pub n_frames: usize,
    /// What the camera sends.
    pub picture: Images,
    /// Where the figures go as JSON.
    pub json: Option<PathBuf>,
}

/// Percentiles of every span.
type Spans = [(Span, Percentiles); Span::ALL.len()];

/// Longest wait for one frame before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longest run at saturation.
const SATURATED: Duration = Duration::from_secs(20);

/// Forgets every output, but for telling that there was one.
struct Nowhere(Sender<()>);

impl Sink for Nowhere {
    fn send(&mut self, _output: Output, _encoded: Encoded) -> Sent {
        // At saturation nobody waits for it.
        let _untold = self.0.try_send(());
        Sent { n_sent: 1, n_failed: 0 }
    }

    fn tell(&mut self, _camera: usize, _wanted: Topics, _times: Times) {}
}

/// Measures forward passes of every engine in turn, then, for batches of one, each in the whole pipeline without ROS:
/// frame by frame for latencies, flat out for the rate.
///
/// # Errors
/// Setup errors, or a stage's own.
pub fn bench(config: &Config, values: &Values, options: &Options, signals: Signals) -> Result<(), Failure> {
    let _listener = signals.end_at_once()?;
    let mut out = Stdout::default();
    let mut film = Film::open(&options.picture, fitter(config)).map_err(Failure::Setup)?;
    // The model as it is, whose threads the engines share.
    let plain = Config { engine: Engine::Eager, cuda_graph: false, ..config.clone() };
    let mut model = Model::load(&plain).map_err(Failure::Setup)?;
    // Nothing but the weights is there yet.
    let weights_mb = reserved_mb(model.task.device);
    model.warm(config).map_err(|err| Failure::Running(err.into()))?;
    let (mut contenders, mut ways, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (name, launch) in named(config, &model, options) {
        match load(config, &model.task, options, (name, launch), weights_mb) {
            Ok((contender, folder)) => {
                contenders.push(contender);
                ways.push((folder, launch));
            }
            Err(err) => {
                tracing::error!("{err:#}");
                failed.push(json!({"engine": name, "error": format!("{err:#}")}));
            }
        }
    }
    if contenders.is_empty() {
        return Err(Failure::Setup(anyhow::anyhow!("no engine can be measured")));
    }
    let heading = format!("{} revision {} in {}", model.card.name, model.card.revision, model.place());
    let (size, batch) = (input_size(config), options.batch);
    out.line(format_args!(
        "{heading}: forward passes of {batch} x {}x{}, {} each, in turn",
        size.width, size.height, options.n_frames
    ));
    // Without a file for the figures they are for whoever reads.
    let is_wanted = |out: &Stdout| out.is_open() || options.json.is_some();
    if !is_wanted(&out) {
        return out.finish().map_err(Failure::Running);
    }
    let n_cls = model.card.n_cls_tokens;
    let figures = measure(&mut contenders, model.task.device, n_cls, (size, batch), options.n_frames);
    let figures = figures.map_err(|err| Failure::Running(err.into()))?;
    measure::print(&mut out, &figures);

    let mut found = Vec::new();
    for ((Contender { name, engine, .. }, (folder, launch)), figures) in
        contenders.into_iter().zip(ways).zip(figures)
    {
        if !is_wanted(&out) {
            break;
        }
        model.run_heads_as(folder, launch);
        let mut entry = json!(figures);
        entry["engine"] = json!(name);
        // One camera's pictures go through one by one.
        if batch == 1 {
            let Found { spans, rate, together, heads } =
                pipeline(config, values, (options.n_frames, &mut film), engine, &mut model)?;
            print_spans(&mut out, &figures.kind, config, (options.n_frames, &film), &spans, rate);
            if let Some(together) = together {
                let n = config.cameras.len();
                let times = together / rate;
                out.line(format_args!("{n} cameras together {together:.1}, {times:.2} times as many"));
            }
            print_heads(&mut out, &heads);
            entry["spans_ms"] = spans_json(&spans);
            entry["frames_per_second_at_saturation"] = json!(rate);
            entry["frames_per_second_of_all_cameras"] = json!(together);
            entry["heads"] = json!(heads);
        }
        found.push(entry);
    }
    let n_failed = failed.len();
    found.extend(failed);
    let report = json!({
        "model": model.card.name, "revision": model.card.revision, "device": format!("{:?}", model.task.device),
        "precision": model.task.arithmetic, "picture": [film.size.width, film.size.height], "encoding": film.encoding(),
        "size": [size.width, size.height], "frames": options.n_frames, "batch": batch, "engines": found,
    });
    if let Some(path) = &options.json {
        let written = std::fs::write(path, format!("{report:#}\n"));
        written.with_context(|| format!("cannot write {}", path.display())).map_err(Failure::Running)?;
    }
    match n_failed {
        0 => out.finish().map_err(Failure::Running),
        n => Err(Failure::Running(anyhow::anyhow!("{n} engines could not be measured"))),
    }
}

/// Every engine by name; on a GPU as it is launched kernel by kernel and as a graph.
fn named<'a>(config: &Config, model: &Model, options: &'a Options) -> Vec<(&'a str, Launch)> {
    let launches: &[Launch] = match (model.task.device.is_cuda(), config.cuda_graph) {
        (true, true) => &[Launch::Plain, Launch::Graph],
        _ => &[Launch::Plain],
    };
    options.engines.iter().flat_map(|name| launches.iter().map(|&launch| (name.as_str(), launch))).collect()
}

fn load(
    config: &Config,
    task: &Task,
    options: &Options,
    (name, launch): (&str, Launch),
    weights_mb: Option<f64>,
) -> anyhow::Result<(Contender, Option<Folder>)> {
    // One picture at a time, and those of several cameras together.
    let batches = if options.batch == 1 { task.batches.clone() } else { vec![options.batch] };
    let task = Task { launch, batches, ..task.shallow_clone() };
    let config = Config { engine: Engine::from_text(name), ..config.clone() };
    let images = proof::pictures(input_size(&config), options.batch)?;
    let mut folder = None;
    let contender = Contender::load(name, task.device, weights_mb, &images, || {
        let chosen = load_engine(&config, &task)?;
        folder = chosen.folder;
        Ok(chosen.engine)
    });
    Ok((contender?, folder))
}

/// Latencies of every span, frames per second of the whole pipeline and what each head adds.
fn pipeline(
    config: &Config,
    values: &Values,
    (n_frames, film): (usize, &mut Film),
    engine: Box<dyn crate::engine::Engine>,
    model: &mut Model,
) -> Result<Found, Failure> {
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
    let basis = model.basis_keeper();
    let heads = model.heads(config, basis).map_err(Failure::Setup)?;
    let publishing = (model.encoder(config), Box::new(Nowhere(told)) as Box<dyn Sink>);
    let engine = (engine, config.batch_max);
    let started = Pipeline::start(cameras.collect(), engine, heads, publishing, &shared, &ended);
    let (pipeline, mut intakes) = started.map_err(Failure::Running)?;

    let measured = intakes.split_first_mut().context("no camera").and_then(|(intake, others)| {
        let mut next = || film.next();
        let n_published = || shared.accounting[0].snapshot().published;
        let mut serve_one = |intake: &mut Intake| {
            let before = n_published();
            push(intake, next())?;
            let came = outputs.recv_timeout(PATIENCE).is_ok();
            ensure!(came, if end.try_recv().is_ok() { "a stage has ended" } else { "no output came" });
            // It is in the books a moment later.
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
        for (name, file, topic) in head_files(config) {
            wants(&[topic]);
            let with = percentiles(intake)?;
            // Measured in turn, so that both saw the same machine.
            wants(&[]);
            let without = percentiles(intake)?;
            let file_mb = std::fs::metadata(file).map_or(0.0, |about| about.len() as f64 / 1e6);
            heads.push(HeadCost { name, with_ms: p50(&with), without_ms: p50(&without), file_mb });
        }

        let rate = saturated(&mut [&mut *intake], &mut next, &shared, n_frames)?;
        let mut all: Vec<&mut Intake> = [intake].into_iter().chain(others).collect();
        let mut together = None;
        if 1 < all.len() {
            // The first batches of a size pay for set-up.
            saturated(&mut all, &mut next, &shared, 10 * n_cameras)?;
            together = Some(saturated(&mut all, &mut next, &shared, n_frames)?);
        }
        Ok(Found { spans, rate, together, heads })
    });
    drop(intakes);
    // A stage that failed is why nothing was measured.
    pipeline.stop().map_err(Failure::Running)?;
    measured.map_err(Failure::Running)
}

/// Frames per second that come out when every intake gets more than the frame path takes, over about `n_frames`.
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

/// What the pipeline was found to do.
struct Found {
    spans: Spans,
    /// Frames per second at saturation.
    rate: f64,
    /// Those of all cameras together, where there are several.
    together: Option<f64>,
    heads: Vec<HeadCost>,
}

/// What a head adds to a frame.
#[derive(Serialize)]
struct HeadCost {
    name: &'static str,
    /// Median time of forward pass and heads while somebody listens to the head.
    with_ms: f64,
    /// The same while nobody does.
    without_ms: f64,
    /// Of its file, and so of its weights in memory.
    file_mb: f64,
}

/// Of forward pass and heads together, ms: on a GPU work may wait in either.
fn p50(spans: &Spans) -> f64 {
    spans
        .iter()
        .filter(|(span, _)| matches!(span, Span::Forward | Span::Heads))
        .map(|(_, found)| found.p50)
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

fn print_spans(
    out: &mut Stdout,
    kind: &str,
    config: &Config,
    (n_frames, film): (usize, &Film),
    spans: &Spans,
    rate: f64,
) {
    let input = input_size(config);
    out.line(format_args!("\n{kind}: {film} -> {}x{}, {n_frames} frames", input.width, input.height));
    out.line(format_args!("{:<10}{:>10}{:>10}{:>10}   ms", "span", "p50", "p95", "p99"));
    for (span, Percentiles { p50, p95, p99, .. }) in spans.iter().filter(|(_, found)| found.n != 0) {
        out.line(format_args!("{:<10}{p50:>10.2}{p95:>10.2}{p99:>10.2}", span.name()));
    }
    out.line(format_args!("at saturation {rate:.1} frames per second"));
}
