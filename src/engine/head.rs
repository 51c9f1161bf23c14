//! A head where it runs: its network compiled where the engine folder has it for the size, else operation by
//! operation, and on a GPU all of it, up to the maps that go out, recorded on the lane of the engine whose
//! tokens it reads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tch::{Device, Kind, Tensor};

use super::arithmetic::Arithmetic;
use super::compiled::{LoadError, SizedPackage};
use super::job::EngineJob;
use super::lane::{Lane, Recording};
use super::proof::{self, BatchShape};
use super::store::folder::Folder;
use super::store::manifest::{self, Parity};
use super::timing::Trial;
use super::verdict::{Comparison, Slower};
use super::{EngineError, Place, Tokens};
use crate::config::Upsampling;
use crate::ffi::package::{Package, Signature};
use crate::geometry::Size;
use crate::heads::{Coverage, Head, Labels};

/// Time for measuring a package of a head.
const HEAD_SHARE: Duration = Duration::from_millis(500);

/// A head and what runs its network.
#[derive(Debug)]
pub struct HeadEngine {
    head: Head,
    packages: Packages,
    recordings: Recordings,
}

/// A head's compiled network, by size and batch.
#[derive(Debug, Default)]
struct Packages(Vec<SizedPackage>);

/// What was recorded on the lane of the engine that serves.
#[derive(Debug, Default)]
struct Recordings {
    // Recorded graphs go before what they refer to; `None` runs kernel by kernel.
    by_key: HashMap<RecordingKey, Option<HeadRecording>>,
    lane: Option<Arc<Lane>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RecordingKey {
    /// Of the tokens: where they are the results of a recording, the head is recorded after that one.
    place: Place,
    batch: i64,
    coverage: Coverage,
    upsampling: Upsampling,
}

/// A recording that reads `taps` and leaves maps.
#[derive(Debug)]
struct HeadRecording {
    recorded: Recording<Vec<Tensor>>,
    taps: Vec<Tensor>,
}

/// What a head is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How the model has seen the image.
    pub coverage: Coverage,
    /// What the maps of a segmentation head are brought to the image's size as.
    pub upsampling: Upsampling,
}

impl HeadEngine {
    /// Runs `head` operation by operation, recorded where the tokens come from an engine that records.
    pub fn new(head: Head) -> Self {
        Self { head, packages: Packages::default(), recordings: Recordings::default() }
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

    /// The head's maps of one image, on its device, at the image's size: metres in float32 of a depth head,
    /// classes and confidence (0 to 255) in uint8 of a segmentation head. `tokens` are those of the head's
    /// own taps. The maps may lie where the next run of any head or engine puts its own.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn run(&mut self, tokens: &Tokens, wanted: Wanted) -> Result<Vec<Tensor>, EngineError> {
        let _no_grad = tch::no_grad_guard();
        let Self { head, packages, recordings } = self;
        let Some(lane) = &tokens.lane else { return packages.maps(head, &tokens.taps, wanted) };
        recordings.follow(lane);
        let Wanted { coverage, upsampling } = wanted;
        let is_in_place = matches!(tokens.place, Place::Results(_));
        let key = RecordingKey { place: tokens.place, batch: batch(&tokens.taps), coverage, upsampling };
        let recording = match recordings.by_key.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let own = |tap: &Tensor| match is_in_place {
                    true => Ok(tap.shallow_clone()),
                    false => tap.f_zeros_like(),
                };
                let taps = tokens.taps.iter().map(own).collect::<Result<Vec<_>, _>>()?;
                let what = format!("{} on {coverage:?}", head.card().task.name());
                let recorded = lane.record(what, || packages.maps(head, &taps, wanted))?;
                entry.insert(recorded.map(|recorded| HeadRecording { recorded, taps }))
            }
        };
        let Some(HeadRecording { recorded, taps }) = recording else {
            return packages.maps(head, &tokens.taps, wanted);
        };
        if !is_in_place {
            for (target, tap) in taps.iter().zip(&tokens.taps) {
                lane.stream.copy(target, tap)?;
            }
        }
        recorded.graph.replay()?;
        Ok(recorded.made.iter().map(Tensor::shallow_clone).collect())
    }
}

