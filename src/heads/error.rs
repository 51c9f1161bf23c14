//! Everything that can be wrong with a head.

use std::path::PathBuf;

use tch::TchError;

use crate::ffi;

/// Why a head cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The file.
    #[error("head {}: {reason}", file.display())]
    File {
        /// The head file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The head was made for another encoder, or for another task.
    #[error("head {}: {reason}", file.display())]
    Misfit {
        /// The head file.
        file: PathBuf,
        /// Both sides.
        reason: String,
    },
    /// The wrong number of taps was given.
    #[error("the head reads the blocks {expected:?}, {given} were given")]
    Taps {
        /// How many were given.
        given: usize,
        /// The card's.
        expected: Vec<usize>,
    },
    /// libtorch's own.
    #[error("libtorch: {message}")]
    Libtorch {
        /// First line of what it said.
        message: String,
    },
}

impl From<TchError> for HeadError {
    fn from(err: TchError) -> Self {
        Self::Libtorch { message: ffi::first_line(&err) }
    }
}
