//! C libraries without a safe way in: JPEG files ([`jpeg`]) and the allocator ([`memory`]). They know nothing
//! of cameras.
#![expect(unsafe_code, reason = "C has no other way in")]

pub mod jpeg;
pub mod memory;
