//! How long what was compiled takes beside what would run without it: both in turn, within a budget.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tch::Tensor;

use super::int8::Kernel;
use super::verdict::{Comparison, FEW, HOPELESS};
use super::{Engine, EngineError};

/// No other process keeps a run waiting for so long.
const HICCUP: Duration = Duration::from_secs(1);

/// Rounds of a comparison that the engine is about to lose, as long as there is time: noise may be to blame.
const MANY: usize = 100;

/// What a timed run belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// The model, operation by operation.
    Eager,
    /// The engine on trial.
    Engine,
    /// Integer products only.
    Kernel(Kernel),
}

/// A forward pass that is timed.
pub type Run<'a> = &'a mut dyn FnMut() -> Result<(), EngineError>;

/// Takes the time of a run.
pub trait Stopwatch {
    /// Runs `run` and returns how long that took.
    ///
    /// # Errors
    /// The errors of `run`.
    fn time(&mut self, runner: Runner, run: Run<'_>) -> Result<Duration, EngineError>;
}

/// The clock on the wall.
#[derive(Debug)]
pub struct WallClock;

impl Stopwatch for WallClock {
    fn time(&mut self, _runner: Runner, run: Run<'_>) -> Result<Duration, EngineError> {
        let started = Instant::now();
        run()?;
        Ok(started.elapsed())
    }
}

/// The processor's time, of all threads of this process together: what other processes do does not count. It
/// tells which of two kernels has less to do, where both use all threads.
#[derive(Debug)]
pub struct ProcessorTime;

impl Stopwatch for ProcessorTime {
    fn time(&mut self, _runner: Runner, run: Run<'_>) -> Result<Duration, EngineError> {
        let started = Self::now();
        run()?;
        Ok(Self::now().saturating_sub(started))
    }
}

impl ProcessorTime {
    /// So far.
    pub fn now() -> Duration {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        let whole = Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or_default());
        whole + Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or_default())
    }
}

/// Measurements that share a budget.
pub struct Trial {
    stopwatch: Box<dyn Stopwatch>,
    left: Duration,
    most_rounds: usize,
}

impl Trial {
    /// When an engine is loaded: the start must stay quick.
    pub fn at_start() -> Self {
        Self::new(Box::new(WallClock), Duration::from_secs(2), 5)
    }

    /// Measures until `budget` is spent, and no more than `most_rounds` rounds of an engine that is not
    /// slower.
    pub fn new(stopwatch: Box<dyn Stopwatch>, budget: Duration, most_rounds: usize) -> Self {
        Self { stopwatch, left: budget, most_rounds }
    }

    /// What is left of the budget.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// Runs once, at the budget's cost.
    ///
    /// # Errors
    /// The errors of `run`.
    pub fn time(&mut self, runner: Runner, run: Run<'_>) -> Result<Duration, EngineError> {
        let took = self.stopwatch.time(runner, run)?;
        self.left = self.left.saturating_sub(took);
        Ok(took)
    }

    /// Runs `eager` and `engine` in turn until `share` or the budget is spent, but not before the rounds tell
    /// which is faster, and no longer than that when the engine is hopeless. `heard` hears of every round and
    /// ends the comparison when it returns false.
    ///
    /// # Errors
    /// The errors of the two runs.
    pub fn compare(
        &mut self,
        eager: Run<'_>,
        engine: Run<'_>,
        share: Duration,
        heard: &mut dyn FnMut(&Rounds) -> bool,
    ) -> Result<Rounds, EngineError> {
        let mut rounds = Rounds::default();
        let keep = self.left.saturating_sub(share);
        loop {
            let took = [self.time(Runner::Eager, eager)?, self.time(Runner::Engine, engine)?];
            rounds.0.push(took);
            let most_rounds = if rounds.ratio() <= 1.0 { self.most_rounds } else { MANY };
            let is_spent = self.left <= keep && rounds.are_decisive();
            if !heard(&rounds) || is_spent || rounds.are_hopeless() || most_rounds <= rounds.n() {
                return Ok(rounds);
            }
        }
    }

    /// [`Trial::compare`] with forward passes on `images`, each until its tokens are there.
    ///
    /// # Errors
    /// An engine's own.
    pub fn engines(
        &mut self,
        eager: &mut dyn Engine,
        engine: &mut dyn Engine,
        images: &[Tensor],
        share: Duration,
        heard: &mut dyn FnMut(&Rounds) -> bool,
    ) -> Result<Rounds, EngineError> {
        let pass = |engine: &mut dyn Engine| {
            engine.run(images, usize::MAX)?;
            engine.wait()
        };
        if images.iter().any(|part| part.device().is_cuda()) {
            // The first run of a shape loads kernels and may be recorded, which is work of another kind.
            pass(eager)?;
            pass(engine)?;
        }
        self.compare(&mut || pass(eager), &mut || pass(engine), share, heard)
    }
}

/// Times of the eager model and of the engine, round by round; one round at least.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rounds(Vec<[Duration; 2]>);

impl Rounds {
    /// One round: the eager model's time and the engine's.
    pub fn of(eager: Duration, engine: Duration) -> Self {
        Self(vec![[eager, engine]])
    }

    /// How many.
    pub fn n(&self) -> usize {
        self.0.len()
    }

    /// Whether the engine is so slow that another round would tell nothing new. Short runs are no proof of
    /// that: on a machine with too much to do they take many times as long.
    pub fn are_hopeless(&self) -> bool {
        let lasts = self.0.last().is_some_and(|&[_, engine]| HICCUP < engine);
        lasts && HOPELESS < self.ratio()
    }

    /// Whether they tell which is faster.
    fn are_decisive(&self) -> bool {
        FEW <= self.n() || self.ratio() <= 1.0 || HOPELESS < self.ratio()
    }

