//! Exemplars: patch tokens whose class somebody has pointed at, and the linear classifier that is fitted to
//! them. Pure: they know neither cameras nor threads.
//!
//! ```text
//!  class + pixels -> Exemplar (tokens of the taps under a pixel) -> Exemplars (bounded) -> fitted -> HeadParts
//! ```
//! Similarity is the simplest reader: one exemplar, and the cosine of every patch with it.

mod clicks;
mod colors;
mod cosine;
mod file;
mod fit;
mod forgotten;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod minimize;
mod names;
mod room;
mod store;

pub use self::clicks::Click;
pub use self::cosine::{cosines, direction};
pub use self::file::beside;
pub use self::fit::fitted;
pub use self::store::{Binding, Exemplar, Exemplars, Learnt, Limits, n_exemplars};
