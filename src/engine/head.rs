//! A head's network where it runs: compiled where the engine folder has it for the size, else operation by
//! operation, and on a GPU recorded once and replayed as a CUDA graph.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::time::Duration;

use tch::{Device, Kind, Tensor};

use super::EngineError;
use super::arithmetic::Arithmetic;
use super::compiled::{LoadError, SizedPackage};
use super::graph::{LaunchMode, WARM_UP_RUNS};
use super::job::EngineJob;
use super::proof::{self, BatchShape};
use super::store::folder::Folder;
use super::store::manifest::{self, Parity};
use super::timing::Trial;
use super::verdict::{Comparison, Slower};
use crate::ffi::package::{Package, Signature};
use crate::ffi::{
    ShimError,
    cuda::{self, Graph, Stream},
};
use crate::geometry::Size;
use crate::heads::Head;

/// Time for measuring a package of a head.
const HEAD_SHARE: Duration = Duration::from_millis(500);

/// A head and what runs its network.
#[derive(Debug)]
pub struct HeadEngine {
    head: Head,
    packages: Packages,
    /// `None` runs it kernel by kernel.
    graphs: Option<Graphs>,
}

/// A head's compiled network, by size and batch.
#[derive(Debug, Default)]
struct Packages(Vec<SizedPackage>);

/// Recorded work, by what the model has seen at once and the batch.
#[derive(Debug)]
struct Graphs {
    // Recorded graphs go before what they refer to.
    recorded: HashMap<(Size, i64), Option<Recorded>>,
    stream: Stream,
}

/// It reads `taps` and leaves its result in `maps`.
#[derive(Debug)]
struct Recorded {
    graph: Graph,
    taps: Vec<Tensor>,
    maps: Tensor,
}

impl HeadEngine {
    /// Runs `head` operation by operation, on a GPU as `job` runs its model there.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn new(head: Head, job: &EngineJob) -> Result<Self, EngineError> {
        let graphs = match job.device {
            Device::Cuda(index) if job.launch == LaunchMode::Graph => {
                let stream = cuda::load().map_err(ShimError::from)?.stream(index)?;
                Some(Graphs { recorded: HashMap::new(), stream })
            }
            _ => None,
        };
        Ok(Self { head, packages: Packages::default(), graphs })
    }

    /// Takes the packages that `folder` has for the head, each proven against the head itself and timed
    /// beside it. Returns whether there are any, and why they should not serve if one is slower than the head
    /// itself; after an error there are none.
    ///
    /// # Errors
    /// A package that is not whole or does not agree.
    pub fn take_packages(&mut self, folder: &Folder, job: &EngineJob) -> Result<Taken, LoadError> {
        let (packages, proven) = Packages::load(&self.head, folder, job, &mut Trial::at_start())?;
        self.packages = packages;
        match proven.iter().find_map(|proven| proven.times.slower(proven.size, job.device)) {
            _ if self.packages.0.is_empty() => Ok(Taken::Nothing),
            Some(slower) => Ok(Taken::Slower(slower)),
            None => Ok(Taken::Packages),
        }
    }

    /// Lets the packages go: the head runs operation by operation.
    pub fn drop_packages(&mut self) {
        self.packages = Packages::default();
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Raw maps as of [`Head::run`]; `pass` is the size of what the model has seen at once. They may lie
    /// where the next run puts its own. The tokens must be there already.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn run(&mut self, taps: &[Tensor], pass: Size) -> Result<Tensor, EngineError> {
        let _no_grad = tch::no_grad_guard();
        let Self { head, packages, graphs } = self;
        let Some(Graphs { recorded, stream }) = graphs else { return packages.run(head, taps, pass) };
        // It stays this thread's current stream: what is done with the maps is queued behind them.
        stream.use_here()?;
        let recorded = match recorded.entry((pass, batch(taps))) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let recorded = record(stream, taps, |taps| packages.run(head, taps, pass));
                let recorded = recorded.inspect_err(|EngineError { message }| {
                    let name = head.card().task.name();
                    tracing::warn!("no CUDA graph for {name}, it runs kernel by kernel: {message}");
                });
                entry.insert(recorded.ok())
            }
        };
        let Some(Recorded { graph, taps: inputs, maps }) = recorded else {
            return packages.run(head, taps, pass);
        };
        for (input, tap) in inputs.iter().zip(taps) {
            stream.copy(input, tap)?;
        }
        graph.replay()?;
        Ok(maps.shallow_clone())
    }
}

/// What an engine folder has for a head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Taken {
    /// Nothing.
    Nothing,
    /// Its network, compiled.
    Packages,
    /// Its network, compiled, and slower than the head itself.
    Slower(Slower),
}

/// A package of a head that is right.
#[derive(Clone, Debug)]
pub struct ProvenPackage {
    /// Its file.
    pub file: String,
    /// What the model sees at once.
    pub size: Size,
    /// How well it agrees with the head.
    pub parity: Parity,
    /// How long it takes beside the head.
    pub times: Comparison,
}

/// Records `work` on taps of its own that are like `taps`.
fn record(
    stream: &Stream,
    taps: &[Tensor],
    mut work: impl FnMut(&[Tensor]) -> Result<Tensor, EngineError>,
) -> Result<Recorded, EngineError> {
    let taps = taps.iter().map(Tensor::f_zeros_like).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..WARM_UP_RUNS {
        work(&taps).map(drop)?;
    }
    stream.wait()?;
    let (graph, maps) = stream.record(|| work(&taps))?;
    Ok(Recorded { graph, taps, maps })
}

