//! Stage threads: named, joined, and heard of when they end.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};

/// A running stage. Dropping it waits for its end, so close its input first.
#[derive(Debug)]
pub struct Stage {
    name: String,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

/// Wakes the thread that waits for the stage's end, also after a panic. Why it ended comes from
/// [`Stage::join`]: the first to wake is not always the one that failed first.
struct EndNotice(mpsc::Sender<()>);

impl Drop for EndNotice {
    fn drop(&mut self) {
        // Nobody waits any more when the node is already stopping.
        let _stopping = self.0.send(());
    }
}

impl Stage {
    /// Runs `run` on a thread called `name`.
    ///
    /// # Errors
    /// The system has no thread left to give.
    pub fn spawn(
        name: impl Into<String>,
        ended: mpsc::Sender<()>,
        run: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let name = name.into();
        let notice = EndNotice(ended);
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                let _notice = notice;
                run()
            })
            .with_context(|| format!("cannot start the thread {name}"))?;
        Ok(Self { name, thread: Some(thread) })
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The stage's own error or its panic, with the stage's name as context.
    pub fn join(mut self) -> anyhow::Result<()> {
        self.wait()
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let outcome = thread.join().unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_text(&*panic))));
        outcome.with_context(|| self.name.clone())
    }
}

/// What a panic said.
pub fn panic_text(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

thread_local! {
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside [`contained`], whose caller reports the panic.
pub fn is_contained() -> bool {
    IS_CONTAINED.get()
}

/// Runs `work` of a library that may panic on bytes from outside. What `work` has written into by then is
/// used no more, or written anew.
///
/// # Errors
/// What the panic said.
pub fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let was_contained = IS_CONTAINED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    IS_CONTAINED.set(was_contained);
    outcome.map_err(|panic| panic_text(&*panic).to_owned())
}

/// All failures in one, in the order of `outcomes`.
///
/// # Errors
/// Any of `outcomes` failed.
pub fn all(outcomes: impl IntoIterator<Item = anyhow::Result<()>>) -> anyhow::Result<()> {
    let failures = outcomes.into_iter().filter_map(Result::err);
    let texts: Vec<_> = failures.map(|err| format!("{err:#}")).collect();
    if texts.is_empty() { Ok(()) } else { Err(anyhow!(texts.join("; "))) }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(err) = self.wait() {
            tracing::error!("{err:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(run: fn() -> anyhow::Result<()>, expect: &str) {
        let (ended, wait) = mpsc::channel();
        let stage = Stage::spawn("fit", ended, run).map(Stage::join);
        assert_eq!(wait.recv(), Ok(()));
        let outcome =
            stage.and_then(|outcome| outcome).map_or_else(|err| format!("{err:#}"), |()| "ok".into());
        assert_eq!(outcome, expect);
    }

    #[test]
    fn every_failure_is_told() {
        let outcome = all([Err(anyhow!("fit: no image")), Ok(()), Err(anyhow!("model: no device"))]);
        assert_eq!(outcome.map_err(|err| err.to_string()), Err("fit: no image; model: no device".into()));
        assert!(all([Ok(()), Ok(())]).is_ok());
    }

    #[test]
    fn a_contained_panic_is_an_error_and_the_thread_goes_on() {
        assert_eq!(contained(|| 7), Ok(7));
        assert_eq!(contained(|| -> u8 { panic!("index {}", 7) }), Err("index 7".into()));
        assert_eq!(contained(is_contained), Ok(true));
        assert!(!is_contained());
    }

    #[test]
    fn the_reason_of_an_end_comes_from_join() {
        check(|| Ok(()), "ok");
        check(|| Err(anyhow!("no device")), "fit: no device");
        check(|| panic!("index 7"), "fit: panicked: index 7");
    }
}
