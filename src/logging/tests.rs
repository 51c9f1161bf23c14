//! Lines and records of the log.

use std::time::Duration;

use super::*;

/// Runs `say` under the filter of `level` and tells the lines without their stamps, and what
/// was forwarded to a queue of two.
fn logged(level: LogLevel, added: &str, say: impl Fn(&dyn Fn(LogLevel))) -> (Vec<String>, Vec<Record>, u64) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&lines);
    let write = move |line: String| {
        let words: Vec<&str> = line.trim_end().splitn(3, ' ').collect();
        keep.lock().unwrap().push(format!("{} {}", words[0], words[2]));
    };
    let (filter_layer, handle) = reload::Layer::new(filter(level, added));
    let forward = Arc::<Forward>::default();
    let printer = Printer {
        node: "ns.node".into(),
        colors: false,
        forward: Arc::clone(&forward),
        others: Others::default(),
        write,
    };
    let log = Log { filter: handle, forward };
    let (sender, receiver) = crossbeam_channel::bounded(2);
    log.forward_to(sender);
    let subscriber = tracing_subscriber::registry().with(filter_layer).with(printer);
    tracing::subscriber::with_default(subscriber, || say(&|level| log.set_level(level)));
    // The sender is gone with the log, so that the receiver comes to an end.
    *log.forward.slot() = None;
    let lines = lines.lock().unwrap().clone();
    (lines, receiver.iter().collect(), log.n_lost())
}

#[test]
fn the_level_holds_for_our_events_and_changes_at_run_time() {
    let (lines, ..) = logged(LogLevel::Warn, "", |set_level| {
        tracing::info!("quiet");
        tracing::warn!("loud");
        set_level(LogLevel::Debug);
        tracing::debug!(camera = "left", n = 3, "now heard");
        set_level(LogLevel::Error);
        tracing::warn!("quiet again");
    });
    assert_eq!(lines, ["[WARN] [ns.node]: loud", "[DEBUG] [ns.node]: now heard camera=left n=3"]);
}

#[test]
fn other_crates_are_named_and_not_forwarded_and_rustdds_is_silent() {
    let (lines, records, _) = logged(LogLevel::Debug, "", |_| {
        tracing::error!(target: "rustdds::rtps", "harmless");
        tracing::warn!(target: "ros2_client", "harmless");
        tracing::error!(target: "ros2_client::node", "not so harmless");
        tracing::info!(target: "zune_jpeg", "chatter");
    });
    assert_eq!(lines, ["[ERROR] [ns.node.ros2_client::node]: not so harmless"]);
    assert_eq!(records, []);
}

#[test]
fn a_flood_of_a_library_is_one_line_a_place() {
    let (lines, ..) = logged(LogLevel::Info, "chatty=info", |_| {
        for n in 0..250_000 {
            tracing::warn!(target: "cdr_encoding", "flaw {n}");
        }
        tracing::error!(target: "cdr_encoding", "from another place");
        for n in 0..3 {
            tracing::info!(target: "chatty", "asked for {n}");
            tracing::warn!("ours {n}");
        }
    });
    let (library, own): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.contains("cdr_encoding"));
    let first = "[WARN] [ns.node.cdr_encoding]: flaw 0";
    // A slow machine may get past the period.
    assert!(library.len() <= 4 && library[0] == first, "{library:?}");
    assert_eq!(library.last().unwrap().as_str(), "[ERROR] [ns.node.cdr_encoding]: from another place");
    assert_eq!(own.len(), 6, "{own:?}");
}

#[test]
fn rust_log_adds_to_it() {
    let (lines, ..) = logged(LogLevel::Info, "rustdds=warn, loud!=,pixio_node::logging=trace", |_| {
        tracing::warn!(target: "rustdds::rtps", "asked for");
        tracing::info!(target: "rustdds::rtps", "not asked for");
        tracing::trace!("finer than ROS has");
    });
    assert_eq!(lines, ["[WARN] [ns.node.rustdds::rtps]: asked for", "[TRACE] [ns.node]: finer than ROS has"]);
}

#[test]
fn a_record_is_one_line_whatever_is_in_it() {
    let (lines, records, _) = logged(LogLevel::Info, "", |_| {
        tracing::info!("frame a\n[ERROR] [ns.node]: forged\x1b[2J");
        tracing::warn!(name = "b\rc", "other");
    });
    let expect = [
        "[INFO] [ns.node]: frame a\\n[ERROR] [ns.node]: forged\\u{1b}[2J",
        "[WARN] [ns.node]: other name=b\\rc",
    ];
    assert_eq!(lines, expect);
    assert_eq!(records[0].text, "frame a\\n[ERROR] [ns.node]: forged\\u{1b}[2J");
}

#[test]
fn texts_that_are_no_directives_are_found() {
    let refused: Vec<&str> = directives("a=loud, debug,,b=warn,==").filter_map(Result::err).collect();
    assert_eq!(refused, ["a=loud", "=="]);
}

#[test]
fn our_events_are_forwarded_until_the_queue_is_full() {
    let (lines, records, n_lost) = logged(LogLevel::Info, "", |_| {
        tracing::info!("one");
        tracing::error!("two");
        tracing::info!("three");
    });
    assert_eq!((lines.len(), records.len(), n_lost), (3, 2, 1));
    let Record { level, text, file, function, line, .. } = &records[1];
    assert_eq!((*level, text.as_str(), *file), (LogLevel::Error, "two", file!()));
    assert_eq!((*function, *line > 0), (module_path!(), true));
}

#[test]
fn lines_look_like_those_of_rcutils() {
    let at = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 42);
    let plain = "[INFO] [1700000000.000000042] [ns.node]: text\n";
    assert_eq!(line(at, Level::INFO, "ns.node", "text", false), plain);
    let red = "\x1b[31m[ERROR] [1700000000.000000042] [ns.node]: text\x1b[0m\n";
    assert_eq!(line(at, Level::ERROR, "ns.node", "text", true), red);
}
