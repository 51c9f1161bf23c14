//! Warm-up: every batch that may come, once, and the number of CPU threads that serves best.

use std::fmt;
use std::time::{Duration, Instant};

use tch::Device;

use crate::engine::proof::BatchShape;
use crate::engine::{Engine, EngineError};
use crate::geometry::Size;
use crate::stages::derive::Deriver;
use crate::stages::forward::warm_up;

/// How long a warm engine takes.
#[derive(Clone, Copy, Debug)]
pub struct Warm {
    /// Images of the largest batch that may come.
    pub batch: i64,
    /// Time of a forward pass of such a batch.
    pub millis: f64,
    /// CPU threads that it took.
    pub threads: i32,
    /// CPU threads that there are for the model.
    pub n_all_threads: i32,
    /// Time of such a pass on half of `threads`, where it was measured.
    pub on_half: Option<Duration>,
}

impl fmt::Display for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch, millis, .. } = self;
        match batch {
            1 => write!(f, "{millis:.1} ms"),
            _ => write!(f, "{millis:.1} ms for {batch} images"),
        }
    }
}

/// A measurement is repeated for this long, and once at least: a single run may be one that was disturbed.
const MEASURED: Duration = Duration::from_millis(700);

/// Fewer threads are taken when they cost no more time than this factor: they leave the other cores to the
/// cameras.
const AS_FAST: f64 = 1.1;

/// Where the number of CPU threads comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// The configuration.
    Given,
    /// A measurement.
    Measured,
    /// The GPU computes: what is left for the CPU is too little to share.
    One,
}

/// Where the number of CPU threads comes from when `asked` are asked for and the model is on `device`.
pub(super) fn threads(asked: Option<usize>, device: Device) -> Threads {
    match asked {
        Some(_) => Threads::Given,
        None if device.is_cuda() => Threads::One,
        None => Threads::Measured,
    }
}

/// Finds the number of CPU threads with which `engine`, warm already, runs `shape` fastest, and leaves
/// libtorch with them. Returns the time of a pass, and that of one on half as many, which was too slow; `None`
/// where no fewer were tried.
///
/// # Errors
/// The engine's own.
pub(super) fn fastest_threads(
    engine: &mut dyn Engine,
    shape: BatchShape,
) -> Result<(Duration, Option<Duration>), EngineError> {
    let mut current = fastest_run(engine, shape)?;
    let mut best = current;
    let mut n_threads = tch::get_num_threads();
    while 1 < n_threads {
        tch::set_num_threads(n_threads / 2);
        let halved = fastest_run(engine, shape)?;
        if best.mul_f64(AS_FAST) < halved {
            tch::set_num_threads(n_threads);
            return Ok((current, Some(halved)));
        }
        (best, current, n_threads) = (best.min(halved), halved, n_threads / 2);
    }
    Ok((current, None))
}

/// The shortest of a few runs: what disturbs a measurement only ever makes it longer.
pub(super) fn fastest_run(engine: &mut dyn Engine, shape: BatchShape) -> Result<Duration, EngineError> {
    let (mut shortest, mut total) = (Duration::MAX, Duration::ZERO);
    for n_before in 0..5 {
        if 1 < n_before && MEASURED < total {
            break;
        }
        let started = Instant::now();
        warm_up(engine, shape.size, shape.batch)?;
        shortest = shortest.min(started.elapsed());
        total += started.elapsed();
    }
    Ok(shortest)
}

/// Recording before the start ends after this long.
const RECORDED: Duration = Duration::from_secs(20);

/// Has the engine and the heads recorded for every batch of every size, single images first; says what is
/// left when that takes too long.
///
/// # Errors
/// The engine's own.
pub(super) fn record(
    engine: &mut dyn Engine,
    deriver: &mut Deriver,
    sizes: &[Size],
    batches: &[i64],
) -> Result<(), EngineError> {
    let started = Instant::now();
    let mut shapes =
        batches.iter().flat_map(|&batch| sizes.iter().map(move |&size| BatchShape { size, batch }));
    for shape in shapes.by_ref() {
        deriver.warm_up(engine, shape)?;
        if RECORDED < started.elapsed() {
            break;
        }
    }
    let left: Vec<_> = shapes.map(|BatchShape { size, batch }| format!("{batch} of {size}")).collect();
    if !left.is_empty() {
        tracing::warn!("not recorded yet, which costs the first frames that need it: {}", left.join(", "));
    }
    Ok(())
}

/// The threads of a forward pass, for the log; nothing on a GPU.
pub(super) fn threads_text(device: Device, n_threads: i32) -> String {
    match n_threads {
        _ if device.is_cuda() => String::new(),
        1 => " with one thread".to_owned(),
        n => format!(" with {n} threads"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_on_a_gpu_leaves_the_cpu_one_thread() {
        assert_eq!(threads(None, Device::Cuda(0)), Threads::One);
        assert_eq!(threads(None, Device::Cpu), Threads::Measured);
        assert_eq!(threads(Some(4), Device::Cuda(0)), Threads::Given);
        assert_eq!(threads(Some(4), Device::Cpu), Threads::Given);
    }
}
