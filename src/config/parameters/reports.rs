//! Statistics, the log and time.

use super::check::anything;
use super::{Kind, Parameter};
use crate::config::choices::{LogLevel, words};

pub(super) static PARAMETERS: [Parameter; 4] = [
    parameter(
        "stats_period",
        Kind::Double(0.0, 86_400.0),
        "10.0",
        "Time between two lines of statistics. 0 writes none.",
    )
    .in_unit("s")
    .online_only(),
    parameter(
        "stats_file",
        Kind::Text("FILE", "the path of a file, or nothing", anything),
        "",
        "File that gets the statistics as JSON, one line per period. Empty writes none.",
    )
    .online_only(),
    parameter(
        "log_level",
        Kind::Choice(words::<LogLevel>),
        "info",
        "Lowest severity that is logged, to stderr and to /rosout.",
    )
    .changeable(),
    parameter(
        "use_sim_time",
        Kind::Bool,
        "false",
        "Whether ages are measured by /clock, as with a bag or a simulator. Stamps are the camera's either \
         way.",
    )
    .online_only(),
];

/// Most are read at start and mean something to `infer` as well.
const fn parameter(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Parameter {
    Parameter::new("Reports", name, kind, default, doc)
}
