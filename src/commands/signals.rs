//! SIGINT and SIGTERM as an end notice.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::runtime::thread::Stage;

/// Signals closer to the first one than this say the same.
const SAID_TWICE: Duration = Duration::from_secs(1);

/// Turns SIGINT and SIGTERM into an end notice; a later second one ends the process at once.
pub(super) struct SignalThread {
    handle: Handle,
    /// Joined when dropped, after the handle has been closed.
    _thread: Stage,
}

impl SignalThread {
    /// `ended` hears of the first signal.
    ///
    /// # Errors
    /// The signals cannot be caught, or no thread.
    pub(super) fn start(ended: &Sender<()>) -> anyhow::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot catch SIGINT and SIGTERM")?;
        let handle = signals.handle();
        let notice = ended.clone();
        let thread = Stage::spawn("signals", ended.clone(), move || {
            let mut asked: Option<Instant> = None;
            for signal in signals.forever() {
                let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                match asked {
                    // A terminal and a launch file may both say it, within milliseconds.
                    Some(first) if first.elapsed() < SAID_TWICE => continue,
                    Some(_) => {
                        eprintln!("{name} again: ending at once");
                        std::process::exit(128 + signal);
                    }
                    None => asked = Some(Instant::now()),
                }
                tracing::info!("{name}: stopping");
                // Main may be stopping already.
                let _stopping = notice.send(());
            }
            Ok(())
        })?;
        Ok(Self { handle, _thread: thread })
    }
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.handle.close();
    }
}
