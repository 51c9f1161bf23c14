//! `build`: compiles an engine for this machine, proves it and says how fast it is.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::commands::Failure;
use crate::setup::{self, HeadPair, engine_cache, load_heads, load_pixio};
use crate::commands::signals::{Signals, die};
use crate::config::Config;
use crate::console::stdout::Stdout;
use crate::engine::arithmetic::Arithmetic;
use crate::engine::builder::{self, BUDGET, Built, Plan, Stop};
use crate::engine::choose::{ENGINES, Task};
use crate::engine::store::folder;
use crate::engine::int8::Kernel;
use crate::engine::kernel;
use crate::engine::store::machine::{Machine, torch_version};
use crate::engine::store::manifest::Manifest;
use crate::engine::timing::ProcessorTime;
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
    /// What multiplies an int8 engine's integers; `None` takes the fastest.
    pub int8_kernel: Option<Kernel>,
}

/// Batches that engines are built for unless something else is asked.
pub const DEFAULT_BATCHES: [i64; 4] = [1, 2, 4, 8];

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
    let plan = plan(config, options, &mut out).map_err(Failure::Setup)?;
    drop(listener);
    let Built { folder, slower, .. } = unless_stopped(&plan, signals, &mut out)?;
    let _listener = signals.end_at_once()?;
    print(&folder.manifest, &mut out);
    out.line(format_args!("\nengine: {}", folder.path().display()));
    if let Some(slower) = slower {
        tracing::warn!(
            "{slower}: `engine: auto` will not take it, `engine: {}` does",
            folder.path().display()
        );
    }
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

/// Prints how well and how fast every package does.
fn print(manifest: &Manifest, out: &mut Stdout) {
    out.line(format_args!(
        "\n{:<34}{:>6}{:>12}{:>22}{:>11}{:>11}{:>8}{:>6}",
        "package", "batch", "cosine", "largest difference", "eager ms", "engine ms", "ratio", "runs"
    ));
    for package in &manifest.packages {
        for parity in &package.parity {
            let (file, batch) = (&package.file, parity.batch);
            let (cosine, difference) = (parity.cosine, parity.largest_difference);
            let proven = format!("{file:<34}{batch:>6}{cosine:>12.7}{difference:>22.1e}");
            match package.times.iter().find(|times| times.batch == batch) {
                Some(times) => out.line(format_args!(
                    "{proven}{:>11.2}{:>11.2}{:>8.2}{:>6}",
                    times.eager_ms, times.engine_ms, times.ratio, times.n_rounds
                )),
                None => out.line(proven),
            }
        }
    }
    let (machine, n_threads) = (manifest.machine.name(), tch::get_num_threads());
    out.line(format_args!("on {machine}, {n_threads} threads, both in turn"));
}

/// The plan for `config`, as `options` change it; `out` is told of what is measured for it.
///
/// # Errors
/// What cannot be built, or a model that cannot be loaded.
pub fn plan(config: &Config, options: Options, out: &mut Stdout) -> anyhow::Result<Plan> {
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
    let int8_kernel = int8_kernel(&task, options.int8_kernel, &mut |text| out.line(text))?;
    let out = match options.out {
        Some(out) => out,
        None => cached(&task, &heads, &options.batches, int8_kernel, config)?,
    };
    let heads = heads.into_iter().flatten().collect();
    let Options { batches, python, .. } = options;
    Ok(Plan { task, heads, batches, python, out, int8_kernel, budget: BUDGET, is_background: false })
}

/// What multiplies the integers of an engine for `task`: the one `asked` for, or the fastest, of which `progress` hears;
/// `None` for an engine without integers.
///
/// # Errors
/// A kernel that was asked for cannot be had, or libtorch's own.
pub fn int8_kernel(
    task: &Task,
    asked: Option<Kernel>,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Option<Kernel>> {
    if task.arithmetic != Arithmetic::Int8 {
        ensure!(
            asked.is_none(),
            "--int8-kernel is for --precision int8, this engine computes in {}",
            task.arithmetic
        );
        return Ok(None);
    }
    let layers = kernel::layers(task.pixio.config());
    if let Some(kernel) = asked {
        kernel::check(kernel, &layers)?;
        return Ok(Some(kernel));
    }
    let n_tokens = kernel::n_tokens(task.pixio.config(), task.sizes[0]);
    let found = kernel::measured(&layers, n_tokens, &mut ProcessorTime)?;
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    progress(&format!(
        "int8 kernel for {n_tokens} tokens, CPU time of a block's products: {}",
        texts.join(", ")
    ));
    Ok(found.first().map(|fastest| fastest.kernel))
}

/// The folder in the cache for this: the same task has the same.
///
/// # Errors
/// There is no cache, or CUDA's own.
pub fn cached(
    task: &Task,
    heads: &HeadPair,
    batches: &[i64],
    int8_kernel: Option<Kernel>,
    config: &Config,
) -> anyhow::Result<PathBuf> {
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
    let kernel = int8_kernel.map(|kernel| format!("-{kernel}")).unwrap_or_default();
    let (hidden, n_layers) = (shape.hidden_size, shape.num_hidden_layers);
    let name = format!("{hidden}x{n_layers}-{arithmetic}{kernel}-{device}-{digits}");
    Ok(cache.join(ENGINES).join(name))
}
