//! An upper bound of frames per second that keeps its rhythm under jitter.

use std::time::{Duration, Instant};

/// Rates below one frame a day are one frame a day.
const LONGEST_PERIOD_SECS: f64 = 86_400.0;

/// Admits at most so many frames per second.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    due: Option<Instant>,
}

impl RateLimit {
    /// Whether a frame that came at `now` is admitted under `max_rate` frames per second (`None`
    /// admits all).
    pub(super) fn admit(&mut self, max_rate: Option<f64>, now: Instant) -> bool {
        let Some(rate) = max_rate else {
            self.due = None;
            return true;
        };
        let period = Duration::from_secs_f64((1.0 / rate).min(LONGEST_PERIOD_SECS));
        // A rate that has been raised since is felt at once.
        let due = self.due.map_or(now, |due| due.min(now + period));
        // A frame a little early is on time: cameras jitter, and the next is a whole period away.
        if now + period / 8 < due {
            self.due = Some(due);
            return false;
        }
        // Counted from when it was due, so that the mean rate holds; after a pause from now.
        self.due = Some(if due + period < now { now + period } else { due + period });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(camera_rate: f64, max_rate: Option<f64>, expect: usize) {
        let mut limit = RateLimit::default();
        let start = Instant::now();
        let admitted = (0..(10.0 * camera_rate) as u32).filter(|&i| {
            let jitter = if i % 2 == 0 { 0.0 } else { 0.001 };
            limit.admit(max_rate, start + Duration::from_secs_f64(f64::from(i) / camera_rate + jitter))
        });
        let n_admitted = admitted.count();
        assert!(
            n_admitted.abs_diff(expect) <= 1,
            "{n_admitted} of {expect} at {camera_rate} Hz, {max_rate:?}"
        );
    }

    #[test]
    fn the_mean_rate_over_ten_seconds_is_the_bound() {
        check(30.0, None, 300);
        check(30.0, Some(10.0), 100);
        check(30.0, Some(30.0), 300);
        check(30.0, Some(20.0), 200);
        check(30.0, Some(7.0), 70);
        check(5.0, Some(30.0), 50);
    }

    #[test]
    fn a_rate_that_is_raised_is_felt_at_once() {
        let mut limit = RateLimit::default();
        let start = Instant::now();
        assert!(limit.admit(Some(1.5e-19), start));
        assert!(!limit.admit(Some(0.01), start + Duration::from_millis(100)));
        assert!(!limit.admit(Some(10.0), start + Duration::from_millis(101)));
        assert!(limit.admit(Some(10.0), start + Duration::from_millis(202)));
    }

    #[test]
    fn a_pause_earns_no_burst() {
        let mut limit = RateLimit::default();
        let start = Instant::now();
        assert!(limit.admit(Some(10.0), start));
        let later = start + Duration::from_secs(10);
        assert!(limit.admit(Some(10.0), later));
        assert!(!limit.admit(Some(10.0), later + Duration::from_millis(20)));
    }
}
