//! Which engine serves: the one that was asked for, a fitting one from the cache, or the eager model.

use std::path::{Path, PathBuf};

use super::Engine;
use super::arithmetic::Arithmetic;
use super::job::{EngineJob, Refusal, Tried};
use super::store::folder::{self, Folder};
use super::timing::Trial;
use super::verdict::{Comparison, Slower};

/// Engines lie in this folder of the cache.
pub const ENGINES: &str = "engines";

/// Where an engine may come from.
#[expect(clippy::large_enum_variant, reason = "there is one, at start")]
#[derive(Debug)]
pub enum Candidates {
    /// The engine in this folder, which must serve.
    Folder(Folder),
    /// The engines in this cache folder, if any, or else the eager model.
    Cache(Option<PathBuf>),
    /// Only the eager model.
    Eager,
}

impl Candidates {
    /// The arithmetic of the folder; `None` leaves the choice open.
    pub fn arithmetic(&self) -> Option<Arithmetic> {
        match self {
            Self::Folder(folder) => Some(folder.manifest.precision),
            Self::Cache(_) | Self::Eager => None,
        }
    }
}

/// The engine that was chosen.
pub struct Chosen {
    /// The engine.
    pub engine: Box<dyn Engine>,
    /// The folder that holds it; `None` for the eager model.
    pub folder: Option<Folder>,
    /// Times of the engine and of the eager model, where both were measured.
    pub times: Option<Comparison>,
    /// Why it should not serve although it was asked for.
    pub slower: Option<Slower>,
    /// Why engines of the cache that should serve do not.
    pub refused: Vec<Refusal>,
}

/// Chooses among `candidates` the engine that does `job`.
///
/// # Errors
/// A folder that was asked for does not serve, or the eager engine's own.
pub fn choose(job: &EngineJob, candidates: Candidates) -> Result<Chosen, Refusal> {
    let (mut refused, mut trial) = (Vec::new(), Trial::at_start());
    let compiled = match candidates {
        Candidates::Folder(folder) => Some((job.tried(&folder, &mut trial)?, folder)),
        Candidates::Cache(cache) => cache.and_then(|cache| from_cache(job, &cache, &mut trial, &mut refused)),
        Candidates::Eager => None,
    };
    let Some((Tried { engine, times, slower }, folder)) = compiled else {
        return Ok(Chosen { engine: job.eager()?, folder: None, times: None, slower: None, refused });
    };
    Ok(Chosen { engine, folder: Some(folder), times, slower, refused: Vec::new() })
}

/// An engine of the cache that serves `job` and is no slower than the eager model; each that should and does
/// not is warned about and added to `refused`. `None` when there is none.
pub fn from_cache(
    job: &EngineJob,
    cache: &Path,
    trial: &mut Trial,
    refused: &mut Vec<Refusal>,
) -> Option<(Tried, Folder)> {
    for opened in folder::all(&cache.join(ENGINES)) {
        let served = opened
            .map_err(Refusal::from)
            .and_then(|folder| Ok((job.tried(&folder, trial)?.fast(&folder)?, folder)));
        match served {
            Ok(served) => return Some(served),
            // The cache holds engines of many models.
            Err(misfit @ Refusal::Misfit { .. }) => tracing::debug!("{misfit}"),
            Err(refusal) => {
                tracing::warn!("{refusal}");
                refused.push(refusal);
            }
        }
    }
    None
}
