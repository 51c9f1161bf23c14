//! `pixio_node` turns camera topics into Pixio patch features, in real time.
//!
//! ```text
//!  receive thread      fit thread           model thread                     publish thread
//!  (one per camera)    (one per camera)
//!  camera  --latest--> fit  --latest--> forward -> derive --bounded(1)--> publish -> topics
//!  Frame               Input            Tokens     Derived                Encoded    messages
//! ```
//!
//! Invariants:
//! - Data flows one way. A stage calls no other stage and knows no channel; [`pipeline`] alone
//!   wires threads and channels.
//! - Only [`ros`] knows ROS.
//! - Only [`engine`] knows how the model runs on a device, and only [`ffi`] has `unsafe`.
//! - Only [`stages::fit`] knows OpenCV.
//! - [`geometry`], [`encode`] and [`heads`] are pure.
//! - [`diagnostics`] reads what the others leave, and changes nothing.
//! - Nothing upstream of the model queues more than one frame per camera; nothing after it is
//!   dropped. Until a stage fails, every frame that does not come out is counted where it ends.
//! - No stage touches what it has sent on.
//! - No code runs in a signal handler, and only [`console`] prints.
//! - The header of a frame goes unchanged to every output made from it.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod commands;
pub mod config;
pub mod console;
pub mod diagnostics;
pub mod encode;
pub mod engine;
pub mod ffi;
pub mod geometry;
pub mod heads;
pub mod logging;
pub mod outputs;
pub mod pca;
pub mod pipeline;
pub mod pixio;
pub mod report;
pub mod ros;
pub mod runtime;
pub mod setup;
pub mod stages;
