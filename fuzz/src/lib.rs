//! What all fuzz targets share: an allocator that counts, so that an input that takes more memory than any of
//! its size may is a finding, also without a sanitizer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes that one input may take at once beyond what was there before it. Inputs have at most 64 KB or so,
/// and images at most 2^18 pixels.
const MOST_BYTES: usize = 64 << 20;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// The system's allocator, counted.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        add(new_size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn add(n_bytes: usize) {
    let live = LIVE.fetch_add(n_bytes, Ordering::Relaxed).saturating_add(n_bytes);
    if LIMIT.load(Ordering::Relaxed) < live {
        IS_OVER.store(true, Ordering::Relaxed);
    }
}

/// Runs the target `name` on one input.
///
/// # Panics
/// The input has found a fault: a panic of the node's code, or too much memory.
pub fn run(name: &str, data: &[u8]) {
    LIMIT.store(LIVE.load(Ordering::Relaxed).saturating_add(MOST_BYTES), Ordering::Relaxed);
    pixio_node::fuzzing::run(name, data);
    LIMIT.store(usize::MAX, Ordering::Relaxed);
    let is_over = IS_OVER.swap(false, Ordering::Relaxed);
    assert!(!is_over, "{} bytes of input took more than {MOST_BYTES}", data.len());
}
