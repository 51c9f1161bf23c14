//! The status of one camera.

use std::time::{Duration, Instant};

use super::{Findings, Level, Status};
use crate::geometry::Size;
use crate::runtime::clock::LONGEST_AGE;
use crate::runtime::monitor::{Seen, StrayStamp};
use crate::runtime::statistics::{Counts, Percentiles, Span};

/// A camera is silent after this, or after four of its own periods.
const SILENT: Duration = Duration::from_secs(1);
/// A camera that has never sent is given more: peers find each other in a second or two.
const NEVER: Duration = Duration::from_millis(1500);
/// How long what happened once is news.
const NEWS: Duration = Duration::from_secs(5);
/// The share of the expected rate below which a camera is too slow.
const TOLERANCE: f64 = 0.1;

/// All that a status of a camera is made of.
pub(super) struct View<'a> {
    pub(super) topic: &'a str,
    pub(super) camera_info: &'a str,
    pub(super) expected_rate: Option<f64>,
    pub(super) subscribed: Instant,
    pub(super) is_enabled: bool,
    /// Whether an output of the camera has a subscriber.
    pub(super) is_wanted: bool,
    pub(super) is_sim_time: bool,
    /// Publishers of the images that fit.
    pub(super) n_publishers: usize,
    /// Publishers that do not fit, and why.
    pub(super) misfits: &'a [String],
    pub(super) seen: &'a Seen,
    pub(super) counts: &'a Counts,
    pub(super) recent: &'a [(Span, Percentiles)],
    /// What to do about the receive buffers.
    pub(super) buffers: Option<String>,
}

pub(super) fn status(name: &str, view: &View<'_>, now: Instant) -> Status {
    let mut findings = Findings::new();
    let seen = view.seen;
    let silence = seen.arrivals.last().map(|last| now.saturating_duration_since(last));
    find_silence(&mut findings, view, silence, now);
    let rate = seen.arrivals.rate(now);
    if let Some(expected) = view.expected_rate
        && silence.is_some()
        && rate < expected * (1.0 - TOLERANCE)
    {
        findings.warn(format!(
            "{rate:.1} Hz arrive, {expected:.1} Hz are expected: the camera is slower (exposure time, USB) \
             or images are lost on the way"
        ));
    }
    for misfit in view.misfits {
        if view.n_publishers == 0 { findings.error(misfit) } else { findings.warn(misfit) }
    }
    view.buffers.iter().for_each(|advice| findings.warn(advice));
    if let Some((_, why)) = seen.refused.as_ref().filter(|(at, _)| is_news(*at, now)) {
        match seen.image.is_some_and(|(at, _)| is_news(at, now)) {
            true => findings.warn(format!("some images are refused: {why}")),
            false => findings.error(format!("no image can be read: {why}")),
        }
    }
    if view.is_wanted && !seen.lacks.is_empty() && silence.is_some_and(|silence| silence < NEWS) {
        findings.warn(format!("{} (CameraInfo: {})", seen.lacks, view.camera_info));
    }
    find_times(&mut findings, view, now);
    tell_values(&mut findings, view, rate, silence, now);
    let well = match (view.is_enabled, seen.publications.last()) {
        (false, _) => "not enabled: call ~/set_enabled".to_owned(),
        (true, None) => format!("{}: {rate:.1} Hz in", view.topic),
        (true, Some(_)) => {
            format!("{}: {rate:.1} Hz in, {:.1} Hz out", view.topic, seen.publications.rate(now))
        }
    };
    findings.into_status(name, well)
}

/// The same for who watches topics: named by the topic, in the words that greenwave_monitor and NITROS use.
pub(super) fn topic_status(view: &View<'_>, level: Level, message: &str, now: Instant) -> Status {
    let View { seen, expected_rate, counts, .. } = view;
    let mut findings = Findings::new();
    findings.level = level;
    findings.value("frame_rate_node", format!("{:.3}", seen.arrivals.rate(now)));
    findings.value("frame_rate_msg", format!("{:.3}", seen.arrivals.stamp_rate()));
    let delay = Duration::from_nanos(u64::try_from(seen.delay_nanos.unwrap_or_default()).unwrap_or_default());
    let millis = delay.min(LONGEST_AGE).as_secs_f64() * 1e3;
    findings.value("current_delay_from_realtime_ms", format!("{millis:.3}"));
    if let Some(expected) = expected_rate {
        findings.value("expected_frequency", format!("{expected:.3}"));
        findings.value("tolerance", format!("{:.3}", expected * TOLERANCE));
    }
    findings.value("total_dropped_frames", counts.displaced + counts.refused);
    findings.into_status(view.topic, message)
}

