//! Log records for `/rosout`, and warnings that do not repeat themselves.

use std::time::{Duration, Instant};

/// One event of our own crate.
#[derive(Clone, Debug)]
pub struct Record {
    /// Severity.
    pub level: tracing::Level,
    /// The message.
    pub text: String,
    /// Source file.
    pub file: String,
    /// Line in it.
    pub line: u32,
    /// Module path.
    pub function: String,
}

/// Lets one event through per period.
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// One event per `period`.
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            last: None,
            suppressed: 0,
        }
    }

    /// `Some` with the number of events held back since the last one when it is time for one.
    pub fn admit(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < self.period) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }
}
