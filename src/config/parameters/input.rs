//! How an image becomes a model input.

use super::check::model_size;
use super::{Kind, Parameter};
use crate::config::choices::{Fit, ResizeFilter, words};

/// What `size` may be.
const MODEL_SIZE: &str = "WIDTHxHEIGHT in pixels, both divisible by 16 and from 16 to 4096";

pub(super) static PARAMETERS: [Parameter; 4] = [
    parameter(
        "size",
        Kind::Text("WIDTHxHEIGHT", MODEL_SIZE, model_size),
        "256x256",
        "Size of the model's input. Not read under fit: auto and fit: window.",
    ),
    parameter(
        "fit",
        Kind::Choice(words::<Fit>),
        "stretch",
        "How a camera image is fitted to the model input. stretch scales each axis independently, letterbox \
         keeps the aspect ratio and pads, crop keeps the aspect ratio and cuts, auto stretches to whichever \
         of 288x224, 336x192, 256x256, 224x288 and 192x336 is nearest the camera's aspect ratio. window \
         does not scale: windows of 256x256, 170 pixels apart, go through the model as a batch and are \
         merged into depth and segmentation; features are not made.",
    ),
    parameter(
        "resize_filter",
        Kind::Choice(words::<ResizeFilter>),
        "exact",
        "exact is the antialiased bicubic filter of training; linear is faster and aliases.",
    ),
    parameter(
        "max_image_pixels",
        Kind::Integer(1, 1_000_000_000),
        "25000000",
        "Largest image that is read, raw or compressed; larger images are refused. Reading takes up to nine \
         bytes of memory per pixel.",
    )
    .in_unit("pixels"),
];

/// Most are read at start and mean something to `infer` as well.
const fn parameter(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Parameter {
    Parameter::new("Image", name, kind, default, doc)
}