fn is_news(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < NEWS
}

fn find_silence(findings: &mut Findings, view: &View<'_>, silence: Option<Duration>, now: Instant) {
    if view.n_publishers == 0 && !view.misfits.is_empty() {
        // What does not fit is told as such.
        return;
    }
    let topic = view.topic;
    let patience = view.seen.arrivals.period().map_or(SILENT, |period| SILENT.max(period * 4));
    let cause = || match view.n_publishers {
        0 => "there is no publisher: start the camera, or remap `image`".to_owned(),
        n => {
            format!(
                "the topic has {n} publisher{}: check the camera and its cable",
                if n == 1 { "" } else { "s" }
            )
        }
    };
    match silence {
        None if NEVER < now.saturating_duration_since(view.subscribed) => {
            findings.warn(format!("no image has arrived on {topic}: {}", cause()));
        }
        Some(silence) if patience < silence => {
            findings.warn(format!("silent for {:.1} s on {topic}: {}", silence.as_secs_f64(), cause()));
        }
        None | Some(_) => {}
    }
}

fn find_times(findings: &mut Findings, view: &View<'_>, now: Instant) {
    let seen = view.seen;
    if seen.is_ahead() && seen.arrivals.last().is_some_and(|at| is_news(at, now)) {
        let ahead = seen.delay_nanos.unwrap_or_default() as f64 / -1e9;
        let cure = match view.is_sim_time {
            true => "start the node without use_sim_time unless this camera follows /clock",
            false => "synchronise the clocks (chrony, PTP), or start the node with use_sim_time for a bag",
        };
        findings.warn(format!("stamps are {ahead:.3} s ahead of the clock: {cure}"));
    }
    if let Some(stray) =
        seen.stray_stamp().filter(|_| seen.arrivals.last().is_some_and(|at| is_news(at, now)))
    {
        findings.warn(stray_text(stray, view.is_sim_time));
    }
    if let Some((_, behind)) = seen.last_jump.filter(|(at, _)| is_news(*at, now)) {
        let behind = behind.as_secs_f64();
        findings.warn(match view.n_publishers {
            0 | 1 => {
                format!(
                    "stamps jumped back by {behind:.3} s: a bag that plays in a loop, or a clock that \
                         was set"
                )
            }
            n => format!(
                "stamps jump back, last by {behind:.3} s: {n} publishers send to {}, and their stamps cross; \
                 give each camera a topic of its own",
                view.topic
            ),
        });
    }
}

/// What a stamp far behind the clock is, and what helps.
fn stray_text(stray: StrayStamp, is_sim_time: bool) -> String {
    let clock = if is_sim_time { "/clock" } else { "the clock" };
    let ages = "ages and latencies mean nothing";
    match stray {
        StrayStamp::None => {
            format!(
                "stamps are 0: the driver sets none; have it stamp images with the time of the node, for \
                 {ages}"
            )
        }
        StrayStamp::Uptime(since) => format!(
            "stamps are {:.1} s: a time since a start (of the machine or the driver) and not {clock}; have \
             the driver stamp images with the system's time, for {ages}",
            since.as_secs_f64()
        ),
        StrayStamp::Behind(behind) => {
            let cure = match is_sim_time {
                true => "start the node without use_sim_time unless this camera follows /clock",
                false => {
                    "a bag (start the node with use_sim_time, and play it with --clock), or clocks that are \
                     not synchronised (chrony, PTP)"
                }
            };
            format!("stamps are {:.1} s behind {clock}, so that {ages}: {cure}", behind.as_secs_f64())
        }
    }
}

