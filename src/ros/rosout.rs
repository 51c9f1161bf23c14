//! `/rosout`: every log record of the node as a message.

use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use ros2_client::builtin_interfaces::Time;
use ros2_client::{Log, Publisher};

use crate::config::LogLevel;
use crate::logging::Record;
use crate::runtime::thread::Stage;

/// The thread that carries records away. Its messages bypass the library's own logging, which
/// would print each record a second time.
pub(super) struct Rosout {
    stop: Sender<()>,
    stage: Stage,
}

impl Rosout {
    pub(super) fn start(
        records: Receiver<Record>,
        publisher: Publisher<Log>,
        logger: String,
        ended: mpsc::Sender<()>,
    ) -> anyhow::Result<Self> {
        let (stop, stopped) = bounded(0);
        let stage = Stage::spawn("rosout", ended, move || {
            loop {
                select! {
                    recv(records) -> record => match record {
                        Ok(record) => publish(&publisher, &logger, record),
                        Err(_) => return Ok(()),
                    },
                    recv(stopped) -> _ => {
                        records.try_iter().for_each(|record| publish(&publisher, &logger, record));
                        return Ok(());
                    }
                }
            }
        })?;
        Ok(Self { stop, stage })
    }

    /// Sends what still waits, then ends.
    pub(super) fn close(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.stage.join()
    }
}

fn publish(publisher: &Publisher<Log>, logger: &str, record: Record) {
    let message = Log {
        stamp: Time::from_nanos(nanos(record.at)),
        level: severity(record.level),
        name: logger.to_owned(),
        msg: record.text,
        file: record.file.to_owned(),
        function: record.function.to_owned(),
        line: record.line,
    };
    // A record that finds no room is still on stderr, and a log line about it would come back here.
    let _on_stderr_too = publisher.publish(message);
}

fn severity(level: LogLevel) -> u8 {
    match level {
        LogLevel::Error => Log::ERROR,
        LogLevel::Warn => Log::WARN,
        LogLevel::Info => Log::INFO,
        LogLevel::Debug => Log::DEBUG,
    }
}

fn nanos(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or_default()
}
