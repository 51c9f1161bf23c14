//! The model and what runs it.

use super::check::{device, given};
use super::{Kind, Parameter};
use crate::config::choices::{EngineBuild, Precision, words};

pub(super) static PARAMETERS: [Parameter; 11] = [
    parameter(
        "model",
        Kind::Text("MODEL", "a folder, a Hugging Face id or random:NAME", given),
        "",
        "The Pixio model: a folder with config.json and model.safetensors, a Hugging Face id that is in the \
         local cache (nothing is downloaded), or random:NAME (tiny, vitb16, vitl16, vith16, vit1b16, \
         vit5b16) for random weights.",
    )
    .required(),
    parameter(
        "device",
        Kind::Text("DEVICE", "auto, cpu, cuda or cuda:N", device),
        "auto",
        "Device that runs the model. auto is the first GPU if that works, otherwise the CPU.",
    ),
    parameter(
        "precision",
        Kind::Choice(words::<Precision>),
        "auto",
        "Arithmetic of the model. auto is that of the engine folder if one is named, else bfloat16 on \
         CUDA (float16 below compute capability 8.0) and float32 on the CPU; int8 needs a compiled engine \
         and a CPU.",
    ),
    parameter(
        "engine",
        Kind::Text("ENGINE", "auto, eager or the path of an engine folder", given),
        "auto",
        "What runs the model. auto takes a matching compiled engine from the cache and validates it, \
         otherwise the eager model; a folder made by `pixio_node build` must match.",
    ),
    parameter(
        "engine_cache",
        Kind::Text("DIR", "auto or the path of a folder", given),
        "auto",
        "Folder where compiled engines are built and found. auto is ~/.cache/pixio_node.",
    ),
    parameter(
        "engine_build",
        Kind::Choice(words::<EngineBuild>),
        "off",
        "background builds an engine when engine: auto finds none that matches, runs the eager model \
         meanwhile, and swaps the engine in between two frames.",
    )
    .online_only(),
    parameter(
        "cuda_graph",
        Kind::Bool,
        "true",
        "Whether the work of a forward pass is recorded once as a CUDA graph and replayed. Not read on the \
         CPU.",
    ),
    parameter(
        "threads",
        Kind::Integer(0, 1024),
        "0",
        "CPU threads of forward passes. 0 measures at start and takes what serves a single pass fastest, the \
         smaller of two numbers that are equal; with the model on a GPU, one.",
    )
    .in_unit("threads"),
    parameter(
        "streams",
        Kind::WordOrInteger("auto", 1, 64),
        "auto",
        "Forward passes side by side, which share `threads`, with one each at least; one that is alone has \
         all of them. auto is, on the CPU, one for each camera as far as there are threads, and two for one \
         camera where a measurement at start shows that half of the threads serve a frame in at most 1.5 \
         times the time; on a GPU one.",
    )
    .online_only(),
    parameter(
        "batch_max",
        Kind::Integer(1, 64),
        "8",
        "Maximum number of images, from several cameras, in one forward pass. Streams on the CPU take one each.",
    )
    .in_unit("images")
    .online_only(),
    parameter(
        "layer",
        Kind::WordOrInteger("last", 1, i64::MAX),
        "last",
        "Block whose tokens become the features, counted from 1.",
    ),
];

/// Most are read at start and mean something to `infer` as well.
const fn parameter(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Parameter {
    Parameter::new("Model", name, kind, default, doc)
}
