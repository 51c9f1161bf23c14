//! Depth and segmentation.

use super::check::given;
use super::{Kind, Parameter};
use crate::config::choices::{DepthResolution, Upsampling, words};

pub(super) static PARAMETERS: [Parameter; 8] = [
    parameter(
        "depth_head",
        Kind::Text("FILE", "none or the path of a head file", given),
        "none",
        "Head that makes ~/depth/image and ~/points: a file that pixio-train-head or pixio-import-head \
         has written for this model.",
    ),
    parameter(
        "segmentation_head",
        Kind::Text("FILE", "none or the path of a head file", given),
        "none",
        "Head that makes ~/segmentation/image: a file like that of depth_head.",
    ),
    parameter(
        "segmentation_upsampling",
        Kind::Choice(words::<Upsampling>),
        "logits",
        "What is brought from the head's resolution to that of the model input. logits are, before the \
         likeliest class is taken, as in training; labels are after it, which is faster and has stairs at \
         borders.",
    ),
    parameter(
        "depth_resolution",
        Kind::Choice(words::<DepthResolution>),
        "model",
        "Pixels of depth: model are those of the model input, as for ~/points in either case; camera are \
         those of the camera's image, for ~/depth/image/compressedDepth and ~/depth/camera_info, and there \
         is no ~/depth/image.",
    )
    .online_only(),
    parameter(
        "points_stride",
        Kind::WordOrInteger("auto", 1),
        "auto",
        "Pixels of the model input per point of ~/points, in each direction. auto gives at most 64 points in \
         each.",
    )
    .in_unit("pixels")
    .online_only(),
    parameter(
        "min_depth",
        Kind::Double(0.0, 1e6),
        "0.0",
        "Nearer depth is -inf in ~/depth/image and no point (REP 117). 0 has no limit.",
    )
    .in_unit("m")
    .changeable()
    .online_only(),
    parameter(
        "max_depth",
        Kind::Double(0.0, 1e6),
        "0.0",
        "Farther depth is +inf in ~/depth/image and no point (REP 117). 0 has no limit.",
    )
    .in_unit("m")
    .changeable()
    .online_only(),
    parameter(
        "overlay_opacity",
        Kind::Double(0.0, 1.0),
        "0.5",
        "How much of the image the colours hide in ~/segmentation/overlay/compressed.",
    )
    .changeable()
    .online_only(),
];

/// Most are read at start and mean something to `infer` as well.
const fn parameter(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Parameter {
    Parameter::new("Heads", name, kind, default, doc)
}
