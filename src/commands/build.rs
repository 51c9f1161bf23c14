//! `build`: compiles an engine for this machine and proves it.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::commands::Failure;
use crate::commands::measure::{self, Contender, measure};
use crate::commands::model::{self, HeadPair, engine_cache, load_heads, load_pixio};
use crate::commands::signals::{Signals, die};
use crate::config::Config;
use crate::console::stdout::Stdout;
use crate::engine::Engine;
use crate::engine::builder::{self, Built, Plan, Stop};
use crate::engine::choose::{ENGINES, Refusal, Task};
use crate::engine::folder;
use crate::engine::machine::{Machine, torch_version};
use crate::engine::proof::pictures;
use crate::geometry::Size;

/// What only `build` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Sizes of the model input; none takes the configuration's.
    pub sizes: Vec<Size>,
    /// Batch sizes.
    pub batches: Vec<i64>,
    /// Blocks whose tokens it returns, counted from 1; none takes the feature layer, the last and what the heads read.
    pub layers: Vec<usize>,
    /// The folder to make; `None` is one in the cache.
    pub out: Option<PathBuf>,
    /// Python with torch.
    pub python: Option<PathBuf>,
}

/// Batches that engines are built for unless something else is asked.
pub const DEFAULT_BATCHES: [i64; 4] = [1, 2, 4, 8];

/// Forward passes of each engine in the table at the end.
const N_RUNS: usize = 20;

/// How long a build that was asked to stop may take to clean up: the compiler is fast, a forward pass of the proof may
/// not be.
const PROMPT: Duration = Duration::from_secs(3);

/// Builds the engine, says how well it agrees with the eager model and how fast both are.
///
/// # Errors
/// Setup errors, or why there is no engine.
pub fn build(config: &Config, options: Options, signals: Signals) -> Result<(), Failure> {
    // The engine is what was asked for: it is built whether anybody reads the lines or not.
    let mut out = Stdout::default();
    let listener = signals.end_at_once()?;
    let plan = plan(config, options).map_err(Failure::Setup)?;
    drop(listener);
    let Built { folder, engine } = unless_stopped(&plan, signals, &mut out)?;
    let _listener = signals.end_at_once()?;
    out.line(format_args!("\n{:<34}{:>6}{:>12}{:>22}", "package", "batch", "cosine", "largest difference"));
    for package in &folder.manifest.packages {
        for parity in &package.parity {
            let (file, batch) = (&package.file, parity.batch);
            let (cosine, difference) = (parity.cosine, parity.largest_difference);
            out.line(format_args!("{file:<34}{batch:>6}{cosine:>12.7}{difference:>22.1e}"));
        }
    }
    compare(&plan, engine, &mut out).map_err(Failure::Running)?;
    out.line(format_args!("\nengine: {}", folder.path().display()));
    out.finish().map_err(Failure::Running)
}

/// Builds `plan`; a signal in the meantime ends the compiler and the process, and nothing of the engine is left.
fn unless_stopped(plan: &Plan, signals: Signals, out: &mut Stdout) -> Result<Built, Failure> {
    let stop = Stop::default();
    let (stopping, draft_of) = (stop.clone(), plan.out.clone());
    let (building, settled) = mpsc::channel::<()>();
    let listener = signals.listen(move |signal| {
        stopping.stop();
        if settled.recv_timeout(PROMPT) == Err(RecvTimeoutError::Timeout) {
            folder::abandon(&draft_of);
            die(signal);
        }
    })?;
    let built = builder::build(plan, &stop, &mut |text| out.line(text));
    drop(building);
    listener.obey();
    built.map_err(|err| Failure::Running(err.into()))
}

/// The plan for `config`, as `options` change it.
///
/// # Errors
/// What cannot be built, or a model that cannot be loaded.
pub fn plan(config: &Config, options: Options) -> anyhow::Result<Plan> {
    let loaded = load_pixio(config)?;
    let n_layers = loaded.config().num_hidden_layers;
    let mut taps = options.layers;
    let heads = load_heads(config, &loaded)?;
    if taps.is_empty() {
        taps = model::taps(config.layer.unwrap_or(n_layers), n_layers, &heads);
    }
    taps.sort_unstable();
    taps.dedup();
    let in_range = taps.iter().all(|tap| (1..=n_layers).contains(tap));
    ensure!(in_range, "--layers: {taps:?} were asked for, {} has blocks 1 to {n_layers}", loaded.name());
    let mut task = loaded.task(config, taps);
    task.batches = options.batches.clone();
    if !options.sizes.is_empty() {
        task.sizes = options.sizes;
    }
    let out = match options.out {
        Some(out) => out,
        None => cached(&task, &heads, &options.batches, config)?,
    };
    let heads = heads.into_iter().flatten().collect();
    Ok(Plan { task, heads, batches: options.batches, python: options.python, out, is_background: false })
}

/// The folder in the cache for this: the same task has the same.
///
/// # Errors
/// There is no cache, or CUDA's own.
pub fn cached(task: &Task, heads: &HeadPair, batches: &[i64], config: &Config) -> anyhow::Result<PathBuf> {
    let cache = engine_cache(config)
        .context("there is no cache folder (neither HOME nor XDG_CACHE_HOME): give --out")?;
    let Task { pixio, arithmetic, taps, sizes, device, .. } = task;
    let (shape, machine) = (pixio.config(), Machine::of(*device)?);
    let heads = heads
        .iter()
        .flatten()
        .map(|head| (head.card().task.name(), &head.card().head, head.card().n_outputs()));
    let heads: Vec<_> = heads.collect();
    let identity = format!(
        "{shape:?} {arithmetic} {taps:?} {heads:?} {sizes:?} {batches:?} {machine:?} {}",
        torch_version()
    );
    let digest = Sha256::digest(identity.as_bytes());
    let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let device = if device.is_cuda() { "cuda" } else { "cpu" };
    let name = format!("{}x{}-{arithmetic}-{device}-{digits}", shape.hidden_size, shape.num_hidden_layers);
    Ok(cache.join(ENGINES).join(name))
}

/// Prints the time of a forward pass beside that of the eager model.
fn compare(plan: &Plan, engine: Box<dyn Engine>, out: &mut Stdout) -> anyhow::Result<()> {
    let task = &plan.task;
    let (size, batch) = (task.sizes[0], plan.batches[0]);
    let images = pictures(size, batch)?;
    let load = |name: &str, engine: Result<Box<dyn Engine>, Refusal>| {
        Contender::load(name, task.device, None, &images, || Ok(engine?))
    };
    let mut contenders = [load("eager", task.eager())?, load("compiled", Ok(engine))?];
    let (Size { width, height }, device) = (size, task.device);
    out.line(format_args!("\n{batch} x {width}x{height} on {device:?}, {N_RUNS} runs each, in turn"));
    let n_cls = task.pixio.config().n_cls_tokens;
    measure::print(out, &measure(&mut contenders, task.device, n_cls, (size, batch), N_RUNS)?);
    Ok(())
}
