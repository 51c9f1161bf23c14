//! Loads the model that the configuration names, on the device that is there, and the engine that runs it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tch::Device;

use crate::config::{self, Config};
use crate::engine::arithmetic::Arithmetic;
use crate::engine::choose::{Refusal, Task, Tried, from_cache};
use crate::engine::store::folder::Folder;
use crate::engine::graph::Launch;
use crate::engine::head::{HeadEngine, Taken};
use crate::engine::timing::Trial;
use crate::engine::{Engine, EngineError, device};
use crate::geometry::{STANDARD_SIZES, Size, WINDOW};
use crate::heads::{self, Backbone, Head};
use crate::pca::Basis;
use crate::pixio::{Pixio, Source};
use crate::ros::Made;
use crate::runtime::cache;
use crate::runtime::wanted::Topic;
use crate::stages::fit::Fitter;
use crate::stages::forward::{MOST_WINDOWS, largest_batch, warm_up};
use crate::stages::heads::{BasisKeeper, Dense, Heads, HeadsConfig, ModelCard, feature_tap};
use crate::stages::publish::{Encoder, EncoderConfig};

/// A model that is ready to be used.
pub struct Model {
    /// The model and what its engine has to do. The feature layer and what the heads read are among the taps, the last
    /// one is the last layer.
    pub task: Task,
    /// Runs it.
    pub engine: Box<dyn Engine>,
    /// [`Chosen::lacks_engine`].
    pub lacks_engine: bool,
    /// Why engines of the cache that should serve do not.
    pub fell_back: Option<String>,
    /// As messages name it.
    pub card: ModelCard,
    /// The basis that was saved or given, if any.
    pub basis: Option<Basis>,
    /// Where it is from, or will be saved; `None` without a cache folder.
    pub basis_path: Option<PathBuf>,
    /// Which heads there are.
    pub made: Made,
    /// The heads; `None` once they have been handed out.
    heads: Option<HeadPair>,
    /// Where the engine is from; it may hold the heads compiled.
    folder: Option<Folder>,
}

