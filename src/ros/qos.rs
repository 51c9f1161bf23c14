//! QoS of what the node reads and writes, and the words for a peer's that does not fit.

use std::time::Duration;

use ros2_client::QosProfile;
use ros2_client::dds::rustdds::policy::{self, ResourceLimits};
use ros2_client::dds::rustdds::{QosPolicies, QosPolicyBuilder};
use ros2_client::qos::{Durability, History, WhenFull};

use crate::config::Reliability;

/// Samples that an output's writer keeps: the one that is being sent or repaired, and the newest. A
/// bounded writer replaces what waits and never waits itself, whatever its readers do.
const OUTPUT_SAMPLES: i32 = 2;

/// Samples that a camera's reader keeps: the one being copied and the next. The history depth has
/// no say in it, and the default is 64.
const CAMERA_SAMPLES: i32 = 2;

/// For image and calibration topics.
pub(super) fn camera(reliability: Reliability) -> QosPolicies {
    bounded(newest(reliability), CAMERA_SAMPLES)
}

/// For output topics.
pub(super) fn output(reliability: Reliability) -> QosPolicies {
    bounded(newest(reliability), OUTPUT_SAMPLES)
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

fn newest(reliability: Reliability) -> QosProfile {
    let profile = QosProfile::subscription_default().history(History::KeepLast { depth: 1 });
    match reliability {
        Reliability::BestEffort => profile.reliability_best_effort(),
        Reliability::Reliable => profile.reliability_reliable(WhenFull::Wait(Duration::ZERO)),
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
    fn an_output_keeps_two_samples() {
        for reliability in [Reliability::BestEffort, Reliability::Reliable] {
            let limits = output(reliability).resource_limits();
            assert_eq!(limits.map(|limits| limits.max_samples), Some(2));
        }
    }

    #[test]
    fn a_mismatch_says_what_each_side_wants() {
        let check = |offered: &QosPolicies, requested: &QosPolicies, expect: Option<(&str, &str, bool)>| {
            let found = mismatch(offered, requested);
            let found = found.as_ref().map(|m| (&*m.wish, &*m.offer, m.is_reliability));
            assert_eq!(found, expect);
        };
        let (best_effort, reliable) = (output(Reliability::BestEffort), output(Reliability::Reliable));
        check(&best_effort, &best_effort, None);
        check(&reliable, &best_effort, None);
        check(&best_effort, &reliable, Some(("reliable", "best_effort", true)));
        check(&reliable, &rosout(), Some(("transient_local", "volatile", false)));
    }
}
