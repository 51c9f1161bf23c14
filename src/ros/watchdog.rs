//! Watches that DDS lives and can be reached. The library's threads can end or hang without a word, and the
//! network can go or come. A node is deaf and mute then; a launch file can only start it again when it ends.
//!
//! Time is counted in the watchdog's own ticks: a process that is suspended has none. A thread that waits for
//! the processor is alive.

use std::convert::Infallible;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use nix::errno::Errno;

use super::place::NetworkPlace;
use super::start::interface::Address;
use crate::console;
use crate::runtime::thread::Stage;

/// The threads of RustDDS 0.15, as far as the kernel keeps their names: the one that sends and receives, and
/// the one that finds other participants.
const THREADS: [&str; 2] = ["RustDDS Partici", "RustDDS discove"];

/// Where the kernel shows this process's threads, a folder each. Without it only a node that cannot leave is
/// noticed.
const TASKS: &str = "/proc/self/task";

/// Time between two looks.
const TICK: Duration = Duration::from_secs(1);
/// Looks without a sign of life after which a thread is stuck. RustDDS's loops turn every 5 s at least.
const STUCK: u32 = 20;
/// Ticks in which a node without DDS may stop in order.
const STOPPING: u32 = 10;
/// Ticks in which a node may leave the graph.
const LEAVING: u32 = 30;

/// Dropped when the node begins to leave the graph: from here on DDS's threads may end.
pub(super) struct Serving(
    #[expect(dead_code, reason = "the other side waits for its end")] Sender<Infallible>,
);

/// The thread that watches. Joined or dropped when the node has left the graph.
pub(super) struct Watchdog {
    // Closed first, which ends the thread.
    left: Sender<Infallible>,
    stage: Stage,
}

/// Watches DDS, whose participant has been made and uses `address`. When DDS dies, `ended` hears of it and
/// [`Watchdog::join`] says why. A node that does not stop within a bound then, because it waits for DDS, is
/// ended here, with the reason in the log.
///
/// # Errors
/// No thread is left.
pub(super) fn watch(ended: &mpsc::Sender<()>, address: Address) -> anyhow::Result<(Serving, Watchdog)> {
    let ((serving, served), (left, leaving)) = (bounded(0), bounded(0));
    let notice = ended.clone();
    let stage = Stage::spawn("watchdog", ended.clone(), move || {
        let died = serve(address, &served, &leaving);
        let n_ticks = match &died {
            Ok(()) => LEAVING,
            Err(_) => {
                // Main may be stopping already.
                let _stopping = notice.send(());
                STOPPING
            }
        };
        if (0..n_ticks).any(|_| is_closed(&leaving)) {
            return died;
        }
        let why = died.err().unwrap_or_else(|| anyhow!("DDS is stuck: the node cannot leave the ROS graph"));
        tracing::error!("{why:#}");
        console::exit_now(1)
    })?;
    Ok((Serving(serving), Watchdog { left, stage }))
}

impl Watchdog {
    /// Ends the watch.
    ///
    /// # Errors
    /// DDS died.
    pub(super) fn join(self) -> anyhow::Result<()> {
        drop(self.left);
        self.stage.join()
    }
}

/// Looks at the threads and at the address once a tick until one of the senders is gone.
fn serve(
    address: Address,
    served: &Receiver<Infallible>,
    leaving: &Receiver<Infallible>,
) -> anyhow::Result<()> {
    let mut threads = THREADS.map(Thread::new);
    let mut place = NetworkPlace::new(address);
    loop {
        select! {
            recv(served) -> _ => return Ok(()),
            recv(leaving) -> _ => return Ok(()),
            default(TICK) => {
                threads.iter_mut().try_for_each(|thread| thread.look(Path::new(TASKS)))?;
                place.look()?;
            }
        }
    }
}

/// Whether the sender has gone; waits for a tick.
fn is_closed(channel: &Receiver<Infallible>) -> bool {
    channel.recv_timeout(TICK) == Err(RecvTimeoutError::Disconnected)
}

/// A thread of the library.
struct Thread {
    name: &'static str,
    /// Where the kernel shows it, once it has been found.
    folder: Option<PathBuf>,
    /// How often it had left the processor at the last look.
    n_switches: Option<u64>,
    /// Looks in a row at which it was not found or had not moved.
    n_still: u32,
}

impl Thread {
    fn new(name: &'static str) -> Self {
        Self { name, folder: None, n_switches: None, n_still: 0 }
    }

    /// Looks for a sign of life.
    ///
    /// # Errors
    /// A thread of DDS has ended, or is stuck.
    fn look(&mut self, tasks: &Path) -> anyhow::Result<()> {
        let Some(folder) = &self.folder else {
            self.folder = match find(tasks, self.name) {
                Ok(folder) => folder,
                // There is no /proc to look at.
                Err(_) => return Ok(()),
            };
            self.n_still += 1;
            return if self.n_still < STUCK { Ok(()) } else { Err(self.ended()) };
        };
        let status = match fs::read_to_string(folder.join("status")) {
            Ok(status) => status,
            Err(err) if is_gone(&err) => return Err(self.ended()),
            // Such as too many open files: no news.
            Err(_) => return Ok(()),
        };
        let pulse = Pulse::parse(&status);
        // The number of a thread that has ended can be another's.
        if pulse.name != self.name {
            return Err(self.ended());
        }
        let moved = pulse.is_busy || pulse.n_switches.is_none() || pulse.n_switches != self.n_switches;
        self.n_switches = pulse.n_switches;
        self.n_still = if moved { 0 } else { self.n_still + 1 };
        if STUCK <= self.n_still {
            bail!(
                "DDS is stuck: its thread \"{}…\" makes no progress; nothing is received or sent",
                self.name
            );
        }
        Ok(())
    }