impl Model {
    /// Resolves and loads everything that `config` names.
    ///
    /// # Errors
    /// What is missing or wrong, with the way out.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let pixio = load_pixio(config)?;
        let n_layers = pixio.config().num_hidden_layers;
        let layer = config.layer.unwrap_or(n_layers);
        ensure!(
            (1..=n_layers).contains(&layer),
            "layer: {layer} was asked for, {} has blocks 1 to {n_layers}",
            pixio.name()
        );
        let card = ModelCard {
            name: pixio.name().to_owned(),
            revision: pixio.revision().to_owned(),
            layer,
            n_cls_tokens: pixio.config().n_cls_tokens,
        };
        let heads = load_heads(config, &pixio)?;
        ensure!(
            config.fit != config::Fit::Window || heads.iter().any(Option::is_some),
            "fit: window makes depth and segmentation alone: give depth_head or segmentation_head"
        );
        let task = pixio.task(config, taps(layer, n_layers, &heads));
        let made = made(config, &heads);
        let (basis, basis_path) = load_basis(config, &card, task.pixio.config().hidden_size)?;
        let Chosen { engine, folder, lacks_engine, fell_back } = load_engine(config, &task)?;
        let heads = Some(heads);
        Ok(Self { task, engine, lacks_engine, fell_back, card, basis, basis_path, made, heads, folder })
    }

    /// The encoder.
    pub fn pixio(&self) -> &Pixio {
        &self.task.pixio
    }

    /// Its arithmetic and where it runs, for people.
    pub fn place(&self) -> String {
        format!("{} on {:?}", self.task.arithmetic, self.task.device)
    }

    /// Runs the engine until it is warm, for every batch that may come, with as many CPU threads as measurement finds
    /// best unless `config` says how many.
    ///
    /// # Errors
    /// The engine's own.
    pub fn warm(&mut self, config: &Config) -> Result<Warm, EngineError> {
        let size = input_size(config);
        let engine = &mut *self.engine;
        // What comes when the model is busiest decides.
        let batch = self.task.batches.last().copied().unwrap_or(1);
        self.task.batches.iter().try_for_each(|&batch| warm_up(engine, size, batch))?;
        let mut current = fastest_run(engine, size, batch)?;
        let mut best = current;
        let mut n_threads = tch::get_num_threads();
        let is_on_cpu = !self.task.device.is_cuda();
        if is_on_cpu && config.threads.is_none() {
            while 1 < n_threads {
                tch::set_num_threads(n_threads / 2);
                let halved = fastest_run(engine, size, batch)?;
                if best.mul_f64(AS_FAST) < halved {
                    tch::set_num_threads(n_threads);
                    break;
                }
                (best, current, n_threads) = (best.min(halved), halved, n_threads / 2);
            }
        }
        let warm = Warm { batch, millis: current.as_secs_f64() * 1e3 };
        let threads = match n_threads {
            _ if !is_on_cpu => String::new(),
            1 => " with one thread".to_owned(),
            n => format!(" with {n} threads"),
        };
        tracing::info!("warm: the {} engine takes {warm}{threads}", engine.kind());
        Ok(warm)
    }

    /// Where the feature layer stands among the engine's taps.
    pub fn feature_tap(&self) -> usize {
        feature_tap(&self.task.taps, self.card.layer)
    }

    /// Depth and segmentation, compiled where the engine's folder has them. The heads are read again when they have been
    /// handed out.
    ///
    /// # Errors
    /// A head file is not there any more, a package of a folder that was asked for does not serve, or CUDA's own.
    pub fn dense(&mut self, config: &Config) -> anyhow::Result<Dense> {
        let heads = match self.heads.take() {
            Some(heads) => heads,
            None => self.read_heads(config)?,
        };
        let [depth, segmentation] =
            heads.map(|head| head.map(|head| self.head_engine(config, head)).transpose());
        Ok(Dense::new([depth?, segmentation?], config.segmentation_upsampling, &self.task.taps)?)
    }

    /// The heads, read anew.
    ///
    /// # Errors
    /// A file is not there any more.
    pub fn read_heads(&self, config: &Config) -> anyhow::Result<HeadPair> {
        let Task { pixio, device, arithmetic, .. } = &self.task;
        read_heads(config, pixio, *device, *arithmetic)
    }

    /// Has the heads run as those of another engine of this model: with the packages of its folder, launched like it.
    pub fn run_heads_as(&mut self, folder: Option<Folder>, launch: Launch) {
        self.folder = folder;
        self.task.launch = launch;
    }

    fn head_engine(&self, config: &Config, head: Head) -> anyhow::Result<HeadEngine> {
        let name = head.card().task.name();
        let mut engine = HeadEngine::new(head, &self.task)?;
        let Some(folder) = &self.folder else { return Ok(engine) };
        let path = folder.path().display();
        match engine.take_packages(folder, &self.task) {
            Ok(Taken::Slower(slower)) if config.engine == config::Engine::Auto => {
                engine.drop_packages();
                tracing::warn!("{name} runs eagerly: engine {path}: {slower}");
            }
            Ok(Taken::Slower(slower)) => {
                tracing::warn!("{name} compiled, from {path}, because `engine` names it: {slower}");
            }
            Ok(Taken::Packages) => tracing::info!("{name} compiled, from {path}"),
            Ok(Taken::Nothing) => tracing::info!(
                "{name} runs eagerly: the engine {path} has no such head; `pixio_node build` with --{name}-head makes one"
            ),
            // Found, not asked for.
            Err(err) if config.engine == config::Engine::Auto => tracing::warn!("{name} runs eagerly: {err}"),
            Err(err) => return Err(err.into()),
        }
        Ok(engine)
    }

    /// Who keeps the basis; takes it along.
    pub fn basis_keeper(&mut self) -> Arc<BasisKeeper> {
        Arc::new(BasisKeeper::new(self.basis.take(), self.card.clone(), self.basis_path.clone()))
    }

    /// Heads for this model with `basis`.
    ///
    /// # Errors
    /// As [`Model::dense`].
    pub fn heads(&mut self, config: &Config, basis: Arc<BasisKeeper>) -> anyhow::Result<Heads> {
        let heads = HeadsConfig {
            card: self.card.clone(),
            features_dtype: config.features_dtype,
            reduced_channels: config.reduced_channels,
            basis,
            taps: self.task.taps.clone(),
            dense: self.dense(config)?,
            depth_resolution: config.depth_resolution,
        };
        Ok(Heads::new(heads))
    }

    /// What encodes this model's outputs.
    pub fn encoder(&self, config: &Config) -> Encoder {
        let classes = self.made.classes.iter().flatten();
        Encoder::new(EncoderConfig {
            palette: classes.map(|class| class.color).collect(),
            depth_resolution: config.depth_resolution,
            points_stride: config.points_stride,
        })
    }
}

