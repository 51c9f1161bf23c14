//! What a build proves: that every package is right, and how long it takes beside the eager model. Within a
//! time budget: the smallest batch of every package is tried in any case, larger ones as long as there is
//! time.

use std::time::{Duration, Instant};

use super::Engine;
use super::builder::{BuildError, Plan, Stop};
use super::head;
use super::job::Refusal;
use super::proof::{BatchShape, prove, test_images};
use super::reference::KeptReference;
use super::store::folder::{Draft, Folder};
use super::store::manifest::{BACKBONE, Manifest, PackageEntry};
use super::timing::{Rounds, Trial, WallClock};
use super::verdict::Slower;

/// Rounds of one comparison, if there is time.
const MOST_ROUNDS: usize = 10;

/// Of a comparison that goes on, people hear this often.
const PERIOD: Duration = Duration::from_secs(1);

/// Loads the engine from the draft and adds to every package how well and how fast it does. Also returns why
/// the engine should not serve, if it is slower than the eager model.
pub(super) fn prove_all(
    plan: &Plan,
    draft: &Draft,
    manifest: &mut Manifest,
    stop: &Stop,
    progress: &mut dyn FnMut(&str),
) -> Result<(Box<dyn Engine>, Option<Slower>), BuildError> {
    let folder = Folder::drafted(draft.path(), manifest.clone());
    let mut trial = Trial::new(Box::new(WallClock), plan.budget, MOST_ROUNDS);
    for head in &plan.heads {
        progress(&format!("{}: proving it against the eager head", head.card().task.name()));
        let proven = head::proven(head, &folder, &plan.job, &mut trial).map_err(Refusal::from)?;
        for head::ProvenPackage { file, parity, times, .. } in proven {
            progress(&format!("{file}: {times}"));
            if let Some(package) = manifest.packages.iter_mut().find(|package| package.file == file) {
                package.parity.push(parity);
                package.times.push(times);
            }
        }
    }
    let mut court = Court {
        plan,
        reference: KeptReference::of(&plan.job),
        eager: plan.job.eager()?,
        engine: plan.job.assemble(&folder)?,
        trial,
        stop,
        progress,
    };
    let batches_of = |package: &PackageEntry| {
        let [least, most] = package.batch;
        plan.batches.iter().copied().filter(move |batch| (least..=most).contains(batch)).collect::<Vec<_>>()
    };
    let mut n_left: usize = manifest.parts(BACKBONE).map(|package| batches_of(package).len()).sum();
    let mut slower = None;
    for package in manifest.packages.iter_mut().filter(|package| package.part == BACKBONE) {
        let batches = batches_of(package);
        // What a proof and one round cost per image, as far as is known.
        let mut cost = Duration::ZERO;
        for (n_before, &batch) in batches.iter().enumerate() {
            let n_images = u32::try_from(batch).unwrap_or(u32::MAX);
            let before = court.trial.left();
            let is_over = before.is_zero() || before < cost.saturating_mul(n_images);
            if 0 < n_before && is_over {
                n_left = n_left.saturating_sub(batches.len() - n_before);
                let untried = batches[n_before..].iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
                (court.progress)(&format!(
                    "{}: batches of {untried} were not tried: the {} s for proving are over",
                    package.file,
                    plan.budget.as_secs()
                ));
                break;
            }
            let share = before / u32::try_from(n_left).unwrap_or(u32::MAX).max(1);
            let judged = court.judge(package, batch, share)?;
            // As at the start of the node: it asks the smallest batch.
            slower = slower.or(judged.filter(|_| n_before == 0));
            n_left = n_left.saturating_sub(1);
            let n_runs = package.times.last().map_or(1, |times| times.n_rounds + 1);
            let spent = before.saturating_sub(court.trial.left());
            cost = spent * 2 / u32::try_from(n_runs).unwrap_or(1) / n_images.max(1);
        }
    }
    Ok((court.engine, slower))
}

/// Everything that a verdict on a package takes.
struct Court<'a> {
    plan: &'a Plan,
    reference: KeptReference<'a>,
    eager: Box<dyn Engine>,
    engine: Box<dyn Engine>,
    trial: Trial,
    stop: &'a Stop,
    progress: &'a mut dyn FnMut(&str),
}

impl Court<'_> {
    /// Proves and times `package` for `batch` images, for no longer than `share`, and notes both.
    fn judge(
        &mut self,
        package: &mut PackageEntry,
        batch: i64,
        share: Duration,
    ) -> Result<Option<Slower>, BuildError> {
        let Self { plan, reference, eager, engine, trial, stop, progress } = self;
        let go_on = || if stop.is_stopped() { Err(BuildError::Stopped) } else { Ok(()) };
        go_on()?;
        let size = package.size().map_err(|reason| BuildError::Compile { reason })?;
        let name = format!("{}, batch of {batch}", package.file);
        progress(&format!("{name}: proving it against the eager model in float32"));
        let least = plan.job.arithmetic.least_cosine();
        let shape = BatchShape { size, batch };
        // The figures of a manifest are of the model as it is.
        reference.forget(shape, &plan.job.taps);
        let proven = prove(&mut **engine, reference, shape, least, trial);
        let folder = || plan.out.display().to_string();
        let proven = proven.map_err(|reason| Refusal::Proof { folder: folder(), reason })?;
        package.parity.push(proven.parity);
        go_on()?;
        let rounds = if plan.job.is_reference() && proven.rounds.are_hopeless() {
            proven.rounds
        } else {
            let images = test_images(shape).and_then(|images| Ok(images.f_to_device(plan.job.device)?));
            let (images, mut told) = (images.map_err(Refusal::from)?, Instant::now());
            let heard = &mut |rounds: &Rounds| {
                if PERIOD <= told.elapsed() {
                    told = Instant::now();
                    let (times, n) = (rounds.times(batch), rounds.n());
                    progress(&format!("{name}: measuring: {times} (run {n})"));
                }
                !stop.is_stopped()
            };
            trial.engines(&mut **eager, &mut **engine, &[images], share, heard).map_err(Refusal::from)?
        };
        go_on()?;
        let times = rounds.times(batch);
        package.times.push(times);
        progress(&format!("{name}: {times}"));
        Ok(times.slower(size, plan.job.device))
    }
}
