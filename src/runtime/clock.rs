//! What time it is: by this machine, or by `/clock` as a bag or a simulator tells it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest age that anything tells: what is older has a stamp of another clock, and is told as this.
pub const LONGEST_AGE: Duration = Duration::from_secs(3600);

/// Nothing has come on `/clock`.
const UNTOLD: i64 = i64::MIN;

/// A clock that threads share.
#[derive(Debug)]
pub enum Clock {
    /// This machine's clock.
    System,
    /// The last time on `/clock`, nanoseconds.
    Told(AtomicI64),
}

impl Clock {
    /// This machine's clock, or one that is told the time.
    pub fn new(is_told: bool) -> Self {
        if is_told { Self::Told(AtomicI64::new(UNTOLD)) } else { Self::System }
    }

    /// Nanoseconds since the epoch; `None` before the first time on `/clock`.
    pub fn now_nanos(&self) -> Option<i64> {
        match self {
            Self::System => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(now.as_nanos()).ok()
            }
            Self::Told(nanos) => Some(nanos.load(Ordering::Relaxed)).filter(|nanos| *nanos != UNTOLD),
        }
    }

    /// Takes the time on `/clock`. Nothing happens to this machine's clock.
    pub fn tell(&self, nanos: i64) {
        if let Self::Told(now) = self {
            now.store(nanos, Ordering::Relaxed);
        }
    }

    /// Whether it is `/clock`'s.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Told(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_told_clock_knows_nothing_until_it_is_told_and_may_go_back() {
        let clock = Clock::new(true);
        assert_eq!(clock.now_nanos(), None);
        clock.tell(50);
        clock.tell(7);
        assert_eq!(clock.now_nanos(), Some(7));
        let clock = Clock::new(false);
        clock.tell(7);
        assert!(clock.now_nanos() > Some(1_700_000_000_000_000_000));
    }
}
