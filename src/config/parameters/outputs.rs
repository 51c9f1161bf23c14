//! What is published.

use super::check::given;
use super::{Kind, Parameter};
use crate::config::choices::{FeaturesDtype, words};

pub(super) static PARAMETERS: [Parameter; 7] = [
    parameter(
        "publish_features",
        Kind::Bool,
        "true",
        "Whether ~/features, its reduced forms and ~/similarity are published to subscribers.",
    )
    .changeable()
    .online_only(),
    parameter("publish_embedding", Kind::Bool, "true", "Whether ~/embedding is published to subscribers.")
        .changeable()
        .online_only(),
    parameter(
        "publish_depth",
        Kind::Bool,
        "true",
        "Whether ~/depth and ~/points are published to subscribers.",
    )
    .changeable()
    .online_only(),
    parameter(
        "publish_segmentation",
        Kind::Bool,
        "true",
        "Whether ~/segmentation is published to subscribers.",
    )
    .changeable()
    .online_only(),
    parameter(
        "features_dtype",
        Kind::Choice(words::<FeaturesDtype>),
        "float16",
        "Element type of ~/features.",
    )
    .online_only(),
    parameter(
        "reduced_channels",
        Kind::Integer(1, 64),
        "16",
        "Channels of ~/features/reduced; lowered with a warning when the message would pass 96 KB.",
    )
    .in_unit("channels")
    .online_only(),
    parameter(
        "pca_basis",
        Kind::Text("FILE", "auto or the path of a file", given),
        "auto",
        "Basis of ~/features/reduced and ~/features/pca. auto estimates it from the first frames and keeps \
         it in the cache; a path reads it from a file.",
    ),
];

/// Most are read at start and mean something to `infer` as well.
const fn parameter(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Parameter {
    Parameter::new("Outputs", name, kind, default, doc)
}
