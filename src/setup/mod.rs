//! Setup: what is loaded at start. The [`encoder`], the [`heads`] that read its tokens, the [`engine`] that
//! runs it, the PCA [`basis`], and the warm-up; from the checked configuration to a [`Model`] that serves.

pub mod basis;
pub mod encoder;
pub mod engine;
pub mod heads;
pub mod input;
pub mod streams;
pub mod teaching;
pub mod warm;

use std::sync::Arc;

use anyhow::ensure;

use crate::config::{Config, Fit};
use crate::engine::graph::LaunchMode;
use crate::engine::job::EngineJob;
use crate::engine::proof::BatchShape;
use crate::engine::store::folder::Folder;
use crate::engine::{Engine, EngineError};
use crate::exemplars::Exemplars;
use crate::pca::Basis;
use crate::pixio::Pixio;
use crate::stages::derive::{
    BasisKeeper, Common, Dense, Deriver, DeriverConfig, ModelCard, Worker, feature_tap,
};
use crate::stages::forward::warm_up;
use crate::stages::publish::{self, EncoderConfig};
use crate::teaching::Teaching;

use self::basis::SavedBasis;
use self::encoder::{LoadedEncoder, taps};
use self::engine::{LoadedEngine, build_command, candidates};
use self::heads::LoadedHeads;
use self::input::input_size;
use self::streams::Streams;
use self::warm::{Threads, Warm, fastest_run, fastest_threads, record, threads, threads_text};

/// A model that is ready to be used.
pub struct Model {
    /// The encoder and what its engine has to do. The feature layer and what the heads read are among the
    /// taps, the last tap is the last block.
    pub job: EngineJob,
    /// Runs the encoder.
    pub engine: Box<dyn Engine>,
    /// [`LoadedEngine::lacks_engine`].
    pub lacks_engine: bool,
    /// Why engines of the cache that should serve do not.
    pub fell_back: Option<String>,
    /// The command line that builds an engine for this model.
    pub build_command: String,
    /// The model as messages name it.
    pub card: ModelCard,
    /// The PCA basis, if there is one yet.
    pub basis: SavedBasis,
    /// The heads that the configuration names.
    pub head_set: LoadedHeads,
    /// What teaching begins with, where the configuration asks for teaching.
    pub exemplars: Option<Exemplars>,
    /// The folder of the engine; it may hold the heads compiled.
    folder: Option<Folder>,
}

