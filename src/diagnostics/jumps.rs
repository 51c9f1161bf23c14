//! Jumps of the clock against steady time.

use std::time::{Duration, Instant};

use crate::runtime::clock::Clock;

/// A step of this machine's clock that is no correction of its speed.
const STEP: Duration = Duration::from_millis(250);

/// How long a jump is news.
const NEWS: Duration = Duration::from_secs(30);

/// Watches a clock.
#[derive(Debug, Default)]
pub(super) struct Jumps {
    last: Option<(Instant, i64)>,
    n: u64,
    news: Option<(Instant, String)>,
}

impl Jumps {
    /// Looks at `clock`. Returns how many jumps there were so far, and the last one while it is news.
    pub(super) fn look(&mut self, clock: &Clock, at: Instant) -> (u64, Option<String>) {
        if let Some(now) = clock.now_nanos() {
            if let Some(text) = self.last.and_then(|last| jump(clock.is_told(), last, (at, now))) {
                self.n += 1;
                self.news = Some((at, text));
            }
            self.last = Some((at, now));
        }
        let news = self.news.as_ref().filter(|(since, _)| at.saturating_duration_since(*since) < NEWS);
        (self.n, news.map(|(_, text)| text.clone()))
    }
}

fn jump(is_told: bool, (then_at, then): (Instant, i64), (at, now): (Instant, i64)) -> Option<String> {
    let moved = now.saturating_sub(then);
    if is_told {
        // Told time may run at any speed, and forward by leaps.
        let back = moved as f64 / -1e9;
        return (moved < 0).then(|| {
            format!(
                "/clock jumped back by {back:.1} s: a bag that plays in a loop, or a simulation that was \
                 reset"
            )
        });
    }
    let steady = i64::try_from(at.saturating_duration_since(then_at).as_nanos()).unwrap_or(i64::MAX);
    let step = moved.saturating_sub(steady);
    let is_jump = i64::try_from(STEP.as_nanos()).is_ok_and(|least| least < step.abs());
    is_jump.then(|| {
        let (secs, way) = (step.abs() as f64 / 1e9, if step < 0 { "back" } else { "ahead" });
        format!("this machine's clock jumped {way} by {secs:.1} s: ages across it mean nothing")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_this_machines_clock_and_told_time_that_goes_back_are_jumps() {
        let start = Instant::now();
        let check = |is_told, moved_millis: i64, expect: Option<&str>| {
            let (then, now) = ((start, 0), (start + Duration::from_secs(1), moved_millis * 1_000_000));
            let news = jump(is_told, then, now);
            assert_eq!(news.is_some(), expect.is_some(), "{news:?}");
            let text = news.unwrap_or_default();
            assert!(text.contains(expect.unwrap_or_default()), "{text}");
        };
        check(false, 1000, None);
        check(false, 1200, None);
        check(false, 4000, Some("jumped ahead by 3.0 s"));
        check(false, -2000, Some("jumped back by 3.0 s"));
        check(true, 0, None);
        check(true, 90_000, None);
        check(true, -2000, Some("/clock jumped back by 2.0 s"));
    }

    #[test]
    fn a_jump_is_news_for_a_while_and_stays_counted() {
        let (clock, mut jumps, start) = (Clock::new(true), Jumps::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        assert_eq!(jumps.look(&clock, at(0)), (0, None));
        clock.tell(9_000_000_000);
        assert_eq!(jumps.look(&clock, at(1)), (0, None));
        clock.tell(1_000_000_000);
        let (n, news) = jumps.look(&clock, at(2));
        assert!(n == 1 && news.is_some());
        assert!(jumps.look(&clock, at(31)).1.is_some());
        assert_eq!(jumps.look(&clock, at(33)), (1, None));
    }
}
