//! Just-in-time work upstream of the model: an image that is fitted while every worker is busy with
//! another will be displaced by a newer one, so fitting waits until a worker is almost free.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::runtime::lock::lock;

/// Waking up late costs the model idle time, waking up early a little freshness.
const MARGIN: Duration = Duration::from_millis(1);

/// A duration that is rarely fallen short of, or rarely exceeded, learnt from the past ones.
#[derive(Debug)]
pub(super) struct Estimate {
    secs: Option<f64>,
    /// Share that a new measurement gets when it is larger.
    follow_up: f64,
    /// Share that it gets when it is smaller.
    follow_down: f64,
}

impl Estimate {
    /// Rarely fallen short of.
    pub(super) fn low() -> Self {
        Self { secs: None, follow_up: 0.05, follow_down: 0.5 }
    }

    /// Rarely exceeded.
    pub(super) fn high() -> Self {
        Self { secs: None, follow_up: 0.5, follow_down: 0.05 }
    }

    /// Takes one measurement in.
    pub(super) fn add(&mut self, duration: Duration) {
        let new = duration.as_secs_f64();
        let (up, down) = (self.follow_up, self.follow_down);
        self.secs = Some(self.secs.map_or(new, |old| old + (new - old) * if old < new { up } else { down }));
    }

    /// The estimate, zero before the first measurement.
    pub(super) fn get(&self) -> Duration {
        Duration::from_secs_f64(self.secs.unwrap_or_default())
    }
}

/// When the model's workers will be free, as far as their own past tells. Written by the workers, read by the
/// fit threads.
#[derive(Debug)]
pub(super) struct Pace {
    /// By worker; `None` for one that is free.
    free_at: Mutex<Vec<Option<Instant>>>,
}

impl Pace {
    /// All workers are free.
    pub(super) fn new(n_workers: usize) -> Self {
        Self { free_at: Mutex::new(vec![None; n_workers]) }
    }

    /// A worker is busy until about `free_at`. Returns how many are busy, itself included.
    pub(super) fn busy_until(&self, worker: usize, free_at: Instant) -> usize {
        let mut free_at_all = lock(&self.free_at);
        free_at_all[worker] = Some(free_at);
        free_at_all.iter().flatten().count()
    }

    /// A worker is free.
    pub(super) fn free(&self, worker: usize) {
        lock(&self.free_at)[worker] = None;
    }

    /// How long to wait at `now` before work that takes `work`, for the result to be there when a worker is
    /// free; nothing when one is.
    pub(super) fn wait_for(&self, work: Duration, now: Instant) -> Option<Duration> {
        // `None` comes before every time.
        let free_at = lock(&self.free_at).iter().copied().min()??;
        let wait = free_at.checked_duration_since(now)?.checked_sub(work + MARGIN)?;
        Some(wait).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn work_starts_when_its_result_comes_just_in_time() {
        let (pace, now) = (Pace::new(1), Instant::now());
        assert_eq!(pace.wait_for(4 * MILLI, now), None);
        assert_eq!(pace.busy_until(0, now + 50 * MILLI), 1);
        assert_eq!(pace.wait_for(4 * MILLI, now), Some(45 * MILLI));
        assert_eq!(pace.wait_for(4 * MILLI, now + 40 * MILLI), Some(5 * MILLI));
        assert_eq!(pace.wait_for(4 * MILLI, now + 45 * MILLI), None);
        assert_eq!(pace.wait_for(4 * MILLI, now + 60 * MILLI), None);
        assert_eq!(pace.wait_for(50 * MILLI, now), None);
        pace.free(0);
        assert_eq!(pace.wait_for(4 * MILLI, now), None);
    }

    #[test]
    fn the_worker_that_is_free_first_decides() {
        let (pace, now) = (Pace::new(2), Instant::now());
        assert_eq!(pace.busy_until(0, now + 50 * MILLI), 1);
        assert_eq!(pace.wait_for(4 * MILLI, now), None);
        assert_eq!(pace.busy_until(1, now + 20 * MILLI), 2);
        assert_eq!(pace.wait_for(4 * MILLI, now), Some(15 * MILLI));
        pace.free(1);
        assert_eq!(pace.wait_for(4 * MILLI, now), None);
        // It was busy already, and the other is free.
        assert_eq!(pace.busy_until(0, now + 60 * MILLI), 1);
    }

    #[test]
    fn estimates_lean_to_their_side() {
        let check = |mut estimate: Estimate, at_least: u32, at_most: u32| {
            assert_eq!(estimate.get(), Duration::ZERO);
            (0..200).for_each(|i| estimate.add(if i % 2 == 0 { 10 * MILLI } else { 20 * MILLI }));
            let value = estimate.get();
            assert!(at_least * MILLI < value && value < at_most * MILLI, "{value:?}");
        };
        check(Estimate::low(), 10, 12);
        check(Estimate::high(), 18, 20);
    }
}
