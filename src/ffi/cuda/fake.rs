//! A GPU that computes nothing: its memory is the host's, and it notes what it is asked for. Copies are made at
//! once; recorded work is done while it is recorded, and a replay does nothing.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};

use super::table::{API_VERSION, Api, DeviceInfo, GraphPool};
use super::{Cuda, DeviceMemory};

static CALLS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static ONE_TEST: Mutex<()> = Mutex::new(());
static RECORDING: AtomicBool = AtomicBool::new(false);
static FAIL_END: AtomicBool = AtomicBool::new(false);

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// The fake, for one test at a time.
pub struct Fake {
    _one_test: MutexGuard<'static, ()>,
}

impl Fake {
    /// Waits until no other test has it.
    pub fn begin() -> Self {
        let one_test = lock(&ONE_TEST);
        lock(&CALLS).clear();
        Self { _one_test: one_test }
    }

    /// It, as CUDA.
    pub fn cuda(&self) -> Cuda {
        Cuda(&API)
    }

    /// What it was asked for since the last time, in order.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&CALLS))
    }

    /// Lets the next recording turn out not to be valid.
    pub fn spoil_recording(&self) {
        FAIL_END.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(call: impl Into<String>) {
    lock(&CALLS).push(call.into());
}

unsafe extern "C" fn last_error() -> *const c_char {
    c"the recording is not valid".as_ptr()
}

unsafe extern "C" fn device_count(n: *mut i32) -> bool {
    // SAFETY: the caller's pointer is valid.
    unsafe { *n = 1 };
    true
}

unsafe extern "C" fn device_info(_device: c_int, _info: *mut DeviceInfo) -> bool {
    false
}

unsafe extern "C" fn memory(_device: c_int, _memory: *mut DeviceMemory) -> bool {
    note("memory");
    true
}

unsafe extern "C" fn empty_cache() -> bool {
    note("empty_cache");
    true
}

unsafe extern "C" fn stream_new(_device: c_int) -> *mut c_void {
    Box::into_raw(Box::new(0u64)).cast()
}

unsafe extern "C" fn stream_free(stream: *mut c_void) {
    // SAFETY: made by `stream_new`, freed once.
    drop(unsafe { Box::from_raw(stream.cast::<u64>()) });
}

unsafe extern "C" fn stream_use(stream: *const c_void) -> bool {
    CURRENT.set(stream.addr());
    true
}

unsafe extern "C" fn current_stream(_device: c_int, raw: *mut *mut c_void) -> bool {
    // SAFETY: the caller's pointer is valid.
    unsafe { *raw = ptr::without_provenance_mut(CURRENT.get()) };
    true
}

unsafe extern "C" fn stream_wait(_stream: *const c_void) -> bool {
    note("wait");
    true
}

unsafe extern "C" fn event_record(_device: c_int) -> *mut c_void {
    ptr::null_mut()
}

unsafe extern "C" fn event_elapsed(_start: *mut c_void, _end: *mut c_void, _millis: *mut f32) -> bool {
    false
}

unsafe extern "C" fn event_free(_event: *mut c_void) {}

unsafe extern "C" fn pinned(n_bytes: i64) -> *mut c_void {
    note("pinned");
    let mut tensor = Tensor::zeros([n_bytes], (Kind::Uint8, Device::Cpu));
    let raw = tensor.as_mut_ptr();
    std::mem::forget(tensor);
    raw.cast()
}

/// The tensor at `raw`, on the same memory.
unsafe fn tensor(raw: *const c_void) -> Tensor {
    // SAFETY: the caller's tensor is alive during the call.
    unsafe { Tensor::clone_from_ptr(raw.cast_mut().cast()) }
}

fn n_bytes(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.kind().elt_size_in_bytes()
}

unsafe extern "C" fn upload(target: *const c_void, source: *const c_void) -> bool {
    note("upload");
    // SAFETY: the caller's tensor is alive, and `source` has as many bytes.
    unsafe {
        let target = tensor(target);
        ptr::copy(source.cast::<u8>(), target.data_ptr().cast(), n_bytes(&target));
    }
    true
}

unsafe extern "C" fn download(target: *mut c_void, source: *const c_void) -> bool {
    note("download");
    // SAFETY: as above.
    unsafe {
        let source = tensor(source);
        ptr::copy(source.data_ptr().cast::<u8>(), target.cast(), n_bytes(&source));
    }
    true
}

unsafe extern "C" fn copy(target: *const c_void, source: *const c_void) -> bool {
    note("copy");
    // SAFETY: both tensors are alive.
    unsafe { tensor(target).copy_(&tensor(source)) };
    true
}

unsafe extern "C" fn pool_new(pool: *mut GraphPool) -> bool {
    note("pool");
    // SAFETY: the caller's pointer is valid.
    unsafe { *pool = GraphPool::default() };
    true
}

unsafe extern "C" fn graph_begin(_device: c_int, _pool: *const GraphPool) -> *mut c_void {
    if RECORDING.swap(true, Ordering::SeqCst) {
        note("second recording");
    }
    note("begin");
    Box::into_raw(Box::new(0u64)).cast()
}

unsafe extern "C" fn graph_end(_graph: *mut c_void) -> bool {
    RECORDING.store(false, Ordering::SeqCst);
    let is_valid = !FAIL_END.swap(false, Ordering::Relaxed);
    note(if is_valid { "end" } else { "end, not valid" });
    is_valid
}

unsafe extern "C" fn graph_replay(_graph: *const c_void) -> bool {
    note("replay");
    true
}

unsafe extern "C" fn graph_free(graph: *mut c_void) {
    if RECORDING.load(Ordering::SeqCst) {
        note("freed while another records");
    }
    note("free");
    // SAFETY: made by `graph_begin`, freed once.
    drop(unsafe { Box::from_raw(graph.cast::<u64>()) });
}

static API: Api = Api {
    version: API_VERSION,
    last_error,
    device_count,
    device_info,
    memory,
    empty_cache,
    stream_new,
    stream_free,
    stream_use,
    current_stream,
    stream_wait,
    event_record,
    event_elapsed,
    event_free,
    pinned,
    upload,
    download,
    copy,
    pool_new,
    graph_begin,
    graph_end,
    graph_replay,
    graph_free,
};
