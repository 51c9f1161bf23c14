//! What became of the messages that were handed to DDS.

use ros2_client::dds::rustdds::Pacing;

use crate::diagnostics::Delivery;

/// Asks `pacing` for the counts of each topic.
pub(super) fn deliveries(pacing: Pacing) -> impl Fn() -> Vec<Delivery> + Send + Sync + 'static {
    move || {
        // `rt` is before the names of topics; the others are of services.
        let counts = pacing.counts().into_iter();
        let topics = counts.filter_map(|(name, counts)| Some((name.strip_prefix("rt")?.to_owned(), counts)));
        topics
            .map(|(topic, counts)| Delivery {
                topic,
                n_sent: counts.sent,
                n_replaced: counts.replaced,
                n_waits: counts.deferred,
                repaired_bytes: counts.repaired_bytes,
            })
            .collect()
    }
}
