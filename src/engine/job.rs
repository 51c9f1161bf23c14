//! What an engine has to do, and the engines that do it: eager, or from a folder, checked, proven and timed.

use tch::{Device, Kind};

use super::arithmetic::Arithmetic;
use super::compiled::{Compiled, LoadError};
use super::eager::Eager;
use super::graph::{LaunchMode, OnGpu};
use super::lane::Lane;
use super::proof::{BatchShape, ProofError, prove, test_images};
use super::reference::KeptReference;
use super::store::folder::{Folder, FolderError};
use super::store::machine::{Machine, torch_version};
use super::store::manifest::{Architecture, BACKBONE, Requirements};
use super::timing::{Rounds, Trial};
use super::verdict::{Comparison, Slower};
use super::{Engine, EngineError};
use crate::ffi::{ShimError, cuda};
use crate::geometry::Size;
use crate::pixio::{ModelError, Pixio, Source};

/// A loaded model and what its engine has to do.
#[derive(Debug)]
pub struct EngineJob {
    /// Where the model comes from.
    pub source: Source,
    /// The model on `device`, in the element type of `arithmetic`.
    pub pixio: Pixio,
    /// Where it runs.
    pub device: Device,
    /// Arithmetic of the model.
    pub arithmetic: Arithmetic,
    /// Blocks whose tokens are needed, counted from 1, ascending.
    pub taps: Vec<usize>,
    /// Sizes of the model input: one, or those between which `fit: auto` chooses.
    pub sizes: Vec<Size>,
    /// Images of the batches that come, ascending.
    pub batches: Vec<i64>,
    /// How the work reaches a GPU.
    pub launch: LaunchMode,
}

