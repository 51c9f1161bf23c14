//! Depth and segmentation.

use super::check::given;
use super::{Kind, Parameter};
use crate::config::choices::{DepthResolution, Upsampling, words};

pub(super) static PARAMETERS: [Parameter; 8] = [
    parameter(
        "depth_head",
        Kind::Text("FILE", "none or the path of a head file", given),
        "none",
        "Head for ~/depth/image and ~/points: a file written by pixio-train-head or pixio-import-head for \
         this model.",
    ),
    parameter(
        "segmentation_head",
        Kind::Text("FILE", "none or the path of a head file", given),
        "none",
        "Head for ~/segmentation/image: a file as for depth_head.",
    ),
    parameter(
        "segmentation_upsampling",
        Kind::Choice(words::<Upsampling>),
        "logits",
        "What is resized from the head's resolution to that of the model input: logits, before the \
         likeliest class is taken, as in training; or labels, after that, which is faster and leaves jagged \
         borders.",
    ),
    parameter(
        "depth_resolution",
        Kind::Choice(words::<DepthResolution>),
        "model",
        "Resolution of depth. model is that of the model input, which ~/points always has; camera is that \
         of the camera image, for ~/depth/image/compressedDepth and ~/depth/camera_info, without \
         ~/depth/image.",
    )
    .online_only(),
    parameter(
        "points_stride",
        Kind::WordOrInteger("auto", 1, i64::MAX),
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
        "Nearer depth is -inf in ~/depth/image and left out of ~/points (REP 117). 0 sets no limit.",
    )
    .in_unit("m")
    .changeable()
    .online_only(),
    parameter(
        "max_depth",
        Kind::Double(0.0, 1e6),
        "0.0",
        "Farther depth is +inf in ~/depth/image and left out of ~/points (REP 117). 0 sets no limit.",
    )
    .in_unit("m")
    .changeable()
    .online_only(),
    parameter(
        "overlay_opacity",
        Kind::Double(0.0, 1.0),
        "0.5",
        "Opacity of the class colours over the image in ~/segmentation/overlay/compressed.",
    )
    .changeable()
    .online_only(),
];

/// Most are read at start and mean something to `infer` as well.
const fn parameter(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Parameter {
    Parameter::new("Heads", name, kind, default, doc)
}
