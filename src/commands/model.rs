//! Loads the model that the configuration names, on the device that is there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tch::Kind;

use crate::config::{self, Config};
use crate::engine::eager::Eager;
use crate::engine::{EngineError, device};
use crate::geometry::Size;
use crate::pca::Basis;
use crate::pixio::{Pixio, Source};
use crate::runtime::cache;
use crate::stages::fit::Fitter;
use crate::stages::forward::warm_up;
use crate::stages::heads::{Heads, HeadsConfig, ModelCard};

/// A model that is ready to be used.
pub struct Model {
    /// Returns the tokens of the feature layer first and of the last layer last.
    pub engine: Eager,
    /// As messages name it.
    pub card: ModelCard,
    /// Where it runs.
    pub device: tch::Device,
    /// Its arithmetic.
    pub kind: Kind,
    /// The basis that was saved or given, if any.
    pub basis: Option<Basis>,
    /// Where it is from, or will be saved; `None` without a cache folder.
    pub basis_path: Option<PathBuf>,
}

impl Model {
    /// Resolves and loads everything that `config` names.
    ///
    /// # Errors
    /// What is missing or wrong, with the way out.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        if let Some(n_threads) = config.threads {
            tch::set_num_threads(i32::try_from(n_threads).context("threads is too large")?);
        }
        let device = device::device(config.device)?;
        let kind = device::kind(config.precision, device);
        let source = Source::resolve(&config.model)?;
        let started = Instant::now();
        let pixio = Pixio::load(&source, device, kind)?;
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
        tracing::info!(
            "model {} revision {} on {device:?} in {kind:?}, loaded in {:.1} s",
            card.name,
            card.revision,
            started.elapsed().as_secs_f64()
        );
        let channels = pixio.config().hidden_size;
        let cached = cache::folder().map(|folder| Basis::cache_path(&folder, &card.revision, layer));
        let read = |path: &Path| Basis::load(path, &card.revision, layer, channels);
        let basis = match (&config.pca_basis, &cached) {
            (Some(given), _) => Some(read(given).context("pca_basis: give another file or `auto`")?),
            (None, Some(kept)) if kept.exists() => {
                read(kept).inspect_err(|err| tracing::warn!("the PCA basis is estimated anew: {err:#}")).ok()
            }
            (None, _) => None,
        };
        let basis_path = config.pca_basis.clone().or(cached);
        if let (Some(basis), Some(path)) = (&basis, &basis_path) {
            tracing::info!("PCA basis {} from {}", basis.hash, path.display());
            let (there, asked) = (basis.n_components(), config.reduced_channels);
            if there < asked {
                tracing::warn!("reduced_channels: {asked} were asked for, the PCA basis has {there}");
            }
        }
        let mut taps = vec![layer, n_layers];
        taps.dedup();
        let engine = Eager::new(pixio, &taps)?;
        Ok(Self { engine, card, device, kind, basis, basis_path })
    }

    /// The encoder.
    pub fn pixio(&self) -> &Pixio {
        self.engine.pixio()
    }

    /// Runs the engine until it is warm, with as many CPU threads as measurement finds best unless
    /// `config` says how many. Returns the time of a forward pass.
    ///
    /// # Errors
    /// The engine's own.
    pub fn warm(&mut self, config: &Config) -> Result<Duration, EngineError> {
        let size = input_size(config);
        warm_up(&mut self.engine, size, 1)?;
        let mut current = fastest_run(&mut self.engine, size)?;
        let mut best = current;
        let mut n_threads = tch::get_num_threads();
        if self.device == tch::Device::Cpu && config.threads.is_none() {
            while 1 < n_threads {
                tch::set_num_threads(n_threads / 2);
                let halved = fastest_run(&mut self.engine, size)?;
                if best.mul_f64(AS_FAST) < halved {
                    tch::set_num_threads(n_threads);
                    break;
                }
                (best, current, n_threads) = (best.min(halved), halved, n_threads / 2);
            }
        }
        let millis = current.as_secs_f64() * 1e3;
        let threads = match (self.device, n_threads) {
            (tch::Device::Cpu, 1) => " with one thread".to_owned(),
            (tch::Device::Cpu, n) => format!(" with {n} threads"),
            _ => String::new(),
        };
        tracing::info!("warm: one forward pass takes {millis:.1} ms{threads}");
        Ok(current)
    }

    /// Heads for this model; takes the basis along.
    pub fn heads(&mut self, config: &Config) -> Heads {
        let heads = HeadsConfig {
            card: self.card.clone(),
            features_dtype: config.features_dtype,
            reduced_channels: config.reduced_channels,
            basis_path: self.basis_path.clone(),
        };
        Heads::new(heads, self.basis.take())
    }
}

/// A measurement shorter than this is repeated.
const WORTH_REPEATING: Duration = Duration::from_millis(300);

/// Fewer threads are taken when they cost no more time than this factor: they leave the other cores
/// to the cameras.
const AS_FAST: f64 = 1.1;

/// The shortest of a few runs: what disturbs a measurement only ever makes it longer.
fn fastest_run(engine: &mut Eager, size: Size) -> Result<Duration, EngineError> {
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        warm_up(engine, size, 1)?;
        shortest = shortest.min(started.elapsed());
        if WORTH_REPEATING < shortest {
            break;
        }
    }
    Ok(shortest)
}

/// Size of the model input, or of the largest that `fit: auto` chooses.
pub fn input_size(config: &Config) -> Size {
    match config.fit {
        config::Fit::Auto => Size { width: 256, height: 256 },
        config::Fit::Stretch | config::Fit::Letterbox | config::Fit::Crop => config.size,
    }
}

/// A fitter as `config` asks for.
pub fn fitter(config: &Config) -> Fitter {
    Fitter::new(config.fit, config.size, config.resize_filter)
}
