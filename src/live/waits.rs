//! What a page's thread waits for beside messages.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::feed::Source;

/// Waits for the end of the server.
pub(super) async fn stops(stopping: &mut watch::Receiver<bool>) {
    // Without a sender there is no server either.
    let _gone = stopping.wait_for(|stops| *stops).await.map(drop);
}

pub(super) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Waits for a change of who feeds; for ever where nobody does.
pub(super) async fn changed(source: &mut Option<watch::Receiver<Source>>) {
    let has_changed = match source {
        Some(source) => source.changed().await.is_ok(),
        None => false,
    };
    if !has_changed {
        std::future::pending::<()>().await;
    }
}
