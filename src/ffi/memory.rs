//! The C library's allocator, from which Rust's memory comes as well.

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    // SAFETY: it takes no pointer and locks what it touches; any thread may call it at any time.
    safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
}

/// Returns freed memory to the system, which glibc by itself keeps up to 64 MB of for each thread. It takes
/// milliseconds: for rare moments.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    malloc_trim(0);
}
