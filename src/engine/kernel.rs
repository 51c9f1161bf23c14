//! Which kernel multiplies the integers of an int8 engine: the fastest on this machine.

use std::fmt;
use std::time::Duration;

use super::EngineError;
use super::int8::Kernel;
use super::timing::{Runner, Stopwatch};
use crate::geometry::Size;
use crate::pixio::PixioConfig;

/// Rounds over a layer, if there is time; the shortest run counts.
const MOST_ROUNDS: usize = 20;

/// Rounds over a layer in any case.
const FEW: usize = 3;

/// Time for the rounds over one layer.
const BUDGET: Duration = Duration::from_millis(300);

/// A kernel that takes so many times as long in one layer is out.
const OUT: u32 = 8;

/// What takes so long is measured once.
const LONG: Duration = Duration::from_secs(1);

/// Processor time of the products of one block by one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// What multiplied.
    pub kernel: Kernel,
    /// The shortest runs, all layers together; at least that, if it was too slow to go on.
    pub took: Duration,
    /// Whether all layers were measured.
    pub is_complete: bool,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = if self.is_complete { "" } else { "over " };
        write!(f, "{} {least}{:.1} ms", self.kernel, self.took.as_secs_f64() * 1e3)
    }
}

/// A kernel that was asked for cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("--int8-kernel {kernel}: {reason}")]
pub struct KernelError {
    /// Asked for.
    pub kernel: Kernel,
    /// Why not.
    pub reason: String,
}

/// Weights `[out, in]` of a block's layers, the smallest first.
pub fn layers(config: &PixioConfig) -> [[i64; 2]; 4] {
    let [hidden, mlp] =
        [config.hidden_size, config.mlp_hidden()].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    [[hidden, hidden], [3 * hidden, hidden], [mlp, hidden], [hidden, mlp]]
}

/// Whether `kernel` can multiply `layers`.
///
/// # Errors
/// Why not.
pub fn check(kernel: Kernel, layers: &[[i64; 2]]) -> Result<(), KernelError> {
    let checked = layers.iter().try_for_each(|&shape| kernel.check(shape));
    checked.map_err(|reason| KernelError { kernel, reason })
}

/// Tokens of one image of `size`.
pub fn n_tokens(config: &PixioConfig, size: Size) -> i64 {
    let [rows, columns] = size.patches();
    rows * columns + i64::try_from(config.n_cls_tokens).unwrap_or_default()
}

/// Measures every kernel that can multiply `layers` on `n_tokens` tokens, in turn; the fastest is first. One
/// that takes very much longer is given up after the first layer.
///
/// # Errors
/// libtorch's own.
pub fn measured(
    layers: &[[i64; 2]],
    n_tokens: i64,
    stopwatch: &mut dyn Stopwatch,
) -> Result<Vec<Measured>, EngineError> {
    let able = Kernel::ALL.into_iter().filter(|&kernel| check(kernel, layers).is_ok());
    let mut candidates: Vec<_> =
        able.map(|kernel| Measured { kernel, took: Duration::ZERO, is_complete: true }).collect();
    for &shape in layers {
        let n_able = candidates.iter().filter(|one| one.is_complete).count();
        let mut shortest = vec![Duration::MAX; candidates.len()];
        let mut spent = Duration::ZERO;
        let weights = candidates.iter().map(|one| one.kernel.zeros(shape)).collect::<Result<Vec<_>, _>>()?;
        // The first one makes the kernel's code.
        for round in 0..=MOST_ROUNDS {
            if FEW < round && (n_able == 1 || BUDGET < spent) {
                break;
            }
            for index in 0..candidates.len() {
                let kernel = candidates[index].kernel;
                let best = shortest.iter().copied().min().unwrap_or(Duration::MAX);
                let is_slow = shortest[index] != Duration::MAX && best.saturating_mul(OUT) < shortest[index];
                let is_out = is_slow && (FEW < round || LONG < shortest[index]);
                if is_out || !candidates[index].is_complete {
                    continue;
                }
                let mut run = || kernel.multiply(n_tokens, shape[1], &weights[index]);
                let took = stopwatch.time(Runner::Kernel(kernel), &mut run)?;
                if 0 < round || LONG < took {
                    shortest[index] = shortest[index].min(took);
                    spent += took;
                }
            }
        }
        let best = shortest.iter().copied().min().unwrap_or(Duration::MAX);
        for (one, shortest) in candidates.iter_mut().zip(shortest).filter(|(one, _)| one.is_complete) {
            one.took += shortest;
            one.is_complete = shortest <= best.saturating_mul(OUT);
        }
    }
    candidates.sort_by_key(|one| (!one.is_complete, one.took));
    Ok(candidates)
}

#[cfg(test)]
mod tests {
    use super::super::timing::Run;
    use super::*;

    /// Says so many milliseconds for every run of a kernel and counts them.
    struct Told {
        millis: [(Kernel, u64); 2],
        n_runs: [usize; 2],
    }

    impl Stopwatch for Told {
        fn time(&mut self, runner: Runner, run: Run<'_>) -> Result<Duration, EngineError> {
            run()?;
            let index = self.millis.iter().position(|&(kernel, _)| runner == Runner::Kernel(kernel)).unwrap();
            self.n_runs[index] += 1;
            Ok(Duration::from_millis(self.millis[index].1))
        }
    }

    fn check(avx2: u64, int_mm: u64, n_runs: [usize; 2], expect: &str) {
        if crate::ffi::int8::is_supported() {
            let mut told = Told { millis: [(Kernel::Avx2, avx2), (Kernel::IntMm, int_mm)], n_runs: [0; 2] };
            let layers = [[16, 16], [48, 16], [64, 16], [16, 64]];
            let candidates: Vec<_> =
                measured(&layers, 20, &mut told).unwrap().iter().map(Measured::to_string).collect();
            assert_eq!((candidates.join(", ").as_str(), told.n_runs), (expect, n_runs));
        }
    }

    #[test]
    fn the_fastest_kernel_is_chosen_and_a_hopeless_one_is_given_up() {
        check(6, 2, [84, 84], "int_mm 8.0 ms, avx2 24.0 ms");
        check(60, 70, [16, 16], "avx2 240.0 ms, int_mm 280.0 ms");
        // As on a CPU without VNNI; the second for a model that is so large that nobody waits for more.
        check(6, 150, [16, 4], "avx2 24.0 ms, int_mm over 150.0 ms");
        check(20, 2500, [16, 1], "avx2 80.0 ms, int_mm over 2500.0 ms");
    }

    #[test]
    fn a_kernel_that_cannot_multiply_a_layer_is_not_chosen() {
        let mut told = Told { millis: [(Kernel::Avx2, 1), (Kernel::IntMm, 100)], n_runs: [0; 2] };
        let candidates = measured(&[[24, 24]], 20, &mut told).unwrap();
        assert_eq!(candidates.iter().map(|one| one.kernel).collect::<Vec<_>>(), [Kernel::IntMm]);
        let answer = super::check(Kernel::Avx2, &[[24, 24]]).unwrap_err().to_string();
        assert!(answer.starts_with("--int8-kernel avx2: "), "{answer}");
    }
}
