//! What has been taught, for who reads it: the workers take the head, pages show the counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::heads::{Class, Head};
use crate::runtime::lock::lock;

/// The newest that the teacher has written.
#[derive(Debug)]
pub struct Slate {
    /// Read for every frame; the lock is only taken when it has changed.
    version: AtomicU64,
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    written: Written,
    /// On the model's device.
    head: Option<Head>,
}

/// How teaching stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Counts the changes; nothing was taught at zero.
    pub version: u64,
    /// The classes by their numbers.
    pub classes: Arc<[Class]>,
    /// Exemplars of each.
    pub counts: Vec<usize>,
    /// How long the last fit took, ms; none before the first.
    pub fit_millis: Option<f64>,
    /// Whether there is a head.
    pub has_head: bool,
    /// Whether there is something to take back.
    pub can_undo: bool,
}

/// The head that is to serve from now on.
#[derive(Debug)]
pub struct TaughtHead {
    /// [`Written::version`].
    pub version: u64,
    /// `None` as long as fewer than two classes have exemplars.
    pub head: Option<Head>,
}

impl Slate {
    /// With the classes that there are at first.
    pub(super) fn new(classes: Arc<[Class]>) -> Self {
        let counts = vec![0; classes.len()];
        let written =
            Written { version: 0, classes, counts, fit_millis: None, has_head: false, can_undo: false };
        Self { version: AtomicU64::new(0), content: Mutex::new(Content { written, head: None }) }
    }

    /// The head, if there is something newer than `version`.
    pub fn newer(&self, version: u64) -> Option<TaughtHead> {
        if self.version() == version {
            return None;
        }
        let content = lock(&self.content);
        let head = content.head.as_ref().map(Head::shallow_clone);
        Some(TaughtHead { version: content.written.version, head })
    }

    /// [`Written::version`].
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// How teaching stands.
    pub fn read(&self) -> Written {
        lock(&self.content).written.clone()
    }

    /// Replaces what is written, but for the version, which grows.
    pub(super) fn write(&self, written: Written, head: Option<Head>) {
        let mut content = lock(&self.content);
        let version = content.written.version + 1;
        *content = Content { written: Written { version, has_head: head.is_some(), ..written }, head };
        self.version.store(version, Ordering::Release);
    }
}
