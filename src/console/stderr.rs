//! stderr: a bounded queue and a thread that writes, so that a reader that does not read blocks no one.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::runtime::lock::{lock, whole};

/// Texts that wait at most. After that the oldest is lost for every new one: the last words count most.
const MOST_TEXTS: usize = 1024;

/// Bytes of one text at most.
const MOST_BYTES: usize = 16 << 10;

/// The end of a text that was cut.
const CUT: &str = "… (cut)";

/// How long [`flush`] waits before it looks at the stream again.
const LOOK: Duration = Duration::from_millis(100);
/// Looks at a stream that takes nothing after which [`flush`] gives up: a second.
const PATIENCE: usize = 10;
/// Looks at a stream that takes a little now and then.
const MOST_LOOKS: usize = 10 * PATIENCE;

/// Says how many texts were lost, in the form of all others.
type Notice = Box<dyn Fn(u64) -> String + Send + Sync>;

static STDERR: LazyLock<Queue> = LazyLock::new(|| {
    // Not through std's handle, whose lock would be held while a write waits.
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned().map(File::from) else {
        return Queue::default();
    };
    let Ok(other) = stderr.try_clone() else { return Queue::default() };
    Queue::start(Patient(stderr), move || takes_more(&other, PollTimeout::ZERO))
});

/// Queues `text`, which ends its own line. Never waits. Long texts are cut.
pub fn say(text: String) {
    STDERR.push(cut(text, MOST_BYTES));
}

/// Waits until everything that was said is written, or for about a second on a stream that takes nothing.
pub fn flush() {
    STDERR.flush();
}

/// `text` is what stands for that many lost texts, from now on.
pub fn announce_losses(text: impl Fn(u64) -> String + Send + Sync + 'static) {
    // A process has one log, and the first one stays.
    let _already = STDERR.0.notice.set(Box::new(text));
}

/// `text`, or its beginning if it is longer than `most_bytes`, which has room for the mark of that.
pub fn cut(mut text: String, most_bytes: usize) -> String {
    if most_bytes < text.len() {
        let ends_line = text.ends_with('\n');
        let end = (0..=most_bytes.saturating_sub(CUT.len() + 1)).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or_default());
        text.push_str(CUT);
        text.extend(ends_line.then_some('\n'));
    }
    text
}

/// Texts on their way to a stream.
#[derive(Clone, Default)]
struct Queue(Arc<Pending>);

#[derive(Default)]
struct Pending {
    state: Mutex<State>,
    changed: Condvar,
    notice: OnceLock<Notice>,
    /// Whether the stream takes more; without a thread that writes there is no stream.
    takes_more: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    is_writing: bool,
}

struct Waiting {
    /// Texts that were lost just before this one.
    n_lost: u64,
    text: String,
}

impl Queue {
    /// A queue that a thread of its own empties into `stream`. The thread is never joined: it may wait for a
    /// reader for ever, and ends with the process.
    fn start(
        mut stream: impl Write + Send + 'static,
        takes_more: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let queue = Self::default();
        let writer = queue.clone();
        let write = move || {
            loop {
                let Waiting { n_lost, text } = writer.next();
                // There is nowhere to report that stderr is closed.
                let _closed = match (n_lost, writer.0.notice.get()) {
                    (0, _) | (_, None) => Ok(()),
                    (n, Some(notice)) => stream.write_all(notice(n).as_bytes()),
                }
                .and_then(|()| stream.write_all(text.as_bytes()));
                writer.0.lock().is_writing = false;
                writer.0.changed.notify_all();
            }
        };
        // Without a thread the process is silent, which a process that cannot start threads is anyhow.
        if std::thread::Builder::new().name("stderr".into()).spawn(write).is_ok() {
            let _new = queue.0.takes_more.set(Box::new(takes_more));
        }
        queue
    }

