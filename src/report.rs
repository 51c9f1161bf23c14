//! Statistics for people and for programs: one log line per camera and period, and JSON lines.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use serde_json::json;

use crate::files;
use crate::pipeline::Shared;
use crate::runtime::statistics::{Counts, Latencies, Percentiles, Span, spans_json};
use crate::runtime::thread::Stage;

/// Opens the file for reports.
///
/// # Errors
/// The file cannot be written.
pub fn open(path: &Path) -> anyhow::Result<File> {
    files::append(path).with_context(|| format!("stats_file: cannot write {}", path.display()))
}

/// Shorter periods would be all that the log holds.
const SHORTEST_PERIOD_SECS: f64 = 0.1;

/// Writes what the stages count.
pub struct Reporter {
    shared: Shared,
    cameras: Vec<String>,
    period: Option<Duration>,
    file: Option<File>,
    /// Counts and time of the last report.
    last: (Instant, Vec<Counts>),
}

impl Reporter {
    /// `cameras` are names for the log; `period_secs` 0 reports only at the end; `file` gets one
    /// JSON object per report.
    pub fn new(shared: Shared, cameras: Vec<String>, period_secs: f64, file: Option<File>) -> Self {
        let counts = vec![Counts::default(); cameras.len()];
        let period = Some(period_secs).filter(|&secs| 0.0 < secs);
        let period = period.map(|secs| Duration::from_secs_f64(secs.max(SHORTEST_PERIOD_SECS)));
        Self { shared, cameras, period, file, last: (Instant::now(), counts) }
    }

    /// Reports on a thread of its own; `ended` hears of its end.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(self, ended: &mpsc::Sender<()>) -> anyhow::Result<Reporting> {
        let (reports, stop) = crossbeam_channel::bounded(0);
        let report = move || {
            self.run(&stop);
            Ok(())
        };
        Ok(Reporting { reports, stage: Stage::spawn("statistics", ended.clone(), report)? })
    }

    /// Reports once a period until the sender of `stop` is gone, and once more then.
    fn run(mut self, stop: &Receiver<()>) {
        loop {
            let stopped = match self.period {
                Some(period) => stop.recv_timeout(period) != Err(RecvTimeoutError::Timeout),
                None => stop.recv().is_err(),
            };
            self.report(stopped);
            if stopped {
                return;
            }
        }
    }

    fn report(&mut self, at_end: bool) {
        let counts: Vec<Counts> = self.shared.accounting.iter().map(|camera| camera.snapshot()).collect();
        let spans: Vec<_> = self.shared.latencies.iter().map(Latencies::take).collect();
        let elapsed = self.last.0.elapsed();
        for (((name, now), before), spans) in self.cameras.iter().zip(&counts).zip(&self.last.1).zip(&spans) {
            if at_end {
                tracing::info!("{name}: {now}");
            } else {
                let rate = |now: u64, before: u64| (now - before) as f64 / elapsed.as_secs_f64();
                let (rate_in, rate_out) =
                    (rate(now.received, before.received), rate(now.published, before.published));
                tracing::info!("{name}: {rate_in:.1} Hz in, {rate_out:.1} Hz out; {now}; {}", line(spans));
            }
        }
        if let Some(file) = &mut self.file {
            let of_camera = |index: usize| {
                json!({
                    "name": self.cameras[index], "counts": counts[index], "spans": spans_json(&spans[index]),
                })
            };
            let cameras: Vec<_> = (0..self.cameras.len()).map(of_camera).collect();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            let report = json!({
                "time": now, "period_secs": elapsed.as_secs_f64(), "final": at_end,
                "cameras": cameras, "batches": self.shared.batches.snapshot(),
            });
            // A full disk is no reason to stop serving.
            if let Err(err) = writeln!(file, "{report}") {
                tracing::warn!("stats_file: no more is written: {err}");
                self.file = None;
            }
        }
        self.last = (Instant::now(), counts);
    }
}

/// The thread that reports. Dropped, it ends as by [`Reporting::stop`]: the sender goes first.
#[derive(Debug)]
pub struct Reporting {
    reports: Sender<()>,
    stage: Stage,
}

impl Reporting {
    /// Has it report once more, and ends it.
    ///
    /// # Errors
    /// As the thread ended.
    pub fn stop(self) -> anyhow::Result<()> {
        drop(self.reports);
        self.stage.join()
    }
}

/// Percentiles of all spans that were seen, in a line.
fn line(spans: &[(Span, Percentiles)]) -> String {
    let seen = spans.iter().filter(|(_, percentiles)| percentiles.n != 0);
    let texts: Vec<_> = seen
        .map(|(span, Percentiles { p50, p95, p99, .. })| {
            format!("{} {p50:.1}/{p95:.1}/{p99:.1}", span.name())
        })
        .collect();
    if texts.is_empty() { "no frame".into() } else { format!("ms p50/p95/p99: {}", texts.join(", ")) }
}
