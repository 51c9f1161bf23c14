//! Logs: `tracing` events in ROS style to stderr, and those of this crate to whoever publishes them on
//! `/rosout`. Records of the `log` crate and panics come along, those of libraries throttled. Logging never
//! waits, for neither reader.

mod others;
#[cfg(test)]
mod tests;
mod throttle;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crossbeam_channel::{Sender, TrySendError};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Directive;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use others::Others;
pub use throttle::{BETWEEN_REMINDERS, BETWEEN_WARNINGS, Throttle};

use crate::config::{Choice, LogLevel};
use crate::console;
use crate::runtime::lock::lock;
use crate::runtime::thread::{is_contained, panic_text};
use crate::text;

/// Target prefix of our own events.
const OWN: &str = env!("CARGO_CRATE_NAME");

/// Bytes of a record's text at most. What peers send may be in it, and records wait in queues.
const MOST_TEXT_BYTES: usize = 8 << 10;

/// One event of this crate, as `/rosout` wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it happened.
    pub at: SystemTime,
    /// How bad it is.
    pub level: LogLevel,
    /// What is said.
    pub text: String,
    /// Source file.
    pub file: &'static str,
    /// Line in `file`.
    pub line: u32,
    /// Module that said it.
    pub function: &'static str,
}

/// The handle of the log.
#[derive(Clone)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    forward: Arc<Forward>,
}

#[derive(Default)]
struct Forward {
    records: Mutex<Option<Sender<Record>>>,
    n_lost: AtomicU64,
}

impl Forward {
    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Sender<Record>>> {
        lock(&self.records)
    }
}

/// Starts logging for the node that logs as `node` (such as `robot.pixio_node`), at `level` and
/// with what `RUST_LOG` adds. A second call in one process changes nothing.
pub fn init(node: &str, level: LogLevel) -> Log {
    let colors = match std::env::var("RCUTILS_COLORIZED_OUTPUT").as_deref() {
        Ok("0") => false,
        Ok("1") => true,
        _ => std::io::stderr().is_terminal(),
    };
    let (filter, handle) = reload::Layer::new(filter(level, &rust_log()));
    let forward = Arc::<Forward>::default();
    let printer = Printer {
        node: node.into(),
        colors,
        forward: Arc::clone(&forward),
        others: Others::default(),
        write: console::say,
    };
    let logger = node.to_owned();
    console::announce_losses(move |n| {
        let text = format!("{n} log records were lost here: stderr was not read");
        line(SystemTime::now(), Level::WARN, &logger, &text, colors)
    });
    std::panic::set_hook(Box::new(log_panic));
    // Fails when the process has a log already, and that one stays.
    let _already_logging = tracing_subscriber::registry().with(filter).with(printer).try_init();
    for text in directives(&rust_log()).filter_map(Result::err) {
        tracing::warn!("RUST_LOG: ignored {text:?}, which is not a directive");
    }
    Log { filter: handle, forward }
}

impl Log {
    /// Logs from `level` upwards from now on.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only when the log is gone.
        let _gone = self.filter.reload(filter(level, &rust_log()));
    }

    /// Sends every later event of this crate to `records` too. A full queue loses the event there
    /// rather than wait.
    pub fn forward_to(&self, records: Sender<Record>) {
        *self.forward.slot() = Some(records);
    }

    /// Events that a full queue has lost so far.
    pub fn n_lost(&self) -> u64 {
        self.forward.n_lost.load(Ordering::Relaxed)
    }
}

/// Our events from `level` upwards, the warnings of others, and what `added` says in the form of `RUST_LOG`.
/// RustDDS reports harmless things as errors, so it and its client are quiet without it, except for requests
/// that are refused.
fn filter(level: LogLevel, added: &str) -> EnvFilter {
    let base = format!(
        "warn,rustdds=off,ros2_client=error,ros2_client::distributions=off,ros2_client::node=warn,{OWN}={}",
        level.word()
    );
    let directives = directives(added).filter_map(Result::ok);
    directives.fold(EnvFilter::new(base), EnvFilter::add_directive)
}