impl Model {
    /// Resolves and loads everything that `config` names.
    ///
    /// # Errors
    /// What is missing or wrong, with the way out.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let candidates = candidates(config)?;
        let encoder = LoadedEncoder::load(config, candidates.arithmetic())?;
        let (pixio, n_blocks) = (&encoder.pixio, encoder.n_blocks());
        let layer = config.layer.unwrap_or(n_blocks);
        ensure!(
            (1..=n_blocks).contains(&layer),
            "layer: {layer} was asked for, {} has blocks 1 to {n_blocks}",
            pixio.name()
        );
        let card = ModelCard {
            name: pixio.name().to_owned(),
            revision: pixio.revision().to_owned(),
            layer,
            n_cls_tokens: pixio.config().n_cls_tokens,
        };
        let n_channels = pixio.config().hidden_size;
        let head_set = heads::load(config, &encoder)?;
        let (exemplar_taps, exemplars) =
            (teaching::taps(config, n_blocks)?, teaching::exemplars(config, pixio)?);
        ensure!(
            config.fit != Fit::Window || head_set.iter().next().is_some(),
            "fit: window makes only depth and segmentation: give depth_head or segmentation_head"
        );
        let job = encoder.job(config, taps(layer, n_blocks, &head_set, &exemplar_taps));
        let basis = SavedBasis::load(config, &card, n_channels)?;
        let LoadedEngine { engine, folder, lacks_engine, fell_back } =
            engine::load(config, &job, candidates)?;
        let build_command = build_command(config, &job);
        Ok(Self {
            job,
            engine,
            lacks_engine,
            fell_back,
            build_command,
            card,
            basis,
            head_set,
            exemplars,
            folder,
        })
    }

    /// The encoder.
    pub fn pixio(&self) -> &Pixio {
        &self.job.pixio
    }

    /// Arithmetic and device of the model, for people.
    pub fn place(&self) -> String {
        format!("{} on {:?}", self.job.arithmetic, self.job.device)
    }

    /// Runs the engine until it is warm, for every batch that may come, with as many CPU threads as
    /// measurement finds best unless `config` says how many.
    ///
    /// # Errors
    /// The engine's own.
    pub fn warm(&mut self, config: &Config) -> Result<Warm, EngineError> {
        let (size, device) = (input_size(config), self.job.device);
        let engine = &mut *self.engine;
        // The busiest case decides.
        let batch = self.job.batches.last().copied().unwrap_or(1);
        self.job.batches.iter().try_for_each(|&batch| warm_up(engine, size, batch).map(drop))?;
        let shape = BatchShape { size, batch };
        let n_all = tch::get_num_threads();
        let (took, on_half) = match threads(config.threads, device) {
            Threads::Measured => fastest_threads(engine, shape)?,
            Threads::Given => (fastest_run(engine, shape)?, None),
            Threads::One => {
                tch::set_num_threads(1);
                (fastest_run(engine, shape)?, None)
            }
        };
        let n_threads = tch::get_num_threads();
        // On a GPU there is nothing to share.
        let n_all_threads = if device.is_cuda() { n_threads } else { n_all };
        let millis = took.as_secs_f64() * 1e3;
        let warm = Warm { batch, millis, threads: n_threads, n_all_threads, on_half };
        tracing::info!("warm: the {} engine takes {warm}{}", engine.kind(), threads_text(device, n_threads));
        Ok(warm)
    }

    /// Where the feature layer stands among the engine's taps.
    pub fn feature_tap(&self) -> usize {
        feature_tap(&self.job.taps, self.card.layer)
    }

    /// Depth and segmentation, compiled where the engine's folder has them.
    ///
    /// # Errors
    /// A package of a folder that was asked for does not serve, or CUDA's own.
    pub fn dense(&self, config: &Config) -> anyhow::Result<Dense> {
        let engine = |head| heads::engine(config, &self.job, head, self.folder.as_ref());
        let engines = self.head_set.shallow_clone().try_map(engine)?;
        Ok(Dense::new(engines, config.segmentation_upsampling, &self.job.taps)?)
    }

    /// Has the heads run as those of another engine of this model: with the packages of its folder, launched
    /// like it.
    pub fn run_heads_as(&mut self, folder: Option<Folder>, launch: LaunchMode) {
        self.folder = folder;
        self.job.launch = launch;
    }

    /// The keeper of the PCA basis, which begins with the one that was loaded.
    fn basis_keeper(&self) -> Arc<BasisKeeper> {
        let SavedBasis { basis, path } = &self.basis;
        let basis = basis.as_ref().map(Basis::shallow_clone);
        Arc::new(BasisKeeper::new(basis, self.card.clone(), path.clone()))
    }

    /// What workers have in common; `teaching` is there where the node is taught.
    pub fn common(&self, teaching: Option<Arc<Teaching>>) -> Common {
        Common { basis: self.basis_keeper(), teaching }
    }

    /// What the stages derive from the tokens of this model.
    ///
    /// # Errors
    /// As [`Model::dense`].
    pub fn deriver(&self, config: &Config, common: &Common) -> anyhow::Result<Deriver> {
        Ok(Deriver::new(DeriverConfig {
            card: self.card.clone(),
            features_dtype: config.features_dtype,
            reduced_channels: config.reduced_channels,
            common: common.clone(),
            taps: self.job.taps.clone(),
            dense: self.dense(config)?,
            depth_resolution: config.depth_resolution,
        }))
    }

    /// The workers that run the model side by side on one set of weights, one for each of `streams`: the first
    /// has the engine that was loaded. All are ready for frames.
    ///
    /// # Errors
    /// As [`Model::dense`], or an engine's own.
    pub fn workers(self, config: &Config, common: &Common, streams: Streams) -> anyhow::Result<Vec<Worker>> {
        let first = self.deriver(config, common)?;
        let another = |engine| Ok(Worker { engine, deriver: first.beside(self.dense(config)?) });
        let mut others = streams.others.into_iter().map(another).collect::<anyhow::Result<Vec<_>>>()?;
        let Self { engine, job, .. } = self;
        others.insert(0, Worker { engine, deriver: first });
        // What frames will need on a GPU, heads included, so that none of them waits for it. How many windows
        // there are, the first image of a camera tells.
        if job.device.is_cuda() && job.launch == LaunchMode::Graph {
            let sizes = if config.fit == Fit::Window { &[][..] } else { &job.sizes };
            for Worker { engine, deriver } in &mut others {
                record(&mut **engine, deriver, sizes, &job.batches)?;
            }
        }
        Ok(others)
    }

    /// What encodes this model's outputs.
    pub fn encoder(&self, config: &Config) -> publish::Encoder {
        publish::Encoder::new(EncoderConfig {
            has_labels: config.teaching,
            depth_resolution: config.depth_resolution,
            points_stride: config.points_stride,
        })
    }
}
