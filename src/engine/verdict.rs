//! What a comparison of an engine with the eager model has found, and whether the engine is slower.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::Device;

use crate::geometry::Size;

/// An engine is slower only if it takes this many times as long as the eager model: on a busy machine two
/// runs of one and the same engine differ by as much.
const MARGIN: f64 = 1.15;

/// So many times as long is slower whatever the noise: a single round tells.
pub(super) const HOPELESS: f64 = 2.0;

/// Rounds without which a small difference tells nothing.
pub(super) const FEW: usize = 3;

/// On a CPU whose cores are taken by others, threads that wait for each other add so much to any engine's
/// time, to one more than to the other: it tells nothing of small models.
const UNSTEADY_MS: f64 = 20.0;

/// So many times as long is slower even then.
const UNDENIABLE: f64 = 4.0;

/// What a comparison has found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Images of the batch.
    pub batch: i64,
    /// A forward pass of the eager model, the median in milliseconds.
    pub eager_ms: f64,
    /// A forward pass of the engine, the median in milliseconds.
    pub engine_ms: f64,
    /// The engine's time over the eager model's, of the shortest runs or the median over the rounds,
    /// whichever is less.
    pub ratio: f64,
    /// Runs of each, in turn.
    pub n_rounds: usize,
}

impl Comparison {
    /// Why the engine should not serve images of `size` on `device`, if it is clearly slower than the eager
    /// model.
    pub fn slower(&self, size: Size, device: Device) -> Option<Slower> {
        let difference_ms = (self.ratio - 1.0) * self.eager_ms;
        let is_slower = match self.n_rounds {
            _ if device == Device::Cpu && difference_ms < UNSTEADY_MS => UNDENIABLE < self.ratio,
            // A round or two that are not hopeless could be noise.
            n if n < FEW => HOPELESS < self.ratio,
            _ => MARGIN < self.ratio,
        };
        is_slower.then_some(Slower { size, times: *self })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { eager_ms, engine_ms, .. } = self;
        write!(f, "compiled {}, eager {}", Millis(*engine_ms), Millis(*eager_ms))
    }
}

/// An engine that is slower than the eager model.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "it is slower than eager execution on this machine: {times} for {} of {size} ({:.1} times as long, {})",
    images(.times.batch), times.ratio, rounds(.times.n_rounds)
)]
pub struct Slower {
    /// Size of the model input.
    pub size: Size,
    /// The figures.
    pub times: Comparison,
}

fn images(batch: i64) -> String {
    if batch == 1 { "one image".into() } else { format!("{batch} images") }
}

fn rounds(n: usize) -> String {
    if n == 1 { "one run of each".into() } else { format!("median of {n} runs of each, in turn") }
}

/// Prints as people read a time: `20.4 s`, `452 ms`, `3.1 ms`.
struct Millis(f64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            millis if 1e4 <= millis => write!(f, "{:.1} s", millis / 1e3),
            millis if 1e2 <= millis => write!(f, "{millis:.0} ms"),
            millis => write!(f, "{millis:.1} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 256, height: 256 };

    #[test]
    fn a_few_milliseconds_are_noise_on_a_cpu_and_none_on_a_gpu() {
        let check = |eager: f64, engine: f64, expect: [bool; 2]| {
            let (eager_ms, engine_ms) = (eager, engine);
            let times = Comparison { batch: 1, eager_ms, engine_ms, ratio: engine / eager, n_rounds: FEW };
            let is_slower = |device| times.slower(SIZE, device).is_some();
            assert_eq!([Device::Cpu, Device::Cuda(0)].map(is_slower), expect, "{times}");
        };
        check(5.0, 9.0, [false, true]);
        check(5.0, 21.0, [true, true]);
        check(100.0, 110.0, [false, false]);
        check(100.0, 125.0, [true, true]);
    }
}
