//! What became of every frame, and how long each stage took.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::runtime::clock::LONGEST_AGE;
use crate::runtime::lock::lock;

/// The fate of one camera's frames. Every received frame is counted in exactly one of the others
/// once it has left the node: received = published + displaced + refused + unwanted + in flight.
#[derive(Debug, Default)]
pub struct Accounting {
    /// Our callback saw it.
    pub received: AtomicU64,
    /// At least one output went out.
    pub published: AtomicU64,
    /// A newer frame took its place before the model, or it had waited too long.
    pub displaced: AtomicU64,
    /// Displaced frames that had waited longer than `max_age`.
    pub too_old: AtomicU64,
    /// Frames that were broken.
    pub refused: AtomicU64,
    /// Nobody subscribed, the node was not enabled, `max_rate` passed it over, or what somebody subscribed to
    /// cannot be made yet: the PCA basis and the CameraInfo take their time.
    pub unwanted: AtomicU64,
    reasons: Mutex<BTreeMap<&'static str, u64>>,
}

impl Accounting {
    /// Counts one frame.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one refused frame under its reason and returns how many have had the same.
    pub fn refuse(&self, reason: &'static str) -> u64 {
        Self::count(&self.refused);
        let mut reasons = lock(&self.reasons);
        let n = reasons.entry(reason).or_default();
        *n += 1;
        *n
    }

    /// The counters as they are now.
    pub fn snapshot(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Fates before receipts: a frame that moves meanwhile is in flight rather than negative.
        let (published, displaced) = (get(&self.published), get(&self.displaced));
        let (refused, unwanted) = (get(&self.refused), get(&self.unwanted));
        let reasons = lock(&self.reasons).clone();
        let too_old = get(&self.too_old);
        Counts { received: get(&self.received), published, displaced, too_old, refused, unwanted, reasons }
    }
}

/// How many images went through the model at once, and how often.
#[derive(Debug, Default)]
pub struct Batches(Mutex<BTreeMap<usize, u64>>);

impl Batches {
    /// Counts a forward pass of `n_images`.
    pub fn count(&self, n_images: usize) {
        *lock(&self.0).entry(n_images).or_default() += 1;
    }

    /// Forward passes by their number of images.
    pub fn snapshot(&self) -> BTreeMap<usize, u64> {
        lock(&self.0).clone()
    }
}

/// [`Accounting`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Our callback saw it.
    pub received: u64,
    /// At least one output went out.
    pub published: u64,
    /// A newer frame took its place before the model, or it had waited too long.
    pub displaced: u64,
    /// Displaced frames that had waited longer than `max_age`.
    pub too_old: u64,
    /// Frames that were broken.
    pub refused: u64,
    /// Nobody subscribed, the node was not enabled, `max_rate` passed it over, or nothing could be made of it
    /// yet.
    pub unwanted: u64,
    /// Refused frames by reason.
    pub reasons: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Frames that are inside the node.
    pub fn in_flight(&self) -> u64 {
        self.received.saturating_sub(self.published + self.displaced + self.refused + self.unwanted)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, published, displaced, refused, unwanted, reasons, .. } = self;
        write!(f, "received {received} = published {published} + displaced {displaced} + refused {refused}")?;
        if !reasons.is_empty() {
            let list: Vec<_> = reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
            write!(f, " ({})", list.join(", "))?;
        }
        write!(f, " + unwanted {unwanted} + in flight {}", self.in_flight())
    }
}

/// A span of a frame's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Decode, resize, colour.
    Fit,
    /// In a latest slot before the model.
    Wait,
    /// The backbone; on a GPU the heads as well, which are waited for with it.
    Forward,
    /// Everything computed from tokens.
    Heads,
    /// Encoding and handing to DDS.
    Publish,
    /// From our callback to the last output handed to DDS.
    Total,
    /// From the camera's stamp to the last output handed to DDS.
    Age,
}

impl Span {
    /// All spans, in the order of a frame's life.
    pub const ALL: [Self; 7] =
        [Self::Fit, Self::Wait, Self::Forward, Self::Heads, Self::Publish, Self::Total, Self::Age];

    /// Lower-case name for logs and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Wait => "wait",
            Self::Forward => "forward",
            Self::Heads => "heads",
            Self::Publish => "publish",
            Self::Total => "total",
            Self::Age => "age",
        }
    }
}

/// Percentiles of one span, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Percentiles {
    /// Samples seen.
    pub n: u64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}

impl Percentiles {
    /// Of a few samples, by nearest rank.
    pub fn of(mut millis: Vec<f64>) -> Self {
        millis.sort_by(f64::total_cmp);
        let rank = |quantile: f64| ((quantile * millis.len() as f64).ceil() as usize).max(1) - 1;
        let at = |quantile| millis.get(rank(quantile)).copied().unwrap_or_default();
        Self { n: millis.len() as u64, p50: at(0.50), p95: at(0.95), p99: at(0.99) }
    }
}

