//! Just-in-time work upstream of the model: an image that is fitted while the model is busy with
//! another will be displaced by a newer one, so fitting waits until the model is almost free.

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

/// When the model will be free, as far as its own past tells. Written by the model's thread, read
/// by the fit threads.
#[derive(Debug, Default)]
pub(super) struct Pace {
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    /// The model is busy until about `free_at`.
    pub(super) fn busy_until(&self, free_at: Instant) {
        *lock(&self.free_at) = Some(free_at);
    }

    /// The model is free.
    pub(super) fn free(&self) {
        *lock(&self.free_at) = None;
    }

    /// How long to wait at `now` before work that takes `work`, for the result to be there when the
    /// model is free; nothing when it is.
    pub(super) fn wait_for(&self, work: Duration, now: Instant) -> Option<Duration> {
        let free_at = (*lock(&self.free_at))?;
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
        let (pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait_for(4 * MILLI, now), None);
        pace.busy_until(now + 50 * MILLI);
        assert_eq!(pace.wait_for(4 * MILLI, now), Some(45 * MILLI));
        assert_eq!(pace.wait_for(4 * MILLI, now + 40 * MILLI), Some(5 * MILLI));
        assert_eq!(pace.wait_for(4 * MILLI, now + 45 * MILLI), None);
        assert_eq!(pace.wait_for(4 * MILLI, now + 60 * MILLI), None);
        assert_eq!(pace.wait_for(50 * MILLI, now), None);
        pace.free();
        assert_eq!(pace.wait_for(4 * MILLI, now), None);
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