/// Why an engine folder does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The folder itself.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The engine was built for something else.
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
    /// The tokens of the engine are wrong.
    #[error("engine {folder}: {reason}")]
    Proof {
        /// The folder.
        folder: String,
        /// The figures.
        reason: ProofError,
    },
    /// The engine is right, but slower than the eager model.
    #[error("engine {folder}: {reason}")]
    Slow {
        /// The folder.
        folder: String,
        /// The figures.
        reason: Slower,
    },
    /// The reference model cannot be loaded.
    #[error(transparent)]
    Reference(#[from] ModelError),
    /// The device.
    #[error(transparent)]
    Device(#[from] EngineError),
}

impl EngineJob {
    /// The same on the same memory.
    pub fn shallow_clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            pixio: self.pixio.shallow_clone(),
            taps: self.taps.clone(),
            sizes: self.sizes.clone(),
            batches: self.batches.clone(),
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
        if let (Device::Cuda(_), LaunchMode::Graph, Some(&size)) =
            (self.device, self.launch, self.sizes.first())
        {
            let (least, trial) = (self.arithmetic.least_cosine(), &mut Trial::at_start());
            let (mut pixio, shape) = (self.pixio.shallow_clone(), BatchShape { size, batch: 1 });
            let proven = prove(&mut *engine, &mut pixio, shape, least, trial);
            proven.map_err(|reason| Refusal::Proof { folder: engine.kind(), reason })?;
        }
        Ok(engine)
    }

    /// The engine in `folder`, once it has been checked, loaded and proven right.
    ///
    /// # Errors
    /// Why it does not serve.
    pub fn load(&self, folder: &Folder) -> Result<Box<dyn Engine>, Refusal> {
        Ok(self.proven(folder, &mut Trial::at_start())?.engine)
    }

    /// The engine in `folder`, once it has been checked, loaded, proven right and timed beside the eager
    /// model.
    ///
    /// # Errors
    /// Why it does not serve; to be slow is no error.
    pub fn tried(&self, folder: &Folder, trial: &mut Trial) -> Result<Tried, Refusal> {
        let ProvenEngine { mut engine, proofs } = self.proven(folder, trial)?;
        let mut eager = self.eager()?;
        let mut tried = None;
        for (n_before, (shape, rounds)) in proofs.iter().enumerate() {
            let rounds = if self.is_reference() && rounds.are_hopeless() {
                rounds.clone()
            } else {
                let images = test_images(*shape)?.f_to_device(self.device).map_err(EngineError::from)?;
                let share = trial.left() / u32::try_from(proofs.len() - n_before).unwrap_or(1);
                trial.engines(&mut *eager, &mut *engine, &[images], share, &mut |_| true)?
            };
            let times = rounds.times(shape.batch);
            let slower = times.slower(shape.size, self.device);
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

    /// The engine in `folder`, and how long it and the reference took at every size.
    fn proven(&self, folder: &Folder, trial: &mut Trial) -> Result<ProvenEngine, Refusal> {
        let machine = Machine::of(self.device).map_err(EngineError::from)?;
        let wanted = Requirements {
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
        let (mut reference, mut proofs) = (KeptReference::of(self), Vec::new());
        for package in folder.manifest.parts(BACKBONE) {
            let Ok(size) = package.size() else { continue };
            if self.sizes.contains(&size) {
                let shape = BatchShape { size, batch: package.batch[0] };
                let least = self.arithmetic.least_cosine();
                let mut proven = prove(&mut *engine, &mut reference, shape, least, trial);
                // Before an engine is refused, what it was compared with is made anew.
                if matches!(proven, Err(ProofError::Differs { .. })) && reference.forget(shape, &self.taps) {
                    proven = prove(&mut *engine, &mut reference, shape, least, trial);
                }
                let proven = proven.map_err(|reason| Refusal::Proof { folder: name(), reason })?;
                tracing::debug!("{}: cosine {:.7}", package.file, proven.parity.cosine);
                proofs.push((shape, proven.rounds));
            }
        }
        Ok(ProvenEngine { engine, proofs })
    }

    /// The engine in `folder`, not proven here.
    ///
    /// # Errors
    /// Its packages cannot be loaded, or CUDA's own.
    pub fn assemble(&self, folder: &Folder) -> Result<Box<dyn Engine>, Refusal> {
        let eager = Eager::new(self.pixio.shallow_clone(), &self.taps)?;
        let compiled = Compiled::load(folder, eager, self.device, |size| self.sizes.contains(&size))?;
        Ok(self.on_device(Box::new(compiled))?)
    }

    fn on_device(&self, engine: Box<dyn Engine>) -> Result<Box<dyn Engine>, EngineError> {
        match self.device {
            Device::Cuda(index) => {
                let cuda = cuda::load().map_err(ShimError::from)?;
                Ok(Box::new(OnGpu::new(engine, Lane::new(cuda, index, self.device)?, self.launch)))
            }
            _ => Ok(engine),
        }
    }

    /// The model in float32, against which an engine is proven; the model itself where it is that.
    ///
    /// # Errors
    /// The model cannot be loaded again.
    pub fn reference(&self) -> Result<Pixio, ModelError> {
        match self.pixio.kind() {
            Kind::Float => Ok(self.pixio.shallow_clone()),
            _ => Pixio::load(&self.source, self.device, Kind::Float),
        }
    }
}

/// An engine that is right.
struct ProvenEngine {
    engine: Box<dyn Engine>,
    /// How long the reference and the engine took, for the smallest batch of every size.
    proofs: Vec<(BatchShape, Rounds)>,
}

/// An engine that is right, and how long it takes.
pub struct Tried {
    /// The engine.
    pub engine: Box<dyn Engine>,
    /// Times at the first size, or at the one where the engine is slower.
    pub times: Option<Comparison>,
    /// Why it should not serve, if it is slower than the eager model.
    pub slower: Option<Slower>,
}

impl Tried {
    /// The engine, unless it is slower than the eager model.
    ///
    /// # Errors
    /// The engine is slower than the eager model.
    pub(super) fn fast(self, folder: &Folder) -> Result<Self, Refusal> {
        match self.slower {
            None => Ok(self),
            Some(reason) => Err(Refusal::Slow { folder: folder.path().display().to_string(), reason }),
        }
    }
}
