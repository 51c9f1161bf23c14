//! Says in the log what a camera's frames go out without.

use std::collections::HashMap;

use crate::logging::{BETWEEN_REMINDERS, Throttle};
use crate::stages::derive::{CauseKind, Lack};

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
            let throttle = self.told.entry(key).or_insert_with(|| Throttle::new(BETWEEN_REMINDERS));
            if throttle.admit().is_some() {
                let name = self.cameras.get(camera).map_or("camera", String::as_str);
                tracing::warn!("{name}: {lack}");
            }
        }
    }
}
