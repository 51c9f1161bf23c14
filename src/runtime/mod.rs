//! What every stage needs from a runtime: the latest-value slot, named and joined threads, a
//! buffer pool, child processes, the set of wanted outputs, what was pointed at, the clock, and what is seen of the
//! cameras: the accounting, the latencies and the monitor.

pub mod cache;
pub mod child;
pub mod clock;
pub mod latest;
pub mod meter;
pub mod monitor;
pub mod pace;
pub mod pool;
pub mod query;
pub mod rate;
pub mod scratch;
pub mod statistics;
pub mod tensor;
pub mod thread;
pub mod wanted;
