//! Which engine serves: the one that was asked for, a fitting one from the cache, or the eager model.

use std::fmt;
use std::path::{Path, PathBuf};

use tch::{Device, Kind};

use super::arithmetic::Arithmetic;
use super::compiled::{Compiled, LoadError};
use super::eager::Eager;
use super::store::folder::{self, Folder, FolderError};
use super::graph::{Launch, OnGpu};
use super::store::machine::{Machine, torch_version};
use super::store::manifest::{Architecture, BACKBONE, Wanted};
use super::proof::{ProofError, pictures, prove};
use super::timing::{Rounds, Trial};
use super::verdict::{Slower, Times};
use super::{Engine, EngineError};
use crate::geometry::Size;
use crate::pixio::{ModelError, Pixio, Source};

/// Engines lie in this folder of the cache.
pub const ENGINES: &str = "engines";

/// A loaded model and what its engine has to do.
#[derive(Debug)]
pub struct Task {
    /// Where the model comes from.
    pub source: Source,
    /// The model on `device`, in the element type of `arithmetic`.
    pub pixio: Pixio,
    /// Where it runs.
    pub device: Device,
    /// Its arithmetic.
    pub arithmetic: Arithmetic,
    /// Blocks whose tokens are needed, counted from 1, ascending.
    pub taps: Vec<usize>,
    /// Sizes of the model input: one, or those between which `fit: auto` chooses.
    pub sizes: Vec<Size>,
    /// Pictures of the batches that come, ascending.
    pub batches: Vec<i64>,
    /// How the work reaches a GPU.
    pub launch: Launch,
    /// The heads that read its tokens: task and file.
    pub heads: Vec<(&'static str, PathBuf)>,
}

/// Why an engine folder does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The folder itself.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It was built for something else.
    #[error("engine {folder}: {reason}")]
    Misfit {
        /// The folder.
        folder: String,
        /// Both sides.
        reason: String,
    },
    /// A package cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its tokens are wrong.
    #[error("engine {folder}: {reason}")]
    Proof {
        /// The folder.
        folder: String,
        /// The figures.
        reason: ProofError,
    },
    /// It is right, and slower than the model without it.
    #[error("engine {folder}: {reason}")]
    Slow {
        /// The folder.
        folder: String,
        /// The figures.
        reason: Slower,
    },
    /// The reference for the proof cannot be loaded.
    #[error(transparent)]
    Reference(#[from] ModelError),
    /// The device.
    #[error(transparent)]
    Device(#[from] EngineError),
}

impl Task {
    /// The same on the same memory.
    pub fn shallow_clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            pixio: self.pixio.shallow_clone(),
            taps: self.taps.clone(),
            sizes: self.sizes.clone(),
            batches: self.batches.clone(),
            heads: self.heads.clone(),
            ..*self
        }
    }

    /// The eager engine. Int8 exists only compiled: here it is float32.
    ///
    /// # Errors
    /// The model lacks a block, or CUDA's own.
    pub fn eager(&self) -> Result<Box<dyn Engine>, Refusal> {
        let eager = Eager::new(self.pixio.shallow_clone(), &self.taps)?;
        let mut engine = self.on_device(Box::new(eager))?;
        // What a graph replays must be what was recorded.
        if let (Device::Cuda(_), Launch::Graph, Some(&size)) = (self.device, self.launch, self.sizes.first())
        {
            let (least, trial) = (self.arithmetic.least_cosine(), &mut Trial::at_start());
            let proven = prove(&mut *engine, &self.pixio, (size, 1), least, trial);
            proven.map_err(|reason| Refusal::Proof { folder: engine.kind(), reason })?;
        }
        Ok(engine)
    }

    /// The engine in `folder`, once it has been checked, loaded and proven right.
    ///
    /// # Errors
    /// Why it does not serve.
    pub fn load(&self, folder: &Folder) -> Result<Box<dyn Engine>, Refusal> {
        Ok(self.proven(folder, &mut Trial::at_start())?.0)
    }

    /// The engine in `folder`, once it has been checked, loaded, proven right and timed beside the eager model.
    ///
    /// # Errors
    /// Why it does not serve; to be slow is no error.
    pub fn tried(&self, folder: &Folder, trial: &mut Trial) -> Result<Tried, Refusal> {
        let (mut engine, proofs) = self.proven(folder, trial)?;
        let mut eager = self.eager()?;
        let mut tried = None;
        for (n_before, (size, batch, rounds)) in proofs.iter().enumerate() {
            let rounds = if self.is_reference() && rounds.are_hopeless() {
                rounds.clone()
            } else {
                let images = pictures(*size, *batch)?.f_to_device(self.device).map_err(EngineError::from)?;
                let share = trial.left() / u32::try_from(proofs.len() - n_before).unwrap_or(1);
                trial.engines(&mut *eager, &mut *engine, &images, share, &mut |_| true)?
            };
            let times = rounds.times(*batch);
            let slower = times.slower(*size, self.device);
            if slower.is_some() || tried.is_none() {
                tried = Some((times, slower));
            }
            if slower.is_some() {
                break;
            }
        }
        let (times, slower) = tried.unzip();
        Ok(Tried { engine, times, slower: slower.flatten() })
    }

