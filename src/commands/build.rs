//! `build`: compiles an engine for this machine and proves it.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::commands::Failure;
use crate::commands::measure::{self, Contender, measure};
use crate::commands::model::{self, HeadPair, engine_cache, load_heads, load_pixio};
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::builder::{self, Built, Plan, Stop};
use crate::engine::choose::{ENGINES, Refusal, Task};
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

/// Builds the engine, says how well it agrees with the eager model and how fast both are.
///
/// # Errors
/// Setup errors, or why there is no engine.
pub fn build(config: &Config, options: Options) -> Result<(), Failure> {
    let plan = plan(config, options).map_err(Failure::Setup)?;
    let built = builder::build(&plan, &Stop::default(), &mut |text| println!("{text}"));
    let Built { folder, engine } = built.map_err(|err| Failure::Running(err.into()))?;
    println!("\n{:<34}{:>6}{:>12}{:>22}", "package", "batch", "cosine", "largest difference");
    for package in &folder.manifest.packages {
        for parity in &package.parity {
            let (file, batch) = (&package.file, parity.batch);
            println!("{file:<34}{batch:>6}{:>12.7}{:>22.1e}", parity.cosine, parity.largest_difference);
        }
    }
    compare(&plan, engine).map_err(Failure::Running)?;
    println!("\nengine: {}", folder.path().display());
    Ok(())
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
fn compare(plan: &Plan, engine: Box<dyn Engine>) -> anyhow::Result<()> {
    let task = &plan.task;
    let (size, batch) = (task.sizes[0], plan.batches[0]);
    let images = pictures(size, batch)?;
    let load = |name: &str, engine: Result<Box<dyn Engine>, Refusal>| {
        Contender::load(name, task.device, None, &images, || Ok(engine?))
    };
    let mut contenders = [load("eager", task.eager())?, load("compiled", Ok(engine))?];
    println!("\n{batch} x {}x{} on {:?}, {N_RUNS} runs each, in turn", size.width, size.height, task.device);
    let n_cls = task.pixio.config().n_cls_tokens;
    measure::print(&measure(&mut contenders, task.device, n_cls, (size, batch), N_RUNS)?);
    Ok(())
}
