//! `build`: compiles an engine for this machine, proves it and says how fast it is; or one for a GPU of
//! another machine, which proves it.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use crate::commands::Failure;
use crate::commands::signals::{Signals, die};
use crate::config::{self, Config};
use crate::console::stdout::Stdout;
use crate::engine::arithmetic::Arithmetic;
use crate::engine::builder::{self, BUDGET, Built, Plan, Stop};
use crate::engine::choose::ENGINES;
use crate::engine::int8::Kernel;
use crate::engine::job::EngineJob;
use crate::engine::kernel;
use crate::engine::store::folder;
use crate::engine::store::machine::{Machine, torch_version};
use crate::engine::store::manifest::{Manifest, batches};
use crate::engine::store::target::Target;
use crate::engine::timing::ProcessorTime;
use crate::geometry::Size;
use crate::heads::Head;
use crate::setup::encoder::{LoadedEncoder, taps};
use crate::setup::engine::{candidates, engine_cache};
use crate::setup::heads::{self, LoadedHeads};
use crate::setup::teaching;

/// What only `build` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOptions {
    /// Sizes of the model input; none takes the configuration's.
    pub sizes: Vec<Size>,
    /// Batch sizes.
    pub batches: Vec<i64>,
    /// Blocks whose tokens the engine returns, counted from 1; none takes the feature layer, the last and
    /// what the heads read.
    pub layers: Vec<usize>,
    /// The folder to make; `None` is one in the cache.
    pub out: Option<PathBuf>,
    /// Python with torch.
    pub python: Option<PathBuf>,
    /// What multiplies an int8 engine's integers; `None` takes the fastest.
    pub int8_kernel: Option<Kernel>,
    /// Whether several kernels are tried for every matrix product.
    pub max_autotune: bool,
    /// The GPU to compile for where it is in another machine.
    pub target: Option<Target>,
}

/// How long a build that was asked to stop may take to clean up: the compiler is fast, a forward pass of the
/// proof may not be.
const PROMPT: Duration = Duration::from_secs(3);

/// Builds the engine, says how well it agrees with the eager model and how fast both are.
///
/// # Errors
/// Setup errors, or why there is no engine.
pub fn build(config: &Config, options: BuildOptions, signals: Signals) -> Result<(), Failure> {
    // The engine is what was asked for: it is built whether anybody reads the lines or not.
    let mut out = Stdout::default();
    let listener = signals.end_at_once()?;
    let plan = plan(config, options, &mut out).map_err(Failure::Setup)?;
    drop(listener);
    let Built { folder, slower, .. } = unless_stopped(&plan, signals, &mut out)?;
    let _listener = signals.end_at_once()?;
    match plan.target {
        None => print(&folder.manifest, &mut out),
        Some(target) => print_unproven(&folder.manifest, target, &mut out),
    }
    out.line(format_args!("\nengine: {}", folder.path().display()));
    if let Some(slower) = slower {
        tracing::warn!(
            "{slower}: `engine: auto` passes over this engine, `engine: {}` uses it",
            folder.path().display()
        );
    }
    out.finish().map_err(Failure::Running)
}

/// Builds `plan`; a signal in the meantime ends the compiler and the process, and nothing of the engine is
/// left.
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

/// Prints the packages of an engine for a GPU that is not here, and what is to be done with them.
fn print_unproven(manifest: &Manifest, target: Target, out: &mut Stdout) {
    out.line(format_args!("\n{:<34}{:>6}", "package", "batch"));
    for package in &manifest.packages {
        out.line(format_args!("{:<34}{:>6}", package.file, batches([package.batch].into_iter())));
    }
    let capability = target.capability();
    out.line(format_args!(
        "for GPUs of compute capability {capability}, not yet proven: no GPU was used. The node proves the \
         engine at every start; copy the folder to the machine with the GPU and set `engine` to it there"
    ));
}

/// `config` for a model whose engine is for a GPU that is not here, and that engine's arithmetic.
fn elsewhere(config: &Config, target: Target) -> anyhow::Result<(Config, Arithmetic)> {
    let arithmetic = match config.precision {
        config::Precision::Auto | config::Precision::Bfloat16 => Arithmetic::Bfloat16,
        config::Precision::Float16 => Arithmetic::Float16,
        config::Precision::Float32 => Arithmetic::Float32,
        config::Precision::Int8 => bail!("precision: int8 is for the CPU, --for {target} is for a GPU"),
    };
    ensure!(config.device != config::Device::Cpu, "device: cpu was asked for, --for {target} is for a GPU");
    // Here the model is only looked at.
    let (device, precision) = (config::Device::Cpu, config::Precision::Auto);
    Ok((Config { device, precision, ..config.clone() }, arithmetic))
}