/// How long an engine takes that is warm.
#[derive(Clone, Copy, Debug)]
pub struct Warm {
    /// Pictures of the largest batch that may come.
    pub batch: i64,
    /// Time of a forward pass of such a batch.
    pub millis: f64,
}

impl fmt::Display for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch, millis } = self;
        match batch {
            1 => write!(f, "{millis:.1} ms"),
            _ => write!(f, "{millis:.1} ms for {batch} pictures"),
        }
    }
}

/// The depth head and the segmentation head, where there are some.
pub type HeadPair = [Option<Head>; 2];

/// The heads that `config` names, on the model's device.
///
/// # Errors
/// A file that is no head of this model.
pub fn load_heads(config: &Config, loaded: &Loaded) -> anyhow::Result<HeadPair> {
    read_heads(config, loaded, loaded.device, loaded.arithmetic)
}

fn read_heads(
    config: &Config,
    pixio: &Pixio,
    device: Device,
    arithmetic: Arithmetic,
) -> anyhow::Result<HeadPair> {
    let model = Backbone {
        model: pixio.name().to_owned(),
        revision: pixio.revision().to_owned(),
        hidden_size: pixio.config().hidden_size,
        num_hidden_layers: pixio.config().num_hidden_layers,
        n_cls_tokens: pixio.config().n_cls_tokens,
    };
    let read = |file: &Option<PathBuf>, task: &str| {
        let head = file.as_ref().map(|file| Head::load_for(file, task, &model, device, arithmetic.kind()));
        head.transpose().with_context(|| format!("{task}_head"))
    };
    Ok([read(&config.depth_head, "depth")?, read(&config.segmentation_head, "segmentation")?])
}

/// The heads that `config` names: name, file and the topic for whose sake one runs.
pub fn head_files(config: &Config) -> impl Iterator<Item = (&'static str, &PathBuf, Topic)> {
    let depth = config.depth_head.as_ref().map(|file| ("depth", file, Topic::Depth));
    let segmentation = config.segmentation_head.as_ref().map(|file| ("segmentation", file, Topic::Labels));
    depth.into_iter().chain(segmentation)
}

/// Blocks whose tokens are needed: for the features, for the embedding and for the heads; ascending.
pub fn taps(layer: usize, n_layers: usize, heads: &HeadPair) -> Vec<usize> {
    let for_heads = heads.iter().flatten().flat_map(|head| head.card().taps.iter().copied());
    let mut taps: Vec<usize> = [layer, n_layers].into_iter().chain(for_heads).collect();
    taps.sort_unstable();
    taps.dedup();
    taps
}

fn made(config: &Config, [depth, segmentation]: &HeadPair) -> Made {
    let classes = segmentation.as_ref().and_then(|head| match &head.card().task {
        heads::Task::Segmentation { classes } => Some(classes.clone()),
        heads::Task::Depth { .. } => None,
    });
    Made { depth: depth.as_ref().map(|_| config.depth_resolution), classes }
}