fn tell_values(findings: &mut Findings, view: &View<'_>, rate: f64, silence: Option<Duration>, now: Instant) {
    let View { seen, counts, .. } = view;
    findings.value("topic", view.topic);
    let size = |(_, Size { width, height })| format!("{width}x{height}");
    let image = seen.image.map_or_else(|| "none".into(), size);
    findings.value("image", image);
    findings.value("Actual frequency (Hz)", format!("{rate:.2}"));
    if let Some(expected) = view.expected_rate {
        findings.value("Expected frequency (Hz)", format!("{expected:.2}"));
        findings.value("Minimum acceptable frequency (Hz)", format!("{:.2}", expected * (1.0 - TOLERANCE)));
    }
    findings.value("Published frequency (Hz)", format!("{:.2}", seen.publications.rate(now)));
    let secs = |duration: Option<Duration>| {
        duration.map_or_else(|| "never".into(), |duration| format!("{:.3}", duration.as_secs_f64()))
    };
    findings.value("seconds since the last frame", secs(silence));
    findings.value("age of the last output (s)", secs(seen.age));
    for (span, Percentiles { n, p50, p95, p99 }) in view.recent {
        if 0 < *n {
            findings.value(
                &format!("{} p50/p95/p99 (ms)", span.name()),
                format!("{p50:.2} / {p95:.2} / {p99:.2}"),
            );
        }
    }
    findings.value("received", counts.received);
    findings.value("published", counts.published);
    findings.value("displaced", counts.displaced);
    findings.value("displaced as too old", counts.too_old);
    findings.value("refused", counts.refused);
    counts.reasons.iter().for_each(|(reason, n)| findings.value(&format!("refused: {reason}"), n));
    findings.value("unwanted", counts.unwanted);
    findings.value("in flight", counts.in_flight());
    findings.value("stamps from the future", seen.n_ahead);
    findings.value("stamps that jumped back", seen.n_jumps);
    findings.value("publishers", view.n_publishers);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::monitor::Monitor;

    const SECOND: i64 = 1_000_000_000;

    fn view<'a>(seen: &'a Seen, counts: &'a Counts, subscribed: Instant) -> View<'a> {
        View {
            topic: "/image",
            camera_info: "/camera_info",
            expected_rate: None,
            subscribed,
            is_enabled: true,
            is_wanted: true,
            is_sim_time: false,
            n_publishers: 1,
            misfits: &[],
            seen,
            counts,
            recent: &[],
            buffers: None,
        }
    }

    /// A camera of 10 Hz that came `n` times, looked at `late` seconds after its last frame.
    fn check(n: u32, late: f64, change: impl Fn(&mut View<'_>), expect: (Level, &str)) {
        let (monitor, start) = (Monitor::default(), Instant::now());
        for i in 0..n {
            let at = start + Duration::from_millis(100) * i;
            monitor.arrived(at, i64::from(i) * SECOND / 10, Some(SECOND * 2), 7);
        }
        let (seen, counts) = (monitor.seen(), Counts::default());
        let mut view = view(&seen, &counts, start);
        change(&mut view);
        let last = start + Duration::from_millis(100) * n.saturating_sub(1);
        let status = status("camera", &view, last + Duration::from_secs_f64(late));
        assert!(status.level == expect.0 && status.message.contains(expect.1), "{status:?}");
    }

    #[test]
    fn a_camera_is_well_silent_or_slow() {
        use Level::{Ok, Warn};
        check(20, 0.05, |_| (), (Ok, "/image: 10.0 Hz in"));
        check(
            20,
            1.1,
            |_| (),
            (Warn, "silent for 1.1 s on /image: the topic has 1 publisher: check the camera"),
        );
        check(20, 0.9, |_| (), (Ok, ""));
        check(20, 1.1, |view| view.n_publishers = 0, (Warn, "there is no publisher: start the camera"));
        check(0, 1.0, |_| (), (Ok, ""));
        check(
            0,
            1.6,
            |view| view.n_publishers = 0,
            (Warn, "no image has arrived on /image: there is no publisher"),
        );
        check(20, 0.0, |view| view.expected_rate = Some(11.0), (Ok, ""));
        check(
            20,
            0.0,
            |view| view.expected_rate = Some(15.0),
            (Warn, "10.0 Hz arrive, 15.0 Hz are expected"),
        );
        check(20, 0.0, |view| view.is_enabled = false, (Ok, "set_enabled"));
    }

    #[test]
    fn what_was_found_elsewhere_is_told_with_its_cure() {
        use Level::{Error, Warn};
        let misfits: &[String] = vec!["/image: /peer offers best_effort".to_owned()].leak();
        check(
            0,
            2.0,
            |view| (view.misfits, view.n_publishers) = (misfits, 0),
            (Error, "/image: /peer offers best_effort"),
        );
        check(20, 0.0, |view| view.buffers = Some("run: sudo sysctl".into()), (Warn, "run: sudo sysctl"));
    }

    #[test]
    fn what_frames_go_out_without_is_told_while_somebody_listens() {
        let (monitor, counts, start) = (Monitor::default(), Counts::default(), Instant::now());
        let check = |change: fn(&mut View<'_>), expect: Option<&str>| {
            let seen = monitor.seen();
            let mut view = view(&seen, &counts, start);
            change(&mut view);
            let result = status("camera", &view, start);
            let level = if expect.is_some() { Level::Warn } else { Level::Ok };
            assert!(result.level == level && result.message.contains(expect.unwrap_or("Hz")), "{result:?}");
        };
        monitor.arrived(start, 0, None, 7);
        check(|_| (), None);
        monitor.lacks("no points: K is all zeros".to_owned());
        check(|_| (), Some("no points: K is all zeros (CameraInfo: /camera_info)"));
        check(|view| view.is_wanted = false, None);
        monitor.lacks(String::new());
        check(|_| (), None);
    }

    #[test]
    fn stamps_of_another_clock_are_told_with_the_cause() {
        const NOW: i64 = 1_795_000_000 * SECOND;
        let check = |stamp_nanos: i64, change: fn(&mut View<'_>), expect: Option<&str>| {
            let (monitor, start) = (Monitor::default(), Instant::now());
            monitor.arrived(start, stamp_nanos, Some(NOW), 7);
            let (seen, counts) = (monitor.seen(), Counts::default());
            let mut view = view(&seen, &counts, start);
            change(&mut view);
            let status = status("camera", &view, start);
            assert_eq!(status.level, if expect.is_some() { Level::Warn } else { Level::Ok }, "{status:?}");
            assert!(status.message.contains(expect.unwrap_or("Hz")), "{status:?}");
        };
        check(NOW - SECOND, |_| (), None);
        check(0, |_| (), Some("stamps are 0: the driver sets none"));
        check(1234 * SECOND, |_| (), Some("stamps are 1234.0 s: a time since a start"));
        check(NOW - 3600 * SECOND, |_| (), Some("stamps are 3600.0 s behind the clock"));
        check(NOW - 3600 * SECOND, |view| view.is_sim_time = true, Some("behind /clock"));
    }

    #[test]
    fn publishers_whose_stamps_cross_are_counted() {
        let check = |n_publishers, expect: &str| {
            let (monitor, start) = (Monitor::default(), Instant::now());
            for stamp in [5, 6, 5] {
                monitor.arrived(start, stamp * SECOND, Some(6 * SECOND), 7);
            }
            let (seen, counts) = (monitor.seen(), Counts::default());
            let view = View { n_publishers, ..view(&seen, &counts, start) };
            let Status { message, .. } = status("camera", &view, start);
            assert!(message.contains(expect), "{message}");
        };
        check(1, "stamps jumped back by 1.000 s: a bag that plays in a loop");
        check(2, "last by 1.000 s: 2 publishers send to /image, and their stamps cross");
    }

    #[test]
    fn a_slow_camera_is_not_silent_between_its_frames() {
        let (monitor, start) = (Monitor::default(), Instant::now());
        (0..5).for_each(|i| monitor.arrived(start + Duration::from_secs(2) * i, 0, None, 7));
        let mut findings = Findings::new();
        let (seen, counts) = (monitor.seen(), Counts::default());
        let view = view(&seen, &counts, start);
        find_silence(&mut findings, &view, Some(Duration::from_secs(7)), start);
        assert_eq!(findings.level, Level::Ok);
        find_silence(&mut findings, &view, Some(Duration::from_secs(9)), start);
        assert_eq!(findings.level, Level::Warn);
    }
}
