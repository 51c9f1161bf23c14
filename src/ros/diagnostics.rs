//! `/diagnostics`: statuses as messages, named as diagnostic_updater names them.

use std::sync::Arc;

use ros2_client::Publisher;

use super::wire::messages::{DiagnosticArray, DiagnosticStatus, Header, KeyValue, Time};
use crate::diagnostics::Status;
use crate::logging::{BETWEEN_REMINDERS, Throttle};
use crate::runtime::clock::Clock;

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
        Self { publisher, node, clock, failing: Throttle::new(BETWEEN_REMINDERS) }
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
