//! An engine in the making while the node serves with the eager model.

use std::sync::mpsc;

use anyhow::Context;
use crossbeam_channel::Sender;

use crate::commands::build::{cached, int8_kernel};
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::builder::{self, BUDGET, Built, DEFAULT_BATCHES, Plan, Stop};
use crate::engine::job::EngineJob;
use crate::runtime::thread::Stage;
use crate::setup::engine::engine_cache;
use crate::setup::heads::LoadedHeads;

/// A build on a thread of its own. Dropping it stops the build and waits for its end.
pub struct Background {
    stop: Stop,
    /// Joined when dropped, after the build has been stopped.
    _thread: Stage,
}

impl Background {
    /// Builds the engine for `job` into the cache, with `heads` beside it, and hands it over by each of
    /// `better`, one for each worker; the heads are taken from there at the next start. A build that fails is
    /// a warning: the eager model goes on.
    ///
    /// # Errors
    /// There is no cache folder, or no thread.
    pub fn start(
        config: &Config,
        job: EngineJob,
        heads: LoadedHeads,
        better: Vec<Sender<Box<dyn Engine>>>,
    ) -> anyhow::Result<Self> {
        let mut batches = job.batches.clone();
        if !job.device.is_cuda() {
            // There one package serves them all.
            batches.extend(DEFAULT_BATCHES);
            batches.sort_unstable();
            batches.dedup();
        }
        engine_cache(config)
            .context("engine_build: there is no cache folder (neither HOME nor XDG_CACHE_HOME)")?;
        let config = config.clone();
        let stop = Stop::default();
        let stopping = stop.clone();
        // The end of a build is no reason for the node to end.
        let (ended, _nobody) = mpsc::channel();
        let thread = Stage::spawn("build", ended, move || {
            let done = job.shallow_clone();
            let plan = || -> anyhow::Result<Plan> {
                let int8_kernel = int8_kernel(&job, None, &mut |text| tracing::info!("{text}"))?;
                let out = cached(&job, None, &heads, &batches, int8_kernel, &config)?;
                Ok(Plan {
                    job,
                    target: None,
                    heads: heads.into_iter().collect(),
                    batches,
                    python: None,
                    out,
                    int8_kernel,
                    max_autotune: false,
                    budget: BUDGET,
                    is_background: true,
                })
            };
            let built = plan().and_then(|plan| {
                tracing::info!("building an engine in the background: {}", plan.out.display());
                Ok(builder::build(&plan, &stopping, &mut |text| tracing::info!("{text}"))?)
            });
            match built {
                Ok(Built { slower: Some(slower), folder, .. }) => {
                    tracing::warn!(
                        "engine {}: {slower}; the eager model stays in use",
                        folder.path().display()
                    );
                }
                Ok(built) => hand_over(built, &done, &better),
                Err(err) if stopping.is_stopped() => tracing::debug!("{err:#}"),
                Err(err) => tracing::warn!("no engine was built, the eager model stays in use: {err:#}"),
            }
            Ok(())
        })?;
        Ok(Self { stop, _thread: thread })
    }
}

/// Gives every worker an engine from what was built.
fn hand_over(built: Built, job: &EngineJob, better: &[Sender<Box<dyn Engine>>]) {
    let Built { folder, engine, .. } = built;
    let first = engine.into_iter().map(Ok);
    // The first was proven; these are the same packages.
    let others = std::iter::repeat_with(|| job.assemble(&folder));
    for (better, engine) in better.iter().zip(first.chain(others)) {
        match engine {
            // The workers may be gone when the node stops.
            Ok(engine) => drop(better.send(engine)),
            Err(err) => tracing::warn!("a worker stays with the eager model: {err}"),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
