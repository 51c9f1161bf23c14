//! What every stage needs from a runtime: the latest-value slot, named and joined threads, a buffer pool,
//! child processes, the clock, and what is seen of the cameras: the accounting, the latencies and the
//! monitor.

pub mod cache;
pub mod child;
pub mod clock;
pub mod descriptors;
pub mod input_pixels;
pub mod latest;
pub mod lock;
pub mod meter;
pub mod monitor;
pub mod pool;
pub mod scratch;
pub mod statistics;
pub mod tensor;
pub mod thread;