/// The directives of `RUST_LOG`, or the texts that are none.
fn directives(text: &str) -> impl Iterator<Item = Result<Directive, &str>> {
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(|text| text.parse().map_err(|_| text))
}

fn rust_log() -> String {
    std::env::var("RUST_LOG").unwrap_or_default()
}

/// Stands in for the standard library's report, which waits for stderr.
fn log_panic(panic: &PanicHookInfo<'_>) {
    if is_contained() {
        return;
    }
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name");
    let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let text = panic_text(panic.payload());
    tracing::error!("thread {name} panicked{place}: {text}");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        console::say(format!("{backtrace}\n"));
    }
    // The process may end with this thread.
    console::flush();
}

/// Prints and forwards events.
struct Printer<W> {
    node: String,
    colors: bool,
    forward: Arc<Forward>,
    others: Others,
    write: W,
}

impl<S: Subscriber, W: Fn(String) + Send + Sync + 'static> Layer<S> for Printer<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let at = SystemTime::now();
        let metadata = event.metadata();
        let n_held_back = match is_own(metadata.target()) {
            true => 0,
            // Nothing more is done for those that are not told, for there may be a hundred thousand.
            false => match self.others.admit(event) {
                Some(n) => n,
                None => return,
            },
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.text = text::one_line(&console::cut(fields.text, MOST_TEXT_BYTES)).into_owned();
        let target = fields.log_target.as_deref().unwrap_or(metadata.target());
        let is_own = is_own(target);
        if n_held_back > 0 {
            // Writing to a string cannot fail.
            let _written = write!(fields.text, " (and {n_held_back} more like it)");
        }
        let logger = if is_own { self.node.clone() } else { format!("{}.{target}", self.node) };
        (self.write)(line(at, *metadata.level(), &logger, &fields.text, self.colors));

        let Some(level) = log_level(*metadata.level()).filter(|_| is_own) else {
            return;
        };
        let record = Record {
            at,
            level,
            text: fields.text,
            file: metadata.file().unwrap_or_default(),
            line: metadata.line().unwrap_or_default(),
            function: metadata.target(),
        };
        if let Some(records) = &*self.forward.slot()
            && let Err(TrySendError::Full(_)) = records.try_send(record)
        {
            self.forward.n_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether events with this target are ours.
fn is_own(target: &str) -> bool {
    target == OWN || target.strip_prefix(OWN).is_some_and(|rest| rest.starts_with("::"))
}

fn log_level(level: Level) -> Option<LogLevel> {
    match level {
        Level::ERROR => Some(LogLevel::Error),
        Level::WARN => Some(LogLevel::Warn),
        Level::INFO => Some(LogLevel::Info),
        Level::DEBUG => Some(LogLevel::Debug),
        // ROS has nothing below debug.
        Level::TRACE => None,
    }
}

/// `[INFO] [1700000000.123456789] [ns.node]: text`, in rcutils' colours.
fn line(at: SystemTime, level: Level, logger: &str, text: &str, colors: bool) -> String {
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (secs, nanos) = (since_epoch.as_secs(), since_epoch.subsec_nanos());
    let line = format!("[{level}] [{secs}.{nanos:09}] [{logger}]: {text}");
    let color = match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::DEBUG | Level::TRACE => "32",
        Level::INFO => "0",
    };
    if colors { format!("\x1b[{color}m{line}\x1b[0m\n") } else { line + "\n" }
}

/// The text of an event, its fields behind the message.
#[derive(Default)]
struct Fields {
    text: String,
    /// Target of a record of the `log` crate.
    log_target: Option<String>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "log.target" => self.log_target = Some(value.into()),
            _ => self.record_debug(field, &format_args!("{value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        let _written = match field.name() {
            "message" => {
                self.text.insert_str(0, &format!("{value:?}"));
                Ok(())
            }
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.text, " {name}={value:?}"),
        };
    }
}
