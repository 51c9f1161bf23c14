//! The table of functions of `libpixio_cuda.so`, as cuda.cpp has it.

use std::ffi::{c_char, c_int, c_void};

use super::DeviceMemory;

/// Of the table; both sides must agree.
pub(super) const API_VERSION: u32 = 2;

#[repr(C)]
pub(super) struct DeviceInfo {
    pub(super) name: [c_char; 256],
    pub(super) major: i32,
    pub(super) minor: i32,
}

/// Memory that recordings share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct GraphPool {
    first: u64,
    second: u64,
}

/// `PixioCudaApi` in cuda.cpp.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Api {
    pub(super) version: u32,
    pub(super) last_error: unsafe extern "C" fn() -> *const c_char,
    pub(super) device_count: unsafe extern "C" fn(*mut i32) -> bool,
    pub(super) device_info: unsafe extern "C" fn(c_int, *mut DeviceInfo) -> bool,
    pub(super) memory: unsafe extern "C" fn(c_int, *mut DeviceMemory) -> bool,
    pub(super) empty_cache: unsafe extern "C" fn() -> bool,
    pub(super) stream_new: unsafe extern "C" fn(c_int) -> *mut c_void,
    pub(super) stream_free: unsafe extern "C" fn(*mut c_void),
    pub(super) stream_use: unsafe extern "C" fn(*const c_void) -> bool,
    pub(super) current_stream: unsafe extern "C" fn(c_int, *mut *mut c_void) -> bool,
    pub(super) stream_wait: unsafe extern "C" fn(*const c_void) -> bool,
    pub(super) event_record: unsafe extern "C" fn(c_int) -> *mut c_void,
    pub(super) event_elapsed: unsafe extern "C" fn(*mut c_void, *mut c_void, *mut f32) -> bool,
    pub(super) event_free: unsafe extern "C" fn(*mut c_void),
    pub(super) pinned: unsafe extern "C" fn(i64) -> *mut c_void,
    pub(super) upload: unsafe extern "C" fn(*const c_void, *const c_void) -> bool,
    pub(super) download: unsafe extern "C" fn(*mut c_void, *const c_void) -> bool,
    pub(super) copy: unsafe extern "C" fn(*const c_void, *const c_void) -> bool,
    pub(super) pool_new: unsafe extern "C" fn(*mut GraphPool) -> bool,
    pub(super) graph_begin: unsafe extern "C" fn(c_int, *const GraphPool) -> *mut c_void,
    pub(super) graph_end: unsafe extern "C" fn(*mut c_void) -> bool,
    pub(super) graph_replay: unsafe extern "C" fn(*const c_void) -> bool,
    pub(super) graph_free: unsafe extern "C" fn(*mut c_void),
}