/// An encoder on its device.
pub struct Loaded {
    source: Source,
    pixio: Pixio,
    device: Device,
    arithmetic: Arithmetic,
}

impl std::ops::Deref for Loaded {
    type Target = Pixio;

    fn deref(&self) -> &Pixio {
        &self.pixio
    }
}

impl Loaded {
    /// What its engine has to do: return the tokens of the blocks `taps`.
    pub fn task(self, config: &Config, taps: Vec<usize>) -> Task {
        let Self { source, pixio, device, arithmetic } = self;
        let launch = if config.cuda_graph { Launch::Graph } else { Launch::Plain };
        // The frame path runs one picture of every camera at once, or the windows of one.
        let n_most = match config.fit {
            config::Fit::Window => MOST_WINDOWS,
            _ => i64::try_from(config.cameras.len().min(config.batch_max)).unwrap_or(1),
        };
        let batches = (1..=n_most).filter(|&n| largest_batch(n, n) == n).collect();
        let heads = head_files(config).map(|(name, file, _)| (name, file.clone())).collect();
        Task { source, pixio, device, arithmetic, taps, sizes: input_sizes(config), batches, launch, heads }
    }
}

/// Loads the encoder alone.
///
/// # Errors
/// What is missing or wrong, with the way out.
pub fn load_pixio(config: &Config) -> anyhow::Result<Loaded> {
    if let Some(n_threads) = config.threads {
        tch::set_num_threads(i32::try_from(n_threads).context("threads is too large")?);
    }
    let device = device::device(config.device)?;
    let arithmetic = match (&config.engine, config.precision) {
        // Who names an engine need not say what it computes in.
        (config::Engine::Folder(path), config::Precision::Auto) => Folder::open(path)?.manifest.precision,
        (_, asked) => device::arithmetic(asked, device),
    };
    ensure!(
        arithmetic != Arithmetic::Int8 || !device.is_cuda(),
        "precision: int8 is for the CPU; on a GPU bfloat16 is faster: precision:=auto"
    );
    let source = Source::resolve(&config.model)?;
    let started = Instant::now();
    let pixio = Pixio::load(&source, device, arithmetic.kind())?;
    tracing::info!(
        "model {} revision {} on {device:?} in {arithmetic}, loaded in {:.1} s",
        pixio.name(),
        pixio.revision(),
        started.elapsed().as_secs_f64()
    );
    Ok(Loaded { source, pixio, device, arithmetic })
}

/// The engine that was chosen.
pub struct Chosen {
    /// It.
    pub engine: Box<dyn Engine>,
    /// The folder that it is from; none for the eager one.
    pub folder: Option<Folder>,
    /// Whether the cache was looked through and has no engine that serves, but for those that are slower than the eager
    /// model: to build one again would not help.
    pub lacks_engine: bool,
    /// Why those that should serve do not.
    pub fell_back: Option<String>,
}

/// The engine that `config` asks for.
///
/// # Errors
/// A folder that was asked for does not serve, or the eager engine's own.
pub fn load_engine(config: &Config, task: &Task) -> anyhow::Result<Chosen> {
    let (mut refused, mut trial) = (Vec::new(), Trial::at_start());
    let found = match &config.engine {
        config::Engine::Folder(path) => {
            let folder = Folder::open(path)?;
            Some((task.tried(&folder, &mut trial)?, folder))
        }
        config::Engine::Auto => {
            engine_cache(config).and_then(|cache| from_cache(task, &cache, &mut trial, &mut refused))
        }
        config::Engine::Eager => None,
    };
    if let Some((Tried { engine, times, slower }, folder)) = found {
        let path = folder.path().display();
        let times = times.map(|times| format!(": {times}")).unwrap_or_default();
        tracing::info!("engine {} from {path}{times}", engine.kind());
        if let Some(slower) = slower {
            tracing::warn!(
                "engine {path}: {slower}; it serves because `engine` names it, engine:=auto would not"
            );
        }
        return Ok(Chosen { engine, folder: Some(folder), lacks_engine: false, fell_back: None });
    }
    let is_slow = refused.iter().any(|refusal| matches!(refusal, Refusal::Slow { .. }));
    let command = task.build_command();
    if is_slow {
        tracing::info!("engine eager, in {}", task.arithmetic.eager());
    } else if task.arithmetic == Arithmetic::Int8 {
        tracing::warn!(
            "precision: int8 needs a compiled engine, the eager model runs in float32 until then: `{command}`"
        );
    } else if config.engine == config::Engine::Auto {
        tracing::info!("engine eager; `{command}` compiles one");
    }
    let lacks_engine = config.engine == config::Engine::Auto && !is_slow;
    let refused: Vec<_> = refused.iter().map(ToString::to_string).collect();
    let fell_back = (!refused.is_empty()).then(|| refused.join("; "));
    Ok(Chosen { engine: task.eager()?, folder: None, lacks_engine, fell_back })
}

