//! The PCA basis: the one of the configuration, or the one that an earlier run saved.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::Config;
use crate::pca::Basis;
use crate::runtime::cache;
use crate::stages::derive::ModelCard;

/// A basis and its place on disk.
pub struct SavedBasis {
    /// The basis that was saved or given, if any.
    pub basis: Option<Basis>,
    /// The file that holds the basis, or will; `None` without a cache folder.
    pub path: Option<PathBuf>,
}

impl SavedBasis {
    /// Reads the basis for tokens of `n_channels` channels of the model that `card` names.
    ///
    /// # Errors
    /// A file that was given holds no basis for this model.
    pub fn load(config: &Config, card: &ModelCard, n_channels: usize) -> anyhow::Result<Self> {
        let cached = cache::folder().map(|folder| Basis::cache_path(&folder, &card.revision, card.layer));
        let read = |path: &Path| Basis::load(path, &card.revision, card.layer, n_channels);
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
            let (n_components, asked) = (basis.n_components(), config.reduced_channels);
            if n_components < asked {
                tracing::warn!("reduced_channels: {asked} were asked for, the PCA basis has {n_components}");
            }
        }
        Ok(Self { basis, path })
    }
}