/// The plan for `config`, as `options` change it; `out` reports what is measured for it.
///
/// # Errors
/// What cannot be built, or a model that cannot be loaded.
pub fn plan(config: &Config, options: BuildOptions, out: &mut Stdout) -> anyhow::Result<Plan> {
    let target = options.target;
    ensure!(
        target.is_none() || !options.max_autotune,
        "--max-autotune times kernels on the GPU, --for compiles for one that is not here: give one of the two"
    );
    let (config, arithmetic) = match target {
        Some(target) => elsewhere(config, target).map(|(config, arithmetic)| (config, Some(arithmetic)))?,
        None => (config.clone(), candidates(config)?.arithmetic()),
    };
    let config = &config;
    let encoder = LoadedEncoder::load(config, arithmetic)?;
    let n_blocks = encoder.n_blocks();
    let mut blocks = options.layers;
    let heads = heads::load(config, &encoder)?;
    if blocks.is_empty() {
        let exemplars = teaching::taps(config, n_blocks)?;
        blocks = taps(config.layer.unwrap_or(n_blocks), n_blocks, &heads, &exemplars);
    }
    blocks.sort_unstable();
    blocks.dedup();
    let in_range = blocks.iter().all(|block| (1..=n_blocks).contains(block));
    let name = encoder.pixio.name();
    ensure!(in_range, "--layers: {blocks:?} were asked for, {name} has blocks 1 to {n_blocks}");
    let mut job = encoder.job(config, blocks);
    job.batches.clone_from(&options.batches);
    if !options.sizes.is_empty() {
        job.sizes = options.sizes;
    }
    let int8_kernel = int8_kernel(&job, options.int8_kernel, &mut |text| out.line(text))?;
    let out = match options.out {
        Some(out) => out,
        None => cached(&job, target, &heads, &options.batches, int8_kernel, config)?,
    };
    let heads: Vec<Head> = heads.into_iter().collect();
    let BuildOptions { batches, python, max_autotune, .. } = options;
    let (budget, is_background) = (BUDGET, false);
    Ok(Plan { job, target, heads, batches, python, out, int8_kernel, max_autotune, budget, is_background })
}

/// What multiplies the integers of an engine for `job`: the one `asked` for, or the fastest, of which
/// `progress` hears; `None` for an engine without integers.
///
/// # Errors
/// A kernel that was asked for cannot be had, or libtorch's own.
pub fn int8_kernel(
    job: &EngineJob,
    asked: Option<Kernel>,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Option<Kernel>> {
    if job.arithmetic != Arithmetic::Int8 {
        ensure!(
            asked.is_none(),
            "--int8-kernel is for --precision int8, this engine computes in {}",
            job.arithmetic
        );
        return Ok(None);
    }
    let layers = kernel::layers(job.pixio.config());
    if let Some(kernel) = asked {
        kernel::check(kernel, &layers)?;
        return Ok(Some(kernel));
    }
    let n_tokens = kernel::n_tokens(job.pixio.config(), job.sizes[0]);
    let kernels = kernel::measured(&layers, n_tokens, &mut ProcessorTime)?;
    let texts: Vec<_> = kernels.iter().map(ToString::to_string).collect();
    progress(&format!(
        "int8 kernel for {n_tokens} tokens, CPU time of a block's products: {}",
        texts.join(", ")
    ));
    Ok(kernels.first().map(|fastest| fastest.kernel))
}

/// The folder in the cache for this: the same job and `target` have the same.
///
/// # Errors
/// There is no cache, or CUDA's own.
pub fn cached(
    job: &EngineJob,
    target: Option<Target>,
    heads: &LoadedHeads,
    batches: &[i64],
    int8_kernel: Option<Kernel>,
    config: &Config,
) -> anyhow::Result<PathBuf> {
    let cache = engine_cache(config)
        .context("there is no cache folder (neither HOME nor XDG_CACHE_HOME): give --out")?;
    let EngineJob { pixio, arithmetic, taps, sizes, device, .. } = job;
    let (shape, machine) = (pixio.config(), Machine::of_engine(*device, target)?);
    let cards = heads.iter().map(Head::card);
    let heads: Vec<_> = cards.map(|card| (card.task.name(), &card.head, card.n_outputs())).collect();
    let identity = format!(
        "{shape:?} {arithmetic} {taps:?} {heads:?} {sizes:?} {batches:?} {machine:?} {}",
        torch_version()
    );
    let digest = Sha256::digest(identity.as_bytes());
    let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let device = match (target, device.is_cuda()) {
        (Some(target), _) => target.to_string(),
        (None, true) => "cuda".into(),
        (None, false) => "cpu".into(),
    };
    let kernel = int8_kernel.map(|kernel| format!("-{kernel}")).unwrap_or_default();
    let (hidden, n_layers) = (shape.hidden_size, shape.num_hidden_layers);
    let name = format!("{hidden}x{n_layers}-{arithmetic}{kernel}-{device}-{digits}");
    Ok(cache.join(ENGINES).join(name))
}