impl Recordings {
    /// Those of a lane are of no use on another.
    fn follow(&mut self, lane: &Arc<Lane>) {
        if self.lane.as_ref().is_none_or(|current| !Arc::ptr_eq(current, lane)) {
            self.by_key.clear();
            self.lane = Some(Arc::clone(lane));
        }
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

    /// [`HeadEngine::run`], operation by operation or compiled.
    fn maps(&mut self, head: &Head, taps: &[Tensor], wanted: Wanted) -> Result<Vec<Tensor>, EngineError> {
        let Wanted { coverage, upsampling } = wanted;
        let raw = self.run(head, taps, coverage.pass())?;
        let mut maps = Vec::new();
        maps.extend(head.depth(&raw, coverage)?);
        if let Some(Labels { classes, confidence }) = head.labels(&raw, coverage, upsampling)? {
            let confidence = confidence.f_mul_scalar(255.0)?.f_round()?.f_to_kind(Kind::Uint8)?;
            maps.extend([classes, confidence]);
        }
        Ok(maps)
    }

    /// Raw maps as of [`Head::run`]; `pass` is the size of what the model has seen at once.
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

/// Images whose tokens these are.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::cuda::fake::Fake;

    const SIZE: Size = Size { width: 256, height: 256 };

    fn lane(fake: &Fake) -> Arc<Lane> {
        Arc::new(Lane::new(fake.cuda(), 0, Device::Cpu).unwrap())
    }

    #[test]
    fn a_head_is_recorded_on_the_engines_own_tokens_and_anew_on_the_next_engines() {
        let fake = Fake::begin();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pixio-tiny/depth.safetensors");
        let head = Head::parse(&file, &std::fs::read(&file).unwrap(), Device::Cpu, Kind::Float).unwrap();
        let mut engine = HeadEngine::new(head);
        let wanted = Wanted { coverage: Coverage::Whole(SIZE), upsampling: Upsampling::default() };
        let shape = tokens(engine.head(), SIZE, 1);
        let taps: Vec<_> = (0..shape[1])
            .map(|_| Tensor::randn([1, shape[2], shape[3]], (Kind::Float, Device::Cpu)))
            .collect();
        let tokens = |lane: Option<&Arc<Lane>>, place| Tokens {
            taps: taps.iter().map(Tensor::shallow_clone).collect(),
            lane: lane.cloned(),
            place,
        };
        // Recordings of engines.
        let of_engine = |lane: &Arc<Lane>| lane.record("an engine", || Ok(())).unwrap().unwrap().id;
        let (first, second) = (lane(&fake), lane(&fake));
        let [one, two, four] = [(); 3].map(|()| of_engine(&first));
        let other = of_engine(&second);
        fake.calls();
        let mut check = |tokens: &Tokens, expect: &[&str]| {
            let maps = engine.run(tokens, wanted).unwrap();
            assert_eq!((maps.len(), maps[0].size()), (1, vec![256, 256]));
            assert_eq!(fake.calls(), expect);
        };
        check(&tokens(None, Place::Anywhere), &[]);
        let recorded = ["wait", "begin", "end", "replay"];
        check(&tokens(Some(&first), Place::Results(one)), &recorded);
        check(&tokens(Some(&first), Place::Results(one)), &["replay"]);
        // Tokens that lie elsewhere each time are copied to a recording's own.
        let copied = ["copy", "copy", "copy", "copy", "replay"];
        let recorded_copied = [&recorded[..3], &copied].concat();
        for place in [Place::Anywhere, Place::PartOf(two), Place::PartOf(four)] {
            // For each recording of an engine anew: an earlier one would write to the tokens of the next image.
            check(&tokens(Some(&first), place), &recorded_copied);
            check(&tokens(Some(&first), place), &copied);
        }
        let n_freed = ["free"; 4];
        check(&tokens(Some(&second), Place::Results(other)), &[&n_freed[..], &recorded].concat());
    }
}
