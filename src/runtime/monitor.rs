//! What is seen of one camera while it runs. The stages write it, diagnostics read it.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::clock::LONGEST_AGE;
use super::meter::Meter;
use crate::geometry::Size;
use crate::runtime::lock::lock;

/// Stamps ahead of the clock by less are as good as on time: clocks of two machines never agree to the last
/// bit.
pub const AHEAD: Duration = Duration::from_millis(5);

/// Stamps behind the clock by more are of another clock: no image is under way for so long.
const FAR_BEHIND: Duration = Duration::from_secs(10);

/// Stamps below are no time of day, but the time since something was started.
const LONGEST_UPTIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// A stamp that is not the time of the image by the node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrayStamp {
    /// Zero: the driver sets none.
    None,
    /// The time since something was started, such as a monotonic clock tells.
    Uptime(Duration),
    /// A time of day so much earlier.
    Behind(Duration),
}

/// How one camera does. Shared by threads.
#[derive(Debug, Default)]
pub struct Monitor(Mutex<Seen>);

/// What a [`Monitor`] has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Frames as they came.
    pub arrivals: Meter,
    /// Frames as their outputs went.
    pub publications: Meter,
    /// Stamp of the last frame, nanoseconds.
    pub stamp_nanos: Option<i64>,
    /// The clock less the stamp as the last frame came, nanoseconds; negative for a stamp from the future.
    pub delay_nanos: Option<i64>,
    /// Frames whose stamps were ahead of the clock.
    pub n_ahead: u64,
    /// Frames whose stamps were behind that of the frame before.
    pub n_jumps: u64,
    /// When the last of them came and how far it was behind.
    pub last_jump: Option<(Instant, Duration)>,
    /// Most bytes of an image.
    pub largest_bytes: usize,
    /// When an image could be read last, and its size.
    pub image: Option<(Instant, Size)>,
    /// Why the last image that could not be read could not.
    pub refused: Option<(Instant, String)>,
    /// From the stamp to the hand-over of the last frame published.
    pub age: Option<Duration>,
    /// What the last frame that was served went out without, and why; empty when it was whole.
    pub lacks: String,
}

impl Monitor {
    /// An image of `n_bytes` came; `now_nanos` is the clock's time.
    pub fn arrived(&self, at: Instant, stamp_nanos: i64, now_nanos: Option<i64>, n_bytes: usize) {
        let mut seen = self.lock();
        if let Some(behind) = seen.stamp_nanos.map(|last| last.saturating_sub(stamp_nanos)).filter(|n| 0 < *n)
        {
            seen.n_jumps += 1;
            seen.last_jump = Some((at, Duration::from_nanos(behind.unsigned_abs())));
            // A rate over the jump would mean nothing.
            seen.arrivals.clear();
        }
        seen.stamp_nanos = Some(stamp_nanos);
        seen.delay_nanos = now_nanos.map(|now| now.saturating_sub(stamp_nanos));
        if seen.is_ahead() {
            seen.n_ahead += 1;
        }
        seen.largest_bytes = seen.largest_bytes.max(n_bytes);
        seen.arrivals.add(at, stamp_nanos);
    }

    /// The image could be read and was of this size.
    pub fn read(&self, at: Instant, image: Size) {
        self.lock().image = Some((at, image));
    }

    /// The image could not be read.
    pub fn refused(&self, at: Instant, why: String) {
        self.lock().refused = Some((at, why));
    }

    /// Outputs went out, `age` after the stamp.
    pub fn published(&self, at: Instant, stamp_nanos: i64, age: Option<Duration>) {
        let mut seen = self.lock();
        seen.publications.add(at, stamp_nanos);
        seen.age = age.map(|age| age.min(LONGEST_AGE));
    }

    /// A frame was served without what `lacks` says, empty for nothing.
    pub fn lacks(&self, lacks: String) {
        self.lock().lacks = lacks;
    }

    /// All of it as it is now.
    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        lock(&self.0)
    }
}

impl Seen {
    /// What the stamp of the last frame is instead of the clock's time, if it is far behind.
    pub fn stray_stamp(&self) -> Option<StrayStamp> {
        let delay = self.delay_nanos.filter(|delay| *delay > nanos(FAR_BEHIND))?;
        let stamp = Duration::from_nanos(u64::try_from(self.stamp_nanos?).unwrap_or_default());
        Some(match stamp {
            Duration::ZERO => StrayStamp::None,
            stamp if stamp < LONGEST_UPTIME => StrayStamp::Uptime(stamp),
            _ => StrayStamp::Behind(Duration::from_nanos(delay.unsigned_abs())),
        })
    }

    /// Whether the last stamp was ahead of the clock.
    pub fn is_ahead(&self) -> bool {
        self.delay_nanos.is_some_and(|delay| delay < -nanos(AHEAD))
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn stamps_that_jump_back_or_run_ahead_are_counted() {
        let (monitor, start) = (Monitor::default(), Instant::now());
        let stamps = [10, 11, 11, 3, 4, 90];
        for (n, stamp) in (0u32..).zip(stamps) {
            let at = start + Duration::from_secs(1) * n;
            monitor.arrived(at, stamp * SECOND, Some(12 * SECOND), 7);
        }
        let seen = monitor.seen();
        assert_eq!((seen.n_jumps, seen.n_ahead, seen.is_ahead()), (1, 1, true));
        assert_eq!(seen.last_jump, Some((start + Duration::from_secs(3), Duration::from_secs(8))));
        assert_eq!(seen.delay_nanos, Some(-78 * SECOND));
        // The frames before the jump are not in the rate.
        assert_eq!(seen.arrivals.period(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_stamp_of_another_clock_is_known_by_its_size() {
        const NOW: i64 = 1_795_000_000 * SECOND;
        let check = |stamp_nanos: i64, expect: Option<StrayStamp>| {
            let monitor = Monitor::default();
            monitor.arrived(Instant::now(), stamp_nanos, Some(NOW), 7);
            assert_eq!(monitor.seen().stray_stamp(), expect, "{stamp_nanos}");
        };
        check(NOW, None);
        check(NOW + SECOND, None);
        check(NOW - 9 * SECOND, None);
        check(0, Some(StrayStamp::None));
        check(i64::MIN, Some(StrayStamp::None));
        check(5 * SECOND, Some(StrayStamp::Uptime(Duration::from_secs(5))));
        check(40_000_000 * SECOND, Some(StrayStamp::Uptime(Duration::from_secs(40_000_000))));
        check(NOW - 86_400 * SECOND, Some(StrayStamp::Behind(Duration::from_secs(86_400))));
        let monitor = Monitor::default();
        monitor.published(Instant::now(), 0, Some(Duration::from_secs(1_795_679_304)));
        assert_eq!(monitor.seen().age, Some(LONGEST_AGE));
        // A simulation begins at zero, and its clock too.
        monitor.arrived(Instant::now(), 0, Some(SECOND), 7);
        assert_eq!(monitor.seen().stray_stamp(), None);
    }

    #[test]
    fn without_a_clock_there_is_no_delay() {
        let monitor = Monitor::default();
        monitor.arrived(Instant::now(), SECOND, None, 7);
        assert_eq!((monitor.seen().delay_nanos, monitor.seen().is_ahead()), (None, false));
    }
}
