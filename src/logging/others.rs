//! Warnings of the libraries. A peer can cause most of them, a packet thousands, so each place in their code
//! has a throttle of its own.

use std::collections::HashMap;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::throttle::{BETWEEN_WARNINGS, Throttle};

use crate::runtime::lock::lock;

/// Places that have a throttle of their own; the others share one. Code has fewer.
const MAX_PLACES: usize = 1024;

/// The throttles of all places.
#[derive(Default)]
pub(super) struct Others(Mutex<HashMap<CodePlace, Throttle>>);

impl Others {
    /// Whether an event of a library is told, and how many from its place were not since the last that was.
    /// What is less than a warning was asked for, and is told.
    pub(super) fn admit(&self, event: &Event<'_>) -> Option<u64> {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN {
            return Some(0);
        }
        let mut origin = CodePlace::default();
        event.record(&mut origin);
        if origin.target.is_empty() {
            metadata.target().clone_into(&mut origin.target);
            origin.line = metadata.line().map(u64::from);
        }
        let mut places = lock(&self.0);
        if MAX_PLACES <= places.len() && !places.contains_key(&origin) {
            origin = CodePlace::default();
        }
        places.entry(origin).or_insert_with(|| Throttle::new(BETWEEN_WARNINGS)).admit()
    }
}

/// A place in the code of a library; of a record of the `log` crate its fields tell.
#[derive(Default, PartialEq, Eq, Hash)]
struct CodePlace {
    target: String,
    line: Option<u64>,
}

impl Visit for CodePlace {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            value.clone_into(&mut self.target);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "log.line" {
            self.line = Some(value);
        }
    }

    // The message is not worth formatting before it is known to be told.
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
