#![warn(warnings)]

//! What the event loop still does when it is told to stop.

use super::DPEventLoop;

impl DPEventLoop {
  /// Sends what was written before the command to stop was. Discovery writes
  /// that this participant and its endpoints are gone, and the command may
  /// overtake that.
  pub(super) fn send_what_was_written(&mut self) {
    for entity_id in self.writer_ready.drain_unique() {
      if let Some(writer) = self.writers.get_mut(&entity_id) {
        writer.process_pending();
      }
    }
    self.service_outbound();
  }
}
