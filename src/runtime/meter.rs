//! How often something happens now.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Events that a rate is taken over.
const N_EVENTS: usize = 32;
/// After a pause of so many periods the rate is taken anew.
const PAUSE: u32 = 10;

/// The last events: when each came, and the stamp that it bore.
#[derive(Clone, Debug, Default)]
pub struct Meter(VecDeque<(Instant, i64)>);

impl Meter {
    /// Notes an event at `now` with a stamp in nanoseconds.
    pub fn add(&mut self, now: Instant, stamp_nanos: i64) {
        let silence = self.last().map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        if self.period().is_some_and(|period| period * PAUSE < silence) {
            self.clear();
        } else if self.0.len() == N_EVENTS {
            self.0.pop_front();
        }
        self.0.push_back((now, stamp_nanos));
    }

    /// Events per second at `now`: of the last ones, or fewer when the next is overdue.
    pub fn rate(&self, now: Instant) -> f64 {
        let (Some((first, _)), Some((last, _))) = (self.0.front(), self.0.back()) else { return 0.0 };
        let n = (self.0.len() - 1) as f64;
        let (span, silence) = (last.duration_since(*first), now.saturating_duration_since(*last));
        let usual = span.div_f64(n.max(1.0));
        let span = if usual.mul_f64(2.0) < silence { span + silence } else { span };
        if span.is_zero() { 0.0 } else { n / span.as_secs_f64() }
    }

    /// Stamps per second of stamped time; zero where they stand still or go back.
    pub fn stamp_rate(&self) -> f64 {
        let (Some((_, first)), Some((_, last))) = (self.0.front(), self.0.back()) else { return 0.0 };
        let secs = last.saturating_sub(*first) as f64 / 1e9;
        if 0.0 < secs { (self.0.len() - 1) as f64 / secs } else { 0.0 }
    }

    /// Mean time between two events; `None` before the second.
    pub fn period(&self) -> Option<Duration> {
        let ((first, _), (last, _)) = (self.0.front()?, self.0.back()?);
        let n = u32::try_from(self.0.len() - 1).ok().filter(|n| 0 < *n)?;
        Some(last.duration_since(*first) / n)
    }

    /// When the last event was.
    pub fn last(&self) -> Option<Instant> {
        self.0.back().map(|(at, _)| *at)
    }

    /// Forgets all events.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_events_and_falls_in_silence() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        assert_eq!((meter.rate(start), meter.stamp_rate(), meter.period()), (0.0, 0.0, None));
        let at = |n: u32| start + Duration::from_millis(100) * n;
        (0..100).for_each(|n| meter.add(at(n), i64::from(n) * 50_000_000));
        assert!((meter.rate(at(99)) - 10.0).abs() < 1e-9 && (meter.rate(at(100)) - 10.0).abs() < 1e-9);
        assert!((meter.stamp_rate() - 20.0).abs() < 1e-9);
        assert_eq!(meter.period(), Some(Duration::from_millis(100)));
        assert!((meter.rate(at(130)) - 5.0).abs() < 1e-9, "{}", meter.rate(at(130)));
        meter.add(at(104), 0);
        assert_eq!(meter.stamp_rate(), 0.0);
        // A pause is no part of the rate after it.
        (130..133).for_each(|n| meter.add(at(n), 0));
        assert!((meter.rate(at(132)) - 10.0).abs() < 1e-9, "{}", meter.rate(at(132)));
    }
}