/// What every span of some frames took.
pub type Spans = [(Span, Percentiles); Span::ALL.len()];

/// `spans` as JSON, by name.
pub fn spans_json(spans: &[(Span, Percentiles)]) -> serde_json::Value {
    spans.iter().map(|(span, percentiles)| (span.name().to_owned(), serde_json::json!(percentiles))).collect()
}

/// Latencies of every span of one camera's frames: since they were last taken, and of the last frames.
#[derive(Debug)]
pub struct Latencies([Mutex<Samples>; Span::ALL.len()]);

#[derive(Debug)]
struct Samples {
    since_taken: Histogram<u64>,
    /// Milliseconds, the newest last.
    recent: VecDeque<f64>,
}

/// Longer spans are recorded as this.
const LONGEST_MICROS: u64 = LONGEST_AGE.as_micros() as u64;

/// Frames that are recent.
const N_RECENT: usize = 256;

impl Default for Latencies {
    fn default() -> Self {
        Self(Span::ALL.map(|_| Mutex::new(Samples { since_taken: histogram(), recent: VecDeque::new() })))
    }
}

fn histogram() -> Histogram<u64> {
    // Two significant digits: 30 kB a histogram, half a percent of error.
    #[expect(clippy::expect_used, reason = "the bounds are constants that hdrhistogram accepts")]
    Histogram::new_with_bounds(1, LONGEST_MICROS, 2).expect("constant bounds are valid")
}

impl Latencies {
    /// Adds one sample.
    pub fn record(&self, span: Span, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(LONGEST_MICROS).clamp(1, LONGEST_MICROS);
        let mut samples = self.of(span);
        samples.since_taken.saturating_record(micros);
        if samples.recent.len() == N_RECENT {
            samples.recent.pop_front();
        }
        samples.recent.push_back(duration.min(LONGEST_AGE).as_secs_f64() * 1e3);
    }

    /// Percentiles since the last call, and starts anew.
    pub fn take(&self) -> Spans {
        Span::ALL.map(|span| {
            let histogram = &mut self.of(span).since_taken;
            // The last bucket reaches beyond the longest span.
            let millis = |quantile| histogram.value_at_quantile(quantile).min(LONGEST_MICROS) as f64 / 1000.0;
            let percentiles = match histogram.len() {
                0 => Percentiles::default(),
                n => Percentiles { n, p50: millis(0.50), p95: millis(0.95), p99: millis(0.99) },
            };
            histogram.reset();
            (span, percentiles)
        })
    }

    /// Percentiles of the last 256 frames.
    pub fn recent(&self) -> Spans {
        Span::ALL.map(|span| (span, Percentiles::of(self.of(span).recent.iter().copied().collect())))
    }

    fn of(&self, span: Span) -> MutexGuard<'_, Samples> {
        lock(&self.0[span as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_fates_and_frames_in_flight_is_what_was_received() {
        let accounting = Accounting::default();
        (0..5).for_each(|_| Accounting::count(&accounting.received));
        Accounting::count(&accounting.published);
        accounting.refuse("encoding");
        assert_eq!(accounting.refuse("encoding"), 2);
        let counts = accounting.snapshot();
        assert_eq!(counts.in_flight(), 2);
        let text =
            "received 5 = published 1 + displaced 0 + refused 2 (encoding 2) + unwanted 0 + in flight 2";
        assert_eq!(counts.to_string(), text);
    }

    #[test]
    fn no_span_is_told_as_longer_than_the_longest_age() {
        let latencies = Latencies::default();
        latencies.record(Span::Age, Duration::from_secs(1_795_679_304));
        let of_age = |spans: Spans| spans[Span::Age as usize].1.p99;
        assert_eq!((of_age(latencies.recent()), of_age(latencies.take())), (3_600_000.0, 3_600_000.0));
    }

    #[test]
    fn percentiles_are_of_the_samples_since_the_last_take() {
        let latencies = Latencies::default();
        (1..=100).for_each(|millis| latencies.record(Span::Fit, Duration::from_millis(millis)));
        let (span, fit) = latencies.take()[0];
        assert_eq!((span, fit.n), (Span::Fit, 100));
        assert!((fit.p50 - 50.0).abs() < 0.5 && (fit.p99 - 99.0).abs() < 1.0, "{fit:?}");
        assert_eq!(latencies.take()[0].1, Percentiles::default());
        // The last ones stay.
        let (_, recent) = latencies.recent()[0];
        assert_eq!((recent.n, recent.p50, recent.p99), (100, 50.0, 99.0));
        (0..300).for_each(|_| latencies.record(Span::Fit, Duration::from_millis(7)));
        let (_, recent) = latencies.recent()[0];
        assert_eq!((recent.n, recent.p50, recent.p99), (256, 7.0, 7.0));
    }
}
