//! Says in the log what a camera's frames go out without.

use std::collections::HashMap;
use std::time::Duration;

use crate::logging::Throttle;
use crate::stages::heads::{CauseKind, Lack};

/// Least time between two warnings about the same cause.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// One warning per camera and cause, again after a while.
pub(super) struct Lacking {
    /// Names.
    cameras: Vec<String>,
    /// By camera and kind of cause.
    told: HashMap<(usize, CauseKind), Throttle>,
}

impl Lacking {
    pub(super) fn new(cameras: Vec<String>) -> Self {
        Self { cameras, told: HashMap::new() }
    }

    pub(super) fn tell(&mut self, camera: usize, lacks: &[Lack]) {
        for lack in lacks {
            let key = (camera, lack.why.kind());
            let throttle = self.told.entry(key).or_insert_with(|| Throttle::new(BETWEEN_WARNINGS));
            if throttle.admit().is_some() {
                let name = self.cameras.get(camera).map_or("camera", String::as_str);
                tracing::warn!("{name}: {lack}");
            }
        }
    }
}