    fn ended(&self) -> anyhow::Error {
        let name = self.name;
        anyhow!("DDS is dead: its thread \"{name}…\" has ended; nothing is received or sent any more")
    }
}

/// The folder of the thread called `name`; none if there is no such thread.
fn find(tasks: &Path, name: &str) -> io::Result<Option<PathBuf>> {
    let folders = fs::read_dir(tasks)?.flatten().map(|entry| entry.path());
    let is_called = |folder: &PathBuf| {
        fs::read_to_string(folder.join("status")).is_ok_and(|status| Pulse::parse(&status).name == name)
    };
    Ok(folders.into_iter().find(is_called))
}

fn is_gone(err: &io::Error) -> bool {
    err.kind() == ErrorKind::NotFound || err.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// What the kernel says of a thread.
#[derive(Debug, PartialEq, Eq)]
struct Pulse<'a> {
    name: &'a str,
    /// Whether it has the processor or waits for it, or for a disk.
    is_busy: bool,
    /// How often it has left the processor, of its own will or not; some sandboxes do not say.
    n_switches: Option<u64>,
}

impl<'a> Pulse<'a> {
    fn parse(status: &'a str) -> Self {
        let field = |name: &str| {
            status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
        };
        let number = |name| field(name).and_then(|text| text.parse::<u64>().ok());
        let (own, others) = (number("voluntary_ctxt_switches"), number("nonvoluntary_ctxt_switches"));
        Self {
            name: field("Name").unwrap_or_default(),
            is_busy: field("State").is_some_and(|state| state.starts_with(['R', 'D'])),
            n_switches: own.zip(others).map(|(own, others)| own + others),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = THREADS[0];

    fn status(state: &str, n: u64) -> String {
        format!(
            "Name:\t{NAME}\nState:\t{state}\nvoluntary_ctxt_switches:\t{n}\nnonvoluntary_ctxt_switches:\t1\n"
        )
    }

    /// Looks once for every status, `None` being a thread that is not there. Gives what was found at which
    /// look.
    fn check(statuses: impl IntoIterator<Item = Option<String>>, expect: Option<(usize, &str)>) {
        let tasks = tempfile::tempdir().unwrap();
        let folder = tasks.path().join("7");
        let mut thread = Thread::new(NAME);
        let ending = statuses.into_iter().enumerate().find_map(|(n, status)| {
            match status {
                Some(status) => {
                    fs::create_dir_all(&folder).unwrap();
                    fs::write(folder.join("status"), status).unwrap();
                }
                None => drop(fs::remove_dir_all(&folder)),
            }
            thread.look(tasks.path()).err().map(|err| (n, err.to_string()))
        });
        let ending = ending.as_ref().map(|(n, text)| (*n, text.as_str()));
        match (ending, expect) {
            (Some((n, text)), Some((at, part))) => assert!(n == at && text.contains(part), "{n}: {text}"),
            _ => assert_eq!(ending, expect),
        }
    }

    #[test]
    fn a_thread_that_moves_lives() {
        check((0..100).map(|n| Some(status("S (sleeping)", n / 10))), None);
    }

    #[test]
    fn a_thread_that_waits_for_the_processor_or_a_disk_lives() {
        check((0..100).map(|_| Some(status("R (running)", 3))), None);
        check((0..100).map(|_| Some(status("D (disk sleep)", 3))), None);
        let starved =
            (0..100).map(|n| Some(status(if n % 10 == 0 { "R (running)" } else { "S (sleeping)" }, 3)));
        check(starved, None);
    }

    #[test]
    fn a_thread_that_stands_still_is_stuck() {
        let still = || Some(status("S (sleeping)", 3));
        // The first look finds it, the second one sees it for the first time.
        check((0..100).map(|_| still()), Some((1 + STUCK as usize, "is stuck")));
        check((0..100).map(|_| Some(status("t (tracing stop)", 3))), Some((1 + STUCK as usize, "is stuck")));
    }

    #[test]
    fn a_thread_that_has_ended_is_dead() {
        let alive = || Some(status("S (sleeping)", 3));
        check([alive(), alive(), None], Some((2, "has ended")));
        check([alive(), Some(status("R (running)", 4).replace(NAME, "model"))], Some((1, "has ended")));
        check((0..100).map(|_| None), Some((STUCK as usize - 1, "has ended")));
        check([None, None, alive(), alive(), None], Some((4, "has ended")));
    }

    #[test]
    fn a_sandbox_that_says_little_is_taken_as_it_is() {
        check((0..100).map(|_| Some(format!("Name:\t{NAME}\nState:\tS (sleeping)\n"))), None);
        let mut thread = Thread::new(NAME);
        assert!((0..100).all(|_| thread.look(Path::new("/proc/nowhere")).is_ok()));
    }
}