/// The packages that `folder` has for `head`: how well each agrees with it, and how long it takes.
///
/// # Errors
/// As [`HeadEngine::take_packages`].
pub fn proven(
    head: &Head,
    folder: &Folder,
    job: &EngineJob,
    trial: &mut Trial,
) -> Result<Vec<ProvenPackage>, LoadError> {
    Ok(Packages::load(head, folder, job, trial)?.1)
}

impl Packages {
    /// Loads, proves and times what `folder` has.
    fn load(
        head: &Head,
        folder: &Folder,
        job: &EngineJob,
        trial: &mut Trial,
    ) -> Result<(Self, Vec<ProvenPackage>), LoadError> {
        let (mut packages, mut proven) = (Self::default(), Vec::new());
        let constants = head.constants();
        for entry in folder.manifest.parts(head.card().task.name()) {
            let failed = |reason: String| LoadError::of(folder, entry, reason);
            let size = entry.size().map_err(failed)?;
            if !job.sizes.contains(&size) || !fits(entry, &constants) {
                continue;
            }
            let package = open(head, &folder.file(entry)?, entry, size, job.device);
            let package = package.map_err(|err| failed(err.message))?;
            packages.0.push(SizedPackage { size, batch: entry.batch, package });
            let compared =
                packages.prove(head, BatchShape { size, batch: entry.batch[0] }, job.arithmetic, trial);
            let (parity, times) = compared.map_err(|err| failed(err.message))?;
            proven.push(ProvenPackage { file: entry.file.clone(), size, parity, times });
        }
        Ok((packages, proven))
    }

    fn run(&mut self, head: &Head, taps: &[Tensor], pass: Size) -> Result<Tensor, EngineError> {
        let Some(loaded) = self.0.iter_mut().find(|loaded| loaded.serves(pass, batch(taps))) else {
            return Ok(head.run(taps, pass.patches())?);
        };
        let maps = loaded.package.run(&Tensor::f_stack(taps, 1)?)?.into_iter().next();
        maps.ok_or_else(|| EngineError { message: "the package returned nothing".into() })
    }

    /// Compares the compiled network with the head itself on one batch of tokens, its maps and its time.
    fn prove(
        &mut self,
        head: &Head,
        BatchShape { size, batch }: BatchShape,
        arithmetic: Arithmetic,
        trial: &mut Trial,
    ) -> Result<(Parity, Comparison), EngineError> {
        let like = head.constants().swap_remove(0).1;
        let shape = tokens(head, size, batch);
        // Spread like normalised tokens, the same every time.
        let waves = Tensor::f_arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu))?;
        let waves = waves.f_mul_scalar(0.737)?.f_sin()?.f_mul_scalar(1.4)?.f_reshape(shape)?;
        let taps = waves.f_to_kind(like.f_kind()?)?.f_to_device(like.device())?.f_unbind(1)?;
        let expected = head.run(&taps, size.patches())?;
        let compiled = self.run(head, &taps, size)?;
        let (cosine, largest_difference) =
            proof::compare(&proof::vector(&compiled)?, &proof::vector(&expected)?)?;
        let least = arithmetic.least_cosine();
        if cosine.is_nan() || cosine < least {
            let message = format!(
                "its maps have a cosine of {cosine:.6} with the eager head's, at least {least} is asked for"
            );
            return Err(EngineError { message });
        }
        // On the CPU they are there for certain, whatever a GPU still has to do.
        let arrived = |maps: Tensor| {
            let _arrived = maps.f_to_device(Device::Cpu)?;
            Ok(())
        };
        let rounds = trial.compare(
            &mut || arrived(head.run(&taps, size.patches())?),
            &mut || arrived(self.run(head, &taps, size)?),
            trial.left().min(HEAD_SHARE),
            &mut |_| true,
        )?;
        Ok((Parity { batch, cosine, largest_difference }, rounds.times(batch)))
    }
}

fn open(
    head: &Head,
    file: &Path,
    entry: &manifest::PackageEntry,
    size: Size,
    device: Device,
) -> Result<Package, EngineError> {
    let constants = head.constants();
    let kind = constants.first().map_or(Ok(Kind::Float), |(_, tensor)| tensor.f_kind())?;
    let [_, shape @ ..] = tokens(head, size, 1);
    let batch = entry.batch[0]..=entry.batch[1];
    let mut package = Package::open(file, Signature { kind, batch, shape: shape.to_vec(), device })?;
    package.give_constants(constants, |name| entry.form(name))?;
    Ok(package)
}

/// Shape of the tokens of all of a head's taps: `[batch, n_taps, n_cls + P, D]`.
fn tokens(head: &Head, size: Size, batch: i64) -> [i64; 4] {
    let card = head.card();
    let [rows, columns] = size.patches();
    let n_tokens = card.backbone.n_cls_tokens as i64 + rows * columns;
    [batch, card.taps.len() as i64, n_tokens, card.backbone.hidden_size as i64]
}

/// Pictures whose tokens these are.
fn batch(taps: &[Tensor]) -> i64 {
    taps.first().map_or(0, |tap| tap.size()[0])
}

/// Whether a package was compiled for a head with these parameters, whatever their values.
fn fits(entry: &manifest::PackageEntry, constants: &[(String, Tensor)]) -> bool {
    let is_wanted = |(name, tensor): &(String, Tensor)| {
        entry.form(name).is_some_and(|form| (form.kind, form.shape) == (tensor.kind(), tensor.size()))
    };
    entry.constants.len() == constants.len() && constants.iter().all(is_wanted)
}
