//! Streams: forward passes side by side on one set of weights, as many as are asked for or as pay.

use super::Model;
use super::input::input_size;
use super::warm::{Warm, fastest_run};
use crate::config::Config;
use crate::engine::proof::BatchShape;
use crate::engine::threads::PassThreads;
use crate::engine::{Engine, EngineError};
use crate::stages::forward::warm_up;

/// Engines that run side by side.
pub struct Streams {
    /// All but the model's own; warm.
    pub(super) others: Vec<Box<dyn Engine>>,
    /// CPU threads of each.
    pub threads: PassThreads,
    /// Images of one pass, at most: beside each other on the CPU, passes take one each.
    pub batch_max: usize,
}

impl Streams {
    /// How many forward passes there are at once.
    pub fn n(&self) -> usize {
        1 + self.others.len()
    }
}

/// One camera gets a second stream where a pass on half of the threads takes at most this many times as long.
/// Each frame of a camera that sends more than the model takes is then up to that much older, and at least
/// 2 / `WORTH` = 1.33 times as many are served.
const WORTH: f64 = 1.5;

impl Model {
    /// Makes the streams that `config` asks for. Where it leaves the number open, on the CPU, each camera has
    /// one as far as there are threads, and one camera has two where that pays; on a GPU there is one. `warm`
    /// tells of a pass that is alone.
    ///
    /// # Errors
    /// As [`Model::workers`].
    pub fn streams(&mut self, config: &Config, warm: Warm) -> anyhow::Result<Streams> {
        let threads = PassThreads { alone: warm.threads, all: warm.n_all_threads };
        let n_threads = usize::try_from(threads.all).unwrap_or(1);
        let is_on_gpu = self.job.device.is_cuda();
        let n = match config.streams {
            Some(n) => n,
            None if is_on_gpu => 1,
            None => {
                let n_cameras = config.cameras.len();
                let n_wanted =
                    if n_cameras == 1 && self.pays(config, warm, threads)? { 2 } else { n_cameras };
                n_wanted.min(n_threads)
            }
        };
        let batch_max = if n == 1 || is_on_gpu { config.batch_max } else { 1 };
        let others = (1..n).map(|_| self.another_engine(config)).collect::<anyhow::Result<Vec<_>>>()?;
        match threads.of_each(n) {
            _ if n == 1 => (),
            _ if is_on_gpu => tracing::info!("{n} forward passes side by side"),
            _ if n_threads < n => {
                tracing::info!("{n} forward passes side by side, with a thread each, more than {n_threads}");
            }
            of_each => tracing::info!("{n} forward passes side by side, with {of_each} of the threads each"),
        }
        Ok(Streams { others, threads, batch_max })
    }

    /// Whether a second stream is worth it to one camera.
    fn pays(&mut self, config: &Config, warm: Warm, threads: PassThreads) -> Result<bool, EngineError> {
        if threads.of_each(2) == threads.alone {
            return Ok(true);
        }
        let on_half = match warm.on_half {
            Some(known) => known,
            None => {
                tch::set_num_threads(threads.of_each(2));
                let shape = BatchShape { size: input_size(config), batch: warm.batch };
                let took = fastest_run(&mut *self.engine, shape)?;
                tch::set_num_threads(threads.alone);
                took
            }
        };
        Ok(on_half.as_secs_f64() * 1e3 <= warm.millis * WORTH)
    }

    /// An engine like the model's own, warm for what passes beside each other take.
    fn another_engine(&self, config: &Config) -> anyhow::Result<Box<dyn Engine>> {
        let mut engine = match &self.folder {
            Some(folder) => self.job.assemble(folder)?,
            None => self.job.eager()?,
        };
        let batches = if self.job.device.is_cuda() { &self.job.batches[..] } else { &[1] };
        batches.iter().try_for_each(|&batch| warm_up(&mut *engine, input_size(config), batch).map(drop))?;
        Ok(engine)
    }
}