    /// Whether the eager model is what engines are compared with, so that a proof has timed both already.
    pub(super) fn is_reference(&self) -> bool {
        self.device == Device::Cpu && self.pixio.kind() == Kind::Float
    }

    /// The engine in `folder`, and how long it and the reference took at every size: `(size, batch, rounds)`.
    #[expect(clippy::type_complexity, reason = "it goes no further than this file")]
    fn proven(
        &self,
        folder: &Folder,
        trial: &mut Trial,
    ) -> Result<(Box<dyn Engine>, Vec<(Size, i64, Rounds)>), Refusal> {
        let machine = Machine::of(self.device).map_err(EngineError::from)?;
        let wanted = Wanted {
            architecture: Architecture::of(self.pixio.config()),
            taps: &self.taps,
            precision: self.arithmetic,
            sizes: &self.sizes,
            batches: &self.batches,
            machine: &machine,
            torch: &torch_version(),
        };
        let name = || folder.path().display().to_string();
        folder.manifest.check(&wanted).map_err(|reason| Refusal::Misfit { folder: name(), reason })?;
        let mut engine = self.assemble(folder)?;
        let (reference, mut proofs) = (self.reference()?, Vec::new());
        for package in folder.manifest.parts(BACKBONE) {
            let Ok(size) = package.size() else { continue };
            if self.sizes.contains(&size) {
                let (batch, least) = (package.batch[0], self.arithmetic.least_cosine());
                let proven = prove(&mut *engine, &reference, (size, batch), least, trial);
                let proven = proven.map_err(|reason| Refusal::Proof { folder: name(), reason })?;
                tracing::debug!("{}: cosine {:.7}", package.file, proven.parity.cosine);
                proofs.push((size, batch, proven.rounds));
            }
        }
        Ok((engine, proofs))
    }

    /// The engine in `folder`, not proven yet.
    pub(super) fn assemble(&self, folder: &Folder) -> Result<Box<dyn Engine>, Refusal> {
        let eager = Eager::new(self.pixio.shallow_clone(), &self.taps)?;
        let compiled = Compiled::load(folder, eager, self.device, |size| self.sizes.contains(&size))?;
        Ok(self.on_device(Box::new(compiled))?)
    }

    fn on_device(&self, engine: Box<dyn Engine>) -> Result<Box<dyn Engine>, EngineError> {
        match self.device {
            Device::Cuda(index) => Ok(Box::new(OnGpu::new(engine, index, self.launch)?)),
            _ => Ok(engine),
        }
    }

    /// The model in float32, against which an engine is proven; the model itself where it is that.
    ///
    /// # Errors
    /// It cannot be loaded once more.
    pub fn reference(&self) -> Result<Pixio, ModelError> {
        match self.pixio.kind() {
            Kind::Float => Ok(self.pixio.shallow_clone()),
            _ => Pixio::load(&self.source, self.device, Kind::Float),
        }
    }

    /// The command that builds an engine for this.
    pub fn build_command(&self) -> BuildCommand<'_> {
        BuildCommand(self)
    }
}

/// An engine that is right, and how long it takes.
pub struct Tried {
    /// It.
    pub engine: Box<dyn Engine>,
    /// Its times at the first size, or at the one where it is slower.
    pub times: Option<Times>,
    /// Why it should not serve, if it is slower than the eager model.
    pub slower: Option<Slower>,
}

impl Tried {
    /// The engine, unless it is slower than the eager model.
    ///
    /// # Errors
    /// It is.
    fn fast(self, folder: &Folder) -> Result<Self, Refusal> {
        match self.slower {
            None => Ok(self),
            Some(reason) => Err(Refusal::Slow { folder: folder.path().display().to_string(), reason }),
        }
    }
}

/// An engine of the cache that serves `task` and is no slower than the eager model; each that should and does not is
/// warned about and added to `refused`. `None` when there is none.
pub fn from_cache(
    task: &Task,
    cache: &Path,
    trial: &mut Trial,
    refused: &mut Vec<Refusal>,
) -> Option<(Tried, Folder)> {
    for found in folder::all(&cache.join(ENGINES)) {
        let served = found
            .map_err(Refusal::from)
            .and_then(|folder| Ok((task.tried(&folder, trial)?.fast(&folder)?, folder)));
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

/// Prints as a command line.
pub struct BuildCommand<'a>(&'a Task);

impl fmt::Display for BuildCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Task { source, device, arithmetic, taps, sizes, pixio, heads, batches, .. } = self.0;
        write!(f, "pixio_node build --model {} --precision {arithmetic}", source.text())?;
        match device {
            Device::Cuda(index) => write!(f, " --device cuda:{index}")?,
            _ => write!(f, " --device cpu")?,
        }
        for Size { width, height } in sizes {
            write!(f, " --size {width}x{height}")?;
        }
        if taps.as_slice() != [pixio.config().num_hidden_layers] {
            let taps: Vec<_> = taps.iter().map(usize::to_string).collect();
            write!(f, " --layers {}", taps.join(","))?;
        }
        if batches.last().is_some_and(|largest| 8 < *largest) {
            let batches: Vec<_> = batches.iter().map(i64::to_string).collect();
            write!(f, " --batch {}", batches.join(","))?;
        }
        for (name, file) in heads {
            write!(f, " --{name}-head {}", file.display())?;
        }
        Ok(())
    }
}
