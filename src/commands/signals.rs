//! SIGINT, SIGTERM and SIGHUP: blocked in every thread, and read by one. SIGQUIT is left as it is, which ends
//! the process with a core dump.
//!
//! No handler may run: one that interrupts foreign code needs a stack there, and oneDNN's matrix products
//! point the stack register into the heap. So [`Signals::block`] comes before anything else in `main`, every
//! thread inherits the mask, and signals wait in the kernel until a [`Listener`] reads them.
//!
//! The first signal does what the command asked for: `run`, `build` and what `check` does in the ROS graph
//! put an end to what they are doing first, everything else ends at once, by the signal, as a program without
//! any of this. A later second one ends the process at once.

use std::io::PipeWriter;
use std::os::fd::AsFd;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::commands::Failure;
use crate::console;
use crate::runtime::thread::Stage;

/// Signals closer to the first one than this say the same.
const SAID_TWICE: Duration = Duration::from_secs(1);

/// The signals that ask for an end. A terminal that goes away sends the last one.
const ASKING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// The signals that ask for an end, blocked.
#[derive(Clone, Copy, Debug)]
pub struct Signals(SigSet);

impl Signals {
    /// Blocks SIGINT, SIGTERM and SIGHUP in this thread and all that it starts from now on; the mask survives
    /// `exec`. A signal that this process was told to ignore, as `nohup` and the background jobs of a shell
    /// are, stays ignored. SIGXFSZ is blocked too: a file that may not grow is an error of whoever writes it.
    pub fn block() -> Self {
        let ignored = std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored(&status));
        let heeded = |signal: &Signal| ignored & (1 << (*signal as u32 - 1)) == 0;
        let set: SigSet = ASKING.into_iter().filter(heeded).collect();
        // Fails on no set of real signals.
        let _blocked = set.thread_block();
        let _blocked = SigSet::from(Signal::SIGXFSZ).thread_block();
        Self(set)
    }

    /// Listens on a thread of its own. `first` hears of the first signal; a later second one ends the
    /// process.
    ///
    /// # Errors
    /// No thread or no file descriptor is left.
    pub fn listen(self, first: impl FnMut(Signal) + Send + 'static) -> Result<Listener, Failure> {
        self.start(first).context("cannot listen for signals").map_err(Failure::Running)
    }

    /// Listens, and ends the process by the first signal.
    ///
    /// # Errors
    /// As [`Signals::listen`].
    pub fn end_at_once(self) -> Result<Listener, Failure> {
        self.listen(|signal| die(signal))
    }

    /// Listens, and tells `ended` of the first signal.
    ///
    /// # Errors
    /// As [`Signals::listen`].
    pub fn notify(self, ended: &Sender<()>) -> Result<Listener, Failure> {
        let ended = ended.clone();
        self.listen(move |signal| {
            // Whoever waits may be stopping already.
            let _stopping = ended.send(());
            tracing::info!("{signal}: stopping");
        })
    }

    fn start(self, mut first: impl FnMut(Signal) + Send + 'static) -> anyhow::Result<Listener> {
        let pending = SignalFd::with_flags(&self.0, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let (closed, close) = std::io::pipe()?;
        let heard = Arc::new(OnceLock::new());
        let hearing = Arc::clone(&heard);
        // Whoever waits hears of signals, not of the end of this thread.
        let (nobody, _) = std::sync::mpsc::channel();
        let thread = Stage::spawn("signals", nobody, move || {
            let mut asked: Option<Instant> = None;
            while let Some(signal) = next(&pending, &closed)? {
                match asked {
                    // A terminal and a launch file may both say it, within milliseconds.
                    Some(at) if at.elapsed() < SAID_TWICE => (),
                    Some(_) => {
                        tracing::warn!("{signal} again: ending at once");
                        console::exit_now(128 + signal as u8);
                    }
                    None => {
                        asked = Some(Instant::now());
                        // Kept from before `first`, which may wake the thread that reads it.
                        let _first = hearing.set(signal);
                        first(signal);
                    }
                }
            }
            Ok(())
        })?;
        Ok(Listener { heard, _close: close, _thread: thread })
    }
}

/// Reads signals until it is dropped. Those that come afterwards wait for the next listener.
#[derive(Debug)]
pub struct Listener {
    heard: Arc<OnceLock<Signal>>,
    // Closed first, which ends the thread.
    _close: PipeWriter,
    _thread: Stage,
}

impl Listener {
    /// The signal that came, if any.
    pub fn heard(&self) -> Option<Signal> {
        self.heard.get().copied()
    }

    /// Ends the process by the signal that came, if any.
    pub fn obey(self) {
        if let Some(signal) = self.heard() {
            die(signal);
        }
    }
}

/// Ends the process as `signal` does by default, so that a shell sees what happened.
pub fn die(signal: Signal) -> ! {
    console::flush();
    let _unblocked = SigSet::from(signal).thread_unblock();
    let _raised = raise(signal);
    // The first process of a container has no such default.
    console::exit_now(128 + signal as u8)
}

/// The next signal; none when nobody wants any more.
fn next(pending: &SignalFd, closed: &impl AsFd) -> anyhow::Result<Option<Signal>> {
    loop {
        let fds = [pending.as_fd(), closed.as_fd()];
        let mut ready = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => (),
            Err(err) => return Err(err.into()),
        }
        // Signals first: the one that came just before the end is heard as well.
        if let Some(info) = pending.read_signal()? {
            return Ok(Some(Signal::try_from(info.ssi_signo as i32)?));
        }
        if ready[1].any() == Some(true) {
            return Ok(None);
        }
    }
}

/// The mask of ignored signals in a `/proc/PID/status`, signal 1 in the lowest bit.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let bit = |signal: Signal| 1u64 << (signal as u32 - 1);
        assert_eq!(ignored("SigBlk:\t0000000000004002\nSigIgn:\t0000000000001006\nSigCgt:\t0\n"), 0x1006);
        assert_eq!(0x1006 & bit(Signal::SIGINT), 2);
        assert_eq!(0x1006 & bit(Signal::SIGTERM), 0);
        assert_eq!(ignored("Name:\tpixio_node\n"), 0);
    }

    #[test]
    fn a_listener_ends_when_it_is_dropped() {
        let listener = Signals(SigSet::empty()).listen(|_| ()).unwrap();
        assert_eq!(listener.heard(), None);
        drop(listener);
    }
}