    fn push(&self, text: String) {
        let mut state = self.0.lock();
        let mut n_lost = 0;
        if MOST_TEXTS <= state.waiting.len()
            && let Some(oldest) = state.waiting.pop_front()
        {
            let n = oldest.n_lost + 1;
            match state.waiting.front_mut() {
                Some(next) => next.n_lost += n,
                None => n_lost = n,
            }
        }
        state.waiting.push_back(Waiting { n_lost, text });
        self.0.changed.notify_all();
    }

    /// The text that has waited longest; waits for one.
    fn next(&self) -> Waiting {
        let mut state = self.0.lock();
        loop {
            if let Some(next) = state.waiting.pop_front() {
                state.is_writing = true;
                return next;
            }
            state = whole(self.0.changed.wait(state));
        }
    }

    fn flush(&self) {
        let Some(takes_more) = self.0.takes_more.get() else { return };
        let mut n_refused = 0;
        for _ in 0..MOST_LOOKS {
            let pending = |state: &mut State| state.is_writing || !state.waiting.is_empty();
            let waited = self.0.changed.wait_timeout_while(self.0.lock(), LOOK, pending);
            let (state, _) = whole(waited);
            if !state.is_writing && state.waiting.is_empty() {
                return;
            }
            drop(state);
            // A stream that would take more has a writer that waits for the processor, not for a reader.
            n_refused = if takes_more() { 0 } else { n_refused + 1 };
            if n_refused == PATIENCE {
                return;
            }
        }
    }
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A stream that others may have made non-blocking: then a full one is waited for here.
struct Patient(File);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    takes_more(&self.0, PollTimeout::from(1000u16));
                }
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a write to `stream` would go on; waits for that at most `timeout`. What cannot be told goes on.
fn takes_more(stream: &File, timeout: PollTimeout) -> bool {
    poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)], timeout).map_or(true, |n| 0 < n)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a text whenever it is let to.
    struct Gate(mpsc::Receiver<()>, Arc<Mutex<String>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue into a gate, what opens the gate, and what went through.
    fn gated(takes_more: bool) -> (Queue, mpsc::Sender<()>, Arc<Mutex<String>>) {
        let ((open, gate), through) = (mpsc::channel(), Arc::<Mutex<String>>::default());
        let queue = Queue::start(Gate(gate, Arc::clone(&through)), move || takes_more);
        let _new = queue.0.notice.set(Box::new(|n| format!("{n} lost\n")));
        (queue, open, through)
    }

    #[test]
    fn texts_come_out_in_their_order_before_a_flush_is_over() {
        let (queue, open, through) = gated(true);
        for n in 0..MOST_TEXTS / 2 {
            queue.push(format!("{n}\n"));
            open.send(()).unwrap();
        }
        queue.flush();
        let expect: String = (0..MOST_TEXTS / 2).map(|n| format!("{n}\n")).collect();
        assert_eq!(*through.lock().unwrap(), expect);
    }

    #[test]
    fn a_stream_that_takes_nothing_costs_the_oldest_texts_and_says_how_many() {
        let (queue, open, through) = gated(false);
        queue.push("first\n".into());
        // On its way to the stream.
        while !queue.0.lock().is_writing {
            std::thread::yield_now();
        }
        (0..MOST_TEXTS + 300).for_each(|n| queue.push(format!("{n}\n")));
        assert_eq!(queue.0.lock().waiting.len(), MOST_TEXTS);
        // Ends although nothing is taken.
        queue.flush();
        (0..MOST_TEXTS + 2).for_each(|_| open.send(()).unwrap());
        queue.flush();
        let kept = (300..MOST_TEXTS + 300).map(|n| format!("{n}\n"));
        let expect: String =
            ["first\n".to_owned(), "300 lost\n".to_owned()].into_iter().chain(kept).collect();
        assert_eq!(*through.lock().unwrap(), expect);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character_and_keeps_its_end_of_line() {
        assert_eq!(cut("short\n".into(), 20), "short\n");
        let long = cut("ä".repeat(100) + "\n", 20);
        assert_eq!(long, "äääää… (cut)\n");
        assert!(long.len() <= 20);
    }
}
