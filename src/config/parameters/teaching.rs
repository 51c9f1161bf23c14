//! Teaching by pointing.

use super::{Kind, Parameter};

pub(super) static PARAMETERS: [Parameter; 4] = [
    parameter(
        "teaching",
        Kind::Bool,
        "false",
        "Whether ~/teach and the live page may teach classes: ~/segmentation then carries what was taught, from \
         the block in the middle and the last one. With segmentation_head, teaching goes on from the exemplars beside \
         that head.",
    )
    .online_only(),
    parameter(
        "exemplars_per_class",
        Kind::Integer(1, 1000),
        "100",
        "Patches that are remembered of a taught class. Of one more, the older of the two most alike leaves.",
    )
    .in_unit("patches"),
    parameter(
        "exemplars_in_all",
        Kind::Integer(2, 10_000),
        "2000",
        "Patches that are remembered of all taught classes. Of one more, the largest class gives one up.",
    )
    .in_unit("patches"),
    parameter(
        "teaching_threshold",
        Kind::Double(0.0, 1.0),
        "0.0",
        "Confidence below which a pixel has no taught class: it is 255 in ~/segmentation/image. A saved head keeps \
         the threshold, and with 0 teaching goes on with it.",
    ),
];

/// Most are read at start and mean something to `infer` as well.
const fn parameter(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Parameter {
    Parameter::new("Teaching", name, kind, default, doc)
}
