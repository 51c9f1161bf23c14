//! Engines on disk: the folder and whom to trust with it, its manifest, and the machine that it was built
//! for, here or elsewhere.

pub mod folder;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod machine;
pub mod manifest;
pub mod target;
mod trust;