/// The folder above the cached engines.
pub fn engine_cache(config: &Config) -> Option<PathBuf> {
    config.engine_cache.clone().or_else(cache::folder)
}

/// The basis that was saved or given, if any, and where it is from or will be saved.
fn load_basis(
    config: &Config,
    card: &ModelCard,
    channels: usize,
) -> anyhow::Result<(Option<Basis>, Option<PathBuf>)> {
    let cached = cache::folder().map(|folder| Basis::cache_path(&folder, &card.revision, card.layer));
    let read = |path: &Path| Basis::load(path, &card.revision, card.layer, channels);
    let basis = match (&config.pca_basis, &cached) {
        (Some(given), _) => Some(read(given).context("pca_basis: give another file or `auto`")?),
        (None, Some(kept)) if kept.exists() => {
            read(kept).inspect_err(|err| tracing::warn!("the PCA basis is estimated anew: {err:#}")).ok()
        }
        (None, _) => None,
    };
    let path = config.pca_basis.clone().or(cached);
    if let (Some(basis), Some(path)) = (&basis, &path) {
        tracing::info!("PCA basis {} from {}", basis.hash, path.display());
        let (there, asked) = (basis.n_components(), config.reduced_channels);
        if there < asked {
            tracing::warn!("reduced_channels: {asked} were asked for, the PCA basis has {there}");
        }
    }
    Ok((basis, path))
}

/// A measurement is repeated for this long, and once at least: a single run may be one that was disturbed.
const MEASURED: Duration = Duration::from_millis(700);

/// Fewer threads are taken when they cost no more time than this factor: they leave the other cores
/// to the cameras.
const AS_FAST: f64 = 1.1;

/// The shortest of a few runs: what disturbs a measurement only ever makes it longer.
fn fastest_run(engine: &mut dyn Engine, size: Size, batch: i64) -> Result<Duration, EngineError> {
    let (mut shortest, mut total) = (Duration::MAX, Duration::ZERO);
    for n_before in 0..5 {
        if 1 < n_before && MEASURED < total {
            break;
        }
        let started = Instant::now();
        warm_up(engine, size, batch)?;
        shortest = shortest.min(started.elapsed());
        total += started.elapsed();
    }
    Ok(shortest)
}

/// Sizes that the model input may have.
pub fn input_sizes(config: &Config) -> Vec<Size> {
    match config.fit {
        config::Fit::Auto => STANDARD_SIZES.to_vec(),
        config::Fit::Stretch | config::Fit::Letterbox | config::Fit::Crop => vec![config.size],
        config::Fit::Window => vec![Size { width: WINDOW, height: WINDOW }],
    }
}

/// Size of the model input, or of the largest that `fit: auto` chooses.
pub fn input_size(config: &Config) -> Size {
    input_sizes(config)[0]
}

/// A fitter as `config` asks for.
pub fn fitter(config: &Config) -> Fitter {
    Fitter::new(config.fit, config.size, config.resize_filter, config.max_image_pixels)
}
