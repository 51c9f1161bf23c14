//! The PCA basis of the node: estimated over the first frames, or known, and replaced when somebody asks for
//! that.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context, bail, ensure};
use tch::Tensor;

use super::ModelCard;
use crate::pca::{Basis, Estimator, N_FRAMES};
use crate::runtime::lock::lock;

/// Shared by the model's thread, which uses it, and by who asks about it.
#[derive(Debug)]
pub struct BasisKeeper {
    state: Mutex<State>,
    card: ModelCard,
    /// Where it is saved; `None` without a cache folder.
    path: Option<PathBuf>,
}

/// Where the basis comes from.
#[derive(Debug)]
enum State {
    Ready {
        basis: Basis,
        is_saved: bool,
    },
    Gathering {
        estimator: Estimator,
        /// Whether the basis replaces one that a service call has discarded; such a basis is saved only on
        /// request.
        is_trial: bool,
    },
    /// An estimate failed once; it would fail again.
    Failed,
}

impl BasisKeeper {
    /// Begins with `basis`, read from `path`, or with one yet to be estimated and saved there.
    pub fn new(basis: Option<Basis>, card: ModelCard, path: Option<PathBuf>) -> Self {
        let state = match basis {
            Some(basis) => State::Ready { basis, is_saved: true },
            None => State::Gathering { estimator: Estimator::default(), is_trial: false },
        };
        Self { state: Mutex::new(state), card, path }
    }

    /// Whether there is a basis or may be one.
    pub(super) fn can_project(&self) -> bool {
        !matches!(*self.lock(), State::Failed)
    }

    /// What `work` makes with the basis, after `patches` have been added to the estimate where there is none
    /// yet.
    ///
    /// # Errors
    /// The errors of `work`.
    pub(super) fn with<T, E>(
        &self,
        patches: &Tensor,
        pixels: &[u8],
        work: impl FnOnce(&Basis) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let mut state = self.lock();
        if let State::Gathering { estimator, is_trial } = &mut *state {
            let estimate = estimator.add(patches, pixels).map_err(anyhow::Error::from);
            match estimate.and_then(|()| if estimator.is_full() { estimator.finish() } else { Ok(None) }) {
                Ok(None) => (),
                Ok(Some(basis)) => {
                    let is_saved = !*is_trial && self.keep(&basis);
                    *state = State::Ready { basis, is_saved };
                }
                Err(err) => {
                    tracing::error!("no PCA basis, so neither features/reduced nor features/pca: {err:#}");
                    *state = State::Failed;
                }
            }
        }
        match &*state {
            State::Ready { basis, .. } => work(basis).map(Some),
            State::Gathering { .. } | State::Failed => Ok(None),
        }
    }

    /// Saves a basis that was estimated, and says so. Whether it is saved now.
    fn keep(&self, basis: &Basis) -> bool {
        match self.write(basis) {
            Ok(path) => {
                tracing::info!("PCA basis {} estimated and saved as {path}", basis.hash);
                return true;
            }
            Err(err) if self.path.is_none() => tracing::info!("PCA basis {} estimated; {err}", basis.hash),
            Err(err) => tracing::warn!("PCA basis {} is used but not saved: {err:#}", basis.hash),
        }
        false
    }

    fn write(&self, basis: &Basis) -> anyhow::Result<String> {
        let path = self.path.as_ref().context("there is no cache folder to save it in")?;
        let ModelCard { name, revision, layer, .. } = &self.card;
        basis.save(path, name, revision, *layer)?;
        Ok(path.display().to_string())
    }

    /// Saves the basis, also over the one that was there before. Returns what was done.
    ///
    /// # Errors
    /// There is no basis, or no file to save it in.
    pub fn save(&self) -> anyhow::Result<String> {
        match &mut *self.lock() {
            State::Ready { basis, is_saved } => {
                let path = self.write(basis)?;
                *is_saved = true;
                Ok(format!("PCA basis {} saved as {path}", basis.hash))
            }
            State::Gathering { estimator, .. } => bail!(
                "there is no PCA basis yet: {} of {N_FRAMES} frames are collected; frames count while \
                 features/pca or features/reduced has a subscriber",
                estimator.n_frames()
            ),
            State::Failed => bail!("there is no PCA basis: its estimate has failed"),
        }
    }

    /// Throws the basis away: one is estimated over the next frames and not saved until
    /// [`BasisKeeper::save`]. Returns what was done.
    ///
    /// # Errors
    /// One is being estimated already.
    pub fn reset(&self) -> anyhow::Result<String> {
        let mut state = self.lock();
        if let State::Gathering { estimator, .. } = &*state {
            let n = estimator.n_frames();
            ensure!(0 < n, "a PCA basis is being estimated already: no frame has come for it yet");
        }
        *state = State::Gathering { estimator: Estimator::default(), is_trial: true };
        Ok(format!(
            "the PCA basis is estimated anew over the next {N_FRAMES} frames; save_pca_basis keeps it for \
             the next start"
        ))
    }

    /// What there is now, in words.
    pub fn summary(&self) -> String {
        let path = self.path.as_ref().map(|path| path.display().to_string());
        match &*self.lock() {
            State::Ready { basis, is_saved: true } => {
                format!("{} in {}", basis.hash, path.unwrap_or_default())
            }
            State::Ready { basis, is_saved: false } => format!("{}, not saved", basis.hash),
            State::Gathering { estimator, .. } => {
                format!("being estimated: {} of {N_FRAMES} frames", estimator.n_frames())
            }
            State::Failed => "none: its estimate has failed".to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tch::{Device, Kind};

    use super::*;

    fn feed(keeper: &BasisKeeper, n_frames: usize) -> Option<String> {
        let textured: Vec<u8> = (0..3000u32).map(|i| (i * 37 % 256) as u8).collect();
        let frame = || {
            let patches = Tensor::randn([16, 5], (Kind::Float, Device::Cpu));
            let hash = |basis: &Basis| Ok::<_, Infallible>(basis.hash.clone());
            keeper.with(&patches, &textured, hash).unwrap_or_default()
        };
        (0..n_frames).fold(None, |last, _| frame().or(last))
    }

    #[test]
    fn a_basis_is_estimated_saved_thrown_away_and_saved_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("basis.safetensors");
        let card = ModelCard { name: "m".into(), revision: "0".into(), layer: 1, n_cls_tokens: 1 };
        let keeper = BasisKeeper::new(None, card, Some(path.clone()));
        assert_eq!(keeper.summary(), "being estimated: 0 of 16 frames");
        assert!(keeper.reset().unwrap_err().to_string().contains("already"));
        assert_eq!(feed(&keeper, N_FRAMES - 1), None);
        let refusal = keeper.save().unwrap_err().to_string();
        assert!(refusal.contains("15 of 16 frames"), "{refusal}");
        let first = feed(&keeper, 1).unwrap();
        assert_eq!(keeper.summary(), format!("{first} in {}", path.display()));
        let saved = std::fs::read(&path).unwrap();

        assert!(keeper.reset().unwrap().contains("16 frames"));
        let second = feed(&keeper, N_FRAMES).unwrap();
        assert_eq!(keeper.summary(), format!("{second}, not saved"));
        assert!(second != first && std::fs::read(&path).unwrap() == saved);
        assert_eq!(keeper.save().unwrap(), format!("PCA basis {second} saved as {}", path.display()));
        assert!(std::fs::read(&path).unwrap() != saved);
        assert_eq!(keeper.summary(), format!("{second} in {}", path.display()));
    }
}