    /// The engine's time over the eager model's: that of the shortest runs or the median over the rounds,
    /// whichever speaks for the engine.
    fn ratio(&self) -> f64 {
        let shortest = |which: usize| self.0.iter().map(|round| round[which]).min().unwrap_or_default();
        let over = |engine: Duration, eager: Duration| {
            engine.as_secs_f64() / eager.max(Duration::from_nanos(1)).as_secs_f64()
        };
        let each = self.0.iter().map(|&[eager, engine]| over(engine, eager));
        over(shortest(1), shortest(0)).min(median(each))
    }

    /// The figures, for `batch` images.
    pub fn times(&self, batch: i64) -> Comparison {
        let millis = |which: usize| median(self.0.iter().map(|round| round[which].as_secs_f64() * 1e3));
        Comparison {
            batch,
            eager_ms: millis(0),
            engine_ms: millis(1),
            ratio: self.ratio(),
            n_rounds: self.n(),
        }
    }
}

/// The middle value, the lower one of two; 0 of none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use tch::Device;

    use super::*;
    use crate::geometry::Size;

    /// Says times that were written down, the last one again and again.
    pub(in crate::engine) struct Scripted {
        pub(in crate::engine) eager: &'static [u64],
        pub(in crate::engine) engine: &'static [u64],
    }

    impl Stopwatch for Scripted {
        fn time(&mut self, runner: Runner, run: Run<'_>) -> Result<Duration, EngineError> {
            run()?;
            let script = match runner {
                Runner::Eager => &mut self.eager,
                Runner::Engine | Runner::Kernel(_) => &mut self.engine,
            };
            let &[first, ref rest @ ..] = *script else { return Ok(Duration::ZERO) };
            if !rest.is_empty() {
                *script = rest;
            }
            Ok(Duration::from_millis(first))
        }
    }

    const SIZE: Size = Size { width: 256, height: 256 };

    /// Compares engines that take so many milliseconds, one run after the other, within `budget`
    /// milliseconds.
    fn check(eager: &'static [u64], engine: &'static [u64], budget: u64, n_rounds: usize, expect: &str) {
        let stopwatch = Box::new(Scripted { eager, engine });
        let mut trial = Trial::new(stopwatch, Duration::from_millis(budget), 5);
        let mut runs = [0, 0];
        let [n_eager, n_engine] = &mut runs;
        let mut heard = Vec::new();
        let rounds = trial.compare(
            &mut || {
                *n_eager += 1;
                Ok(())
            },
            &mut || {
                *n_engine += 1;
                Ok(())
            },
            Duration::from_millis(budget),
            &mut |rounds| {
                heard.push(rounds.n());
                true
            },
        );
        let times = rounds.unwrap().times(1);
        let answer =
            times.slower(SIZE, Device::Cpu).map_or_else(|| "serves".into(), |slower| slower.to_string());
        assert!(answer.contains(expect), "{expect:?} is not in: {answer}");
        assert_eq!(runs, [n_rounds; 2], "{answer}");
        assert_eq!(heard, (1..=n_rounds).collect::<Vec<_>>());
    }

    #[test]
    fn an_engine_serves_unless_it_is_clearly_slower() {
        check(&[450], &[290], 60_000, 5, "serves");
        check(&[100], &[100], 60_000, 5, "serves");
        check(&[100], &[114], 60_000, 100, "serves");
        let answer = "slower than eager execution on this machine: compiled 130 ms, eager 100 ms for one \
                    image of 256x256 (1.3 times as long, median of 5 runs of each, in turn)";
        check(&[100], &[130], 1000, 5, answer);
    }

    #[test]
    fn noise_does_not_make_a_tie_a_defeat() {
        // Most rounds were disturbed, the shortest runs are alike.
        check(&[100], &[300, 300, 100, 300, 300], 60_000, 5, "serves");
        // One run of the eager model was lucky.
        check(&[100, 100, 50, 100, 100], &[100], 60_000, 5, "serves");
        // An engine that seems to be slower gets more than the five rounds.
        check(&[100], &[160, 150, 140, 150, 150, 100, 100], 60_000, 6, "serves");
        // The budget is spent after the first round, which a hiccup has lengthened: another one decides.
        check(&[100], &[160, 100, 100], 150, 2, "serves");
    }

    #[test]
    fn a_trial_ends_with_its_budget() {
        check(&[450], &[290], 2000, 3, "serves");
        check(&[2500], &[1000], 2000, 1, "serves");
        // As torch's int8 product on a CPU without VNNI: nobody waits for it twice.
        let answer =
            "compiled 20.4 s, eager 450 ms for one image of 256x256 (45.3 times as long, one run of each)";
        check(&[450], &[20_400], 2000, 1, answer);
        check(&[100], &[5000], 60_000, 1, "(50.0 times as long, one run of each)");
        check(&[10], &[50], 600, 10, "(5.0 times as long, median of 10 runs");
        check(&[2500], &[3000], 2000, 3, "(1.2 times as long, median of 3 runs");
    }

    #[test]
    fn whoever_hears_of_a_round_can_end_the_trial() {
        let stopwatch = Box::new(Scripted { eager: &[10], engine: &[10] });
        let mut trial = Trial::new(stopwatch, Duration::from_secs(60), 5);
        let share = trial.left();
        let ended = trial.compare(&mut || Ok(()), &mut || Ok(()), share, &mut |rounds| rounds.n() < 2);
        assert_eq!(ended.unwrap().n(), 2);
        assert_eq!(trial.left(), Duration::from_millis(59_960));
        let failed = || Err(EngineError { message: "no memory".into() });
        assert!(trial.compare(&mut || Ok(()), &mut || failed(), share, &mut |_| true).is_err());
    }
}
