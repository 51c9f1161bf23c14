//! The engine that runs the encoder: which one the configuration allows, and what the log says of the choice.

use std::path::PathBuf;

use tch::Device;

use crate::config::{Config, EngineChoice};
use crate::engine::Engine;
use crate::engine::arithmetic::Arithmetic;
use crate::engine::builder::DEFAULT_BATCHES;
use crate::engine::choose::{Candidates, Chosen, choose};
use crate::engine::job::{EngineJob, Refusal};
use crate::engine::store::folder::{Folder, FolderError};
use crate::runtime::cache;

use super::heads::head_files;

/// An engine that is ready to be used.
pub struct LoadedEngine {
    /// The engine.
    pub engine: Box<dyn Engine>,
    /// The folder that holds it; `None` for the eager model.
    pub folder: Option<Folder>,
    /// Whether the cache was searched and has no engine that serves, except for those that are slower than
    /// the eager model: building one again would not help.
    pub lacks_engine: bool,
    /// Why those that should serve do not.
    pub fell_back: Option<String>,
}

/// The folder above the cached engines.
pub fn engine_cache(config: &Config) -> Option<PathBuf> {
    config.engine_cache.clone().or_else(cache::folder)
}

/// Where `config` allows an engine to come from.
///
/// # Errors
/// A folder that is named holds no engine that can be trusted.
pub fn candidates(config: &Config) -> Result<Candidates, FolderError> {
    Ok(match &config.engine {
        EngineChoice::Folder(path) => Candidates::Folder(Folder::open(path)?),
        EngineChoice::Auto => Candidates::Cache(engine_cache(config)),
        EngineChoice::Eager => Candidates::Eager,
    })
}

/// Chooses among `candidates` the engine that does `job`.
///
/// # Errors
/// A folder that was asked for does not serve, or the eager engine's own.
pub fn load(config: &Config, job: &EngineJob, candidates: Candidates) -> Result<LoadedEngine, Refusal> {
    let Chosen { engine, folder, times, slower, refused } = choose(job, candidates)?;
    if let Some(folder) = folder {
        let path = folder.path().display();
        let times = times.map(|times| format!(": {times}")).unwrap_or_default();
        tracing::info!("engine {} from {path}{times}", engine.kind());
        if let Some(slower) = slower {
            tracing::warn!(
                "engine {path}: {slower}; used because `engine` names it, engine:=auto would not use it"
            );
        }
        return Ok(LoadedEngine { engine, folder: Some(folder), lacks_engine: false, fell_back: None });
    }
    let is_slow = refused.iter().any(|refusal| matches!(refusal, Refusal::Slow { .. }));
    let is_auto = config.engine == EngineChoice::Auto;
    let command = build_command(config, job);
    if is_slow {
        tracing::info!("engine eager, in {}", job.arithmetic.eager());
    } else if job.arithmetic == Arithmetic::Int8 {
        tracing::warn!(
            "precision: int8 needs a compiled engine, the eager model runs in float32 until then: `{command}`"
        );
    } else if is_auto {
        tracing::info!("engine eager; `{command}` compiles one");
    }
    let refused: Vec<_> = refused.iter().map(ToString::to_string).collect();
    let fell_back = (!refused.is_empty()).then(|| refused.join("; "));
    Ok(LoadedEngine { engine, folder: None, lacks_engine: is_auto && !is_slow, fell_back })
}

/// The command line that builds an engine for `job`.
pub fn build_command(config: &Config, job: &EngineJob) -> String {
    let EngineJob { source, device, arithmetic, taps, sizes, pixio, batches, .. } = job;
    let device = match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    };
    let mut command =
        format!("pixio_node build --model {} --precision {arithmetic} --device {device}", source.text());
    for size in sizes {
        command += &format!(" --size {size}");
    }
    let list = |numbers: &mut dyn Iterator<Item = String>| numbers.collect::<Vec<_>>().join(",");
    if taps.as_slice() != [pixio.config().num_hidden_layers] {
        command += &format!(" --layers {}", list(&mut taps.iter().map(usize::to_string)));
    }
    if batches.last() > DEFAULT_BATCHES.last() {
        command += &format!(" --batch {}", list(&mut batches.iter().map(i64::to_string)));
    }
    for head in head_files(config) {
        command += &format!(" --{}-head {}", head.task, head.file.display());
    }
    command
}
