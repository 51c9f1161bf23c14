//! QoS of what the node reads and writes, and the words for a peer's that does not fit.

use std::time::Duration;

use ros2_client::QosProfile;
use ros2_client::dds::rustdds::policy::{self, ResourceLimits};
use ros2_client::dds::rustdds::{QosPolicies, QosPolicyBuilder};
use ros2_client::qos::{Durability, History, WhenFull};

use crate::config::Reliability;
use crate::stages::heads::SMALL_MESSAGE_BYTES;

/// How long a reliable writer waits for room before it gives a message up. Room is short when a
/// reader stops acknowledging; the frame path must not stand still for it. Long enough for the DDS
/// thread to come back from a large picture.
const WAIT_FOR_ROOM: Duration = Duration::from_millis(5);

/// Bytes of messages that a reliable writer keeps until they are acknowledged. While one reader
/// does not acknowledge, a writer without room serves none; a process that froze is taken for lost
/// after 20 s (Fast DDS), and until then the messages of 30 Hz fit in here.
const UNACKNOWLEDGED_BYTES: usize = 64 << 20;

/// Samples that a camera's reader keeps: the one being copied and the next. The history depth has
/// no say in it, and the default is 64.
const CAMERA_SAMPLES: i32 = 2;

/// For picture and calibration topics.
pub(super) fn camera(reliability: Reliability) -> QosPolicies {
    bounded(newest(reliability), CAMERA_SAMPLES)
}

/// For output topics with messages of `message_bytes`.
pub(super) fn output(reliability: Reliability, message_bytes: usize) -> QosPolicies {
    match reliability {
        Reliability::BestEffort => QosPolicies::from(newest(reliability)),
        Reliability::Reliable => {
            let unacknowledged = (UNACKNOWLEDGED_BYTES / message_bytes.max(1)).clamp(64, 1024);
            bounded(newest(reliability), unacknowledged as i32)
        }
    }
}

/// For what is said once: late listeners hear it too.
pub(super) fn latched() -> QosPolicies {
    QosPolicies::from(newest(Reliability::Reliable).durability(Durability::TransientLocal))
}

/// For `/rosout`: late listeners hear the last ten seconds, as with other clients.
pub(super) fn rosout() -> QosPolicies {
    let profile = newest(Reliability::Reliable)
        .durability(Durability::TransientLocal)
        .history(History::KeepLast { depth: 100 })
        .lifespan(Some(Duration::from_secs(10)));
    QosPolicies::from(profile)
}

/// `setting`, or what suits a message of `message_bytes`: large ones are repaired too slowly for a
/// stream.
pub(super) fn output_reliability(setting: Option<Reliability>, message_bytes: usize) -> Reliability {
    setting.unwrap_or(if message_bytes <= SMALL_MESSAGE_BYTES {
        Reliability::Reliable
    } else {
        Reliability::BestEffort
    })
}

fn newest(reliability: Reliability) -> QosProfile {
    let profile = QosProfile::subscription_default().history(History::KeepLast { depth: 1 });
    match reliability {
        Reliability::BestEffort => profile.reliability_best_effort(),
        Reliability::Reliable => profile.reliability_reliable(WhenFull::Wait(WAIT_FOR_ROOM)),
    }
}

fn bounded(profile: QosProfile, max_samples: i32) -> QosPolicies {
    let limits = ResourceLimits { max_samples, max_instances: 1, max_samples_per_instance: max_samples };
    QosPolicies::from(profile).modify_by(&QosPolicyBuilder::new().resource_limits(limits).build())
}

/// Why nothing flows between two ends of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// What the reading end asks for.
    pub(super) wish: String,
    /// What the writing end offers.
    pub(super) offer: String,
    /// Whether reliability is what keeps them apart.
    pub(super) is_reliability: bool,
}

/// `None` when a writer with `offered` and a reader with `requested` fit.
pub(super) fn mismatch(offered: &QosPolicies, requested: &QosPolicies) -> Option<Mismatch> {
    use ros2_client::dds::rustdds::qos::QosPolicyId;
    let reason = offered.compliance_failure_wrt(requested)?;
    let (wish, offer) = match reason {
        QosPolicyId::Reliability => (reliability(requested).to_owned(), reliability(offered).to_owned()),
        QosPolicyId::Durability => (durability(requested).to_owned(), durability(offered).to_owned()),
        other => {
            let name = format!("{other:?}").to_lowercase();
            (format!("a stricter {name}"), format!("a laxer {name}"))
        }
    };
    Some(Mismatch { wish, offer, is_reliability: matches!(reason, QosPolicyId::Reliability) })
}

fn reliability(qos: &QosPolicies) -> &'static str {
    match qos.reliability() {
        Some(policy::Reliability::Reliable { .. }) => "reliable",
        _ => "best_effort",
    }
}

fn durability(qos: &QosPolicies) -> &'static str {
    match qos.durability() {
        None | Some(policy::Durability::Volatile) => "volatile",
        Some(policy::Durability::TransientLocal) => "transient_local",
        Some(_) => "persistent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_reliable_up_to_96_kilobytes_unless_told_otherwise() {
        let check = |setting, bytes, expect| assert_eq!(output_reliability(setting, bytes), expect);
        check(None, 96 << 10, Reliability::Reliable);
        check(None, (96 << 10) + 1, Reliability::BestEffort);
        check(Some(Reliability::BestEffort), 1, Reliability::BestEffort);
        check(Some(Reliability::Reliable), 1 << 20, Reliability::Reliable);
    }

    #[test]
    fn a_reliable_writer_outlasts_a_frozen_reader_within_bounds() {
        let check = |message_bytes, expect| {
            let limits = output(Reliability::Reliable, message_bytes).resource_limits();
            assert_eq!(limits.map(|limits| limits.max_samples), Some(expect));
        };
        check(0, 1024);
        check(16 << 10, 1024);
        check(96 << 10, 682);
        check(64 << 20, 64);
    }

    #[test]
    fn a_mismatch_says_what_each_side_wants() {
        let check = |offered: &QosPolicies, requested: &QosPolicies, expect: Option<(&str, &str, bool)>| {
            let found = mismatch(offered, requested);
            let found = found.as_ref().map(|m| (&*m.wish, &*m.offer, m.is_reliability));
            assert_eq!(found, expect);
        };
        let (best_effort, reliable) = (output(Reliability::BestEffort, 1), output(Reliability::Reliable, 1));
        check(&best_effort, &best_effort, None);
        check(&reliable, &best_effort, None);
        check(&best_effort, &reliable, Some(("reliable", "best_effort", true)));
        check(&reliable, &rosout(), Some(("transient_local", "volatile", false)));
    }
}
