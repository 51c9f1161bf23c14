//! `pixio_node` turns camera topics into Pixio patch features, in real time.
//!
//! ```text
//!  receive thread      fit thread           model threads                    publish thread
//!  (one per camera)    (one per camera)     (`streams` of them)
//!  camera  --latest--> fit  --latest--> forward -> derive --bounded(1)--> publish -> topics
//!  Frame               Input            Tokens     Derived                Encoded    messages
//! ```
//!
//! # A frame, stage by stage
//!
//! The stages are functions that need no threads and no ROS. What [`pipeline`] does with every frame of a
//! camera, for one frame of grey pixels and a small random model:
//!
//! ```
//! use std::time::Instant;
//!
//! use pixio_node::config::{Fit, ResizeFilter};
//! use pixio_node::engine::eager::Eager;
//! use pixio_node::geometry::Size;
//! use pixio_node::pixio::{Pixio, Source};
//! use pixio_node::runtime::input_pixels::InputPixels;
//! use pixio_node::stages::camera::{Frame, Header, CameraImage, Raster, Stamp};
//! use pixio_node::stages::fit::Fitter;
//! use pixio_node::stages::forward::{Input, forward};
//!
//! // camera: an image as its topic delivers it.
//! let frame = Frame {
//!     header: Header { stamp: Stamp { sec: 12, nanosec: 500 }, frame_id: "camera_optical".into() },
//!     camera: 0,
//!     received: Instant::now(),
//!     image: CameraImage::Raw(Raster {
//!         encoding: "mono8".into(),
//!         width: 64,
//!         height: 48,
//!         step: 64,
//!         big_endian: false,
//!         bytes: vec![128; 64 * 48].into(),
//!     }),
//!     intrinsics: None,
//! };
//!
//! // fit: the pixels that the model sees, and where each of them lies in the camera's image.
//! let size = Size { width: 96, height: 64 };
//! let mut fitter = Fitter::new(Fit::Letterbox, size, ResizeFilter::Exact, 25_000_000);
//! let mut pixels = InputPixels::default();
//! let geometry = fitter.fit(&frame, &mut pixels)?;
//! assert_eq!(pixels.len(), 96 * 64 * 3);
//!
//! // forward: the tokens of the last block, [batch, class tokens + patches, channels].
//! let pixio = Pixio::load(&Source::resolve("random:tiny")?, tch::Device::Cpu, tch::Kind::Float)?;
//! let mut engine = Eager::new(pixio, &[4])?;
//! let input = Input::new(frame, pixels, geometry);
//! let tokens = forward(&mut engine, &[&input], usize::MAX)?;
//! assert_eq!(tokens.taps[0].size(), [1, 8 + 6 * 4, 192]);
//!
//! // The header goes on to every output; a patch knows its place in the camera's image.
//! assert_eq!(input.header.stamp.nanos(), 12_000_000_500);
//! let grid = input.geometry.grid();
//! assert_eq!((grid.width, grid.height), (6, 4));
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! From there [`stages::derive`] makes features, depth and labels, and [`stages::publish`] encodes what is
//! subscribed to; [`outputs`] lists what there is. `docs/` and `ARCHITECTURE.md` of the repository tell the
//! rest.
//!
//! # Invariants
//! - Data flows one way. A stage calls no other stage and knows no channel; [`pipeline`] alone
//!   wires threads and channels.
//! - Only [`ros`] knows ROS, and only [`live`] knows HTTP.
//! - Only [`engine`] knows how the model runs on a device, and only [`ffi`] has `unsafe`.
//! - Only [`stages::fit`] knows OpenCV.
//! - [`geometry`], [`encode`], [`heads`] and [`exemplars`] are pure.
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
pub mod exemplars;
pub mod ffi;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod geometry;
pub mod heads;
pub mod live;
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
pub mod teaching;
pub mod text;
