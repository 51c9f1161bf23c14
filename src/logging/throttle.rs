//! One of many equal messages.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::runtime::lock::lock;

/// Least time between two warnings of the same trouble.
pub const BETWEEN_WARNINGS: Duration = Duration::from_secs(5);

/// Least time between two warnings of a problem that lasts until the user solves it.
pub const BETWEEN_REMINDERS: Duration = Duration::from_secs(60);

/// Lets one of many equal messages through per period.
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    /// When one was last let through, and how many were not since.
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    /// Lets the first one through, then one per `period`.
    pub const fn new(period: Duration) -> Self {
        Self { period, state: Mutex::new((None, 0)) }
    }

    /// Whether a message may go out now, and how many were held back since the last that did.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = lock(&self.state);
        let (last, n_held_back) = *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < self.period) {
            state.1 += 1;
            return None;
        }
        *state = (Some(now), 0);
        Some(n_held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_admits_one_per_period_and_counts_the_rest() {
        let throttle = Throttle::new(Duration::from_secs(1));
        let start = Instant::now();
        let admitted = [0, 1, 999, 1000, 1500, 2001]
            .map(|millis| throttle.admit_at(start + Duration::from_millis(millis)));
        assert_eq!(admitted, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
