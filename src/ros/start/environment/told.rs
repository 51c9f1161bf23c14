//! What each variable that is set means to this node, for `check`.

use crate::text;

/// Variables and their meaning. Those that ask for what the node lacks are warnings (`unused`).
const MEANINGS: [(&str, &str); 21] = [
    ("ROS_DOMAIN_ID", "the DDS domain"),
    ("ROS_LOCALHOST_ONLY", "1 keeps the node to this machine"),
    ("ROS_AUTOMATIC_DISCOVERY_RANGE", "how far the node looks for others"),
    ("ROS_STATIC_PEERS", "hosts that are asked besides"),
    ("ROS_DISTRO", "not read: the messages are those of Iron and later"),
    ("ROS_LOG_DIR", "not read: there is no log file, and the log goes to stderr and /rosout"),
    ("RCUTILS_COLORIZED_OUTPUT", "whether the log has colours"),
    ("RCUTILS_CONSOLE_OUTPUT_FORMAT", "not read: lines have the default form"),
    ("RCUTILS_LOGGING_USE_STDOUT", "not read: the log goes to stderr"),
    ("RCUTILS_LOGGING_BUFFERED_STREAM", "not read: every line is written at once"),
    ("RUST_LOG", "added to log_level"),
    ("FASTRTPS_DEFAULT_PROFILES_FILE", FAST_DDS),
    ("FASTDDS_DEFAULT_PROFILES_FILE", FAST_DDS),
    ("CYCLONEDDS_URI", "not read: it is for Cyclone DDS; here network_interface, send_burst and send_rate"),
    ("HF_HUB_CACHE", "where models are looked for"),
    ("HUGGINGFACE_HUB_CACHE", "where models are looked for, after HF_HUB_CACHE"),
    ("HF_HOME", "where models are looked for (below hub), after HF_HUB_CACHE"),
    ("HF_HUB_OFFLINE", "not read: nothing is ever downloaded"),
    ("XDG_CACHE_HOME", "where engines, PCA bases and models are looked for"),
    ("OMP_NUM_THREADS", "not used: `threads` decides, and measures by default"),
    ("CUDA_VISIBLE_DEVICES", "the GPUs that there are for the node"),
];

const FAST_DDS: &str = "not read: it is for Fast DDS; here network_interface, send_burst and send_rate";

/// `NAME=VALUE: meaning` for each variable that is set.
pub(super) fn told(given: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let one = |(name, meaning): (&str, &str)| {
        given(name).map(|value| format!("{name}={}: {meaning}", text::foreign(&value)))
    };
    MEANINGS.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_told_with_its_meaning() {
        let given = |name: &str| match name {
            "ROS_DOMAIN_ID" => Some("7".to_owned()),
            "CYCLONEDDS_URI" => Some("<CycloneDDS>\n</CycloneDDS>".to_owned()),
            _ => None,
        };
        assert_eq!(
            told(&given),
            [
                "ROS_DOMAIN_ID=7: the DDS domain",
                "CYCLONEDDS_URI=<CycloneDDS>\\n</CycloneDDS>: not read: it is for Cyclone DDS; here \
                 network_interface, send_burst and send_rate",
            ]
        );
    }
}
