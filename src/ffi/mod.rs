//! The C and C++ that have no other way in, made safe, and the only place with `unsafe`: AOTInductor packages
//! ([`package`]), CUDA ([`cuda`]), oneDNN ([`onednn`]), products of bytes ([`int8`]), JPEG files ([`jpeg`])
//! and the allocator ([`memory`]). What the C would take silently (another type, shape, device or layout,
//! constants of another shape) is refused here.
#![expect(unsafe_code, reason = "C and C++ have no other way in")]

pub mod cuda;
pub mod int8;
pub mod jpeg;
pub mod memory;
pub mod onednn;
pub mod package;

use std::ffi::{CStr, c_char};

use tch::TchError;

/// What libtorch or CUDA said, or a use of them that would go wrong without a word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ShimError {
    /// One line.
    pub message: String,
}

impl ShimError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl From<TchError> for ShimError {
    fn from(err: TchError) -> Self {
        Self::new(first_line(&err))
    }
}

/// The first line of what libtorch says; the others are a backtrace through its C++.
pub fn first_line(err: &TchError) -> String {
    let text = match err {
        TchError::Torch(text) => text.clone(),
        other => other.to_string(),
    };
    text.lines().next().unwrap_or_default().to_owned()
}

/// The text at `chars`, which may be null.
///
/// # Safety
/// `chars` is null or points to a C string that lives during the call.
unsafe fn text(chars: *const c_char) -> String {
    if chars.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(chars) }.to_string_lossy().into_owned()
}
