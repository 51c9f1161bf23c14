//! `/diagnostics`: statuses as messages, named as diagnostic_updater names them.

use std::sync::Arc;
use std::time::Duration;

use ros2_client::Publisher;

use super::messages::{DiagnosticArray, DiagnosticStatus, Header, KeyValue, Time};
use crate::diagnostics::Status;
use crate::logging::Throttle;
use crate::runtime::clock::Clock;

/// Least time between two warnings that nothing can be sent.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// Publishes statuses of one node.
pub struct DiagnosticsOut {
    publisher: Publisher<DiagnosticArray>,
    /// Without a leading slash, as diagnostic_updater has it.
    node: String,
    clock: Arc<Clock>,
    failing: Throttle,
}

impl DiagnosticsOut {
    pub(super) fn new(
        publisher: Publisher<DiagnosticArray>,
        fully_qualified: &str,
        clock: Arc<Clock>,
    ) -> Self {
        let node = fully_qualified.trim_start_matches('/').to_owned();
        Self { publisher, node, clock, failing: Throttle::new(BETWEEN_WARNINGS) }
    }

    /// Publishes `statuses` as one message, stamped by the node's clock. Those about a topic keep its name.
    pub fn send(&self, statuses: Vec<Status>) {
        let message = DiagnosticArray {
            header: Header {
                stamp: Time::from_nanos(self.clock.now_nanos().unwrap_or_default()),
                ..Header::default()
            },
            status: statuses.into_iter().map(|status| self.message(status)).collect(),
        };
        if let Err(err) = self.publisher.publish(message)
            && self.failing.admit().is_some()
        {
            tracing::warn!("/diagnostics: a message could not be sent: {err}");
        }
    }

    fn message(&self, status: Status) -> DiagnosticStatus {
        let Status { level, name, message, values } = status;
        let name = if name.starts_with('/') { name } else { format!("{}: {name}", self.node) };
        let values = values.into_iter().map(|(key, value)| KeyValue { key, value });
        DiagnosticStatus {
            level: level as u8,
            name,
            message,
            hardware_id: self.node.clone(),
            values: values.collect(),
        }
    }
}
