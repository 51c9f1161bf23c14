//! Tells the statuses once a second, and at once when a level changes.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::{Board, Level, Status};
use crate::runtime::thread::Stage;

/// Time between two tellings.
const PERIOD: Duration = Duration::from_secs(1);
/// Time between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// The thread that tells. Dropping it ends it.
pub struct Teller {
    /// Closed when dropped, which ends the thread.
    _stop: Sender<()>,
    /// Joined when dropped.
    _thread: Stage,
}

impl Teller {
    /// Gives the statuses of `board` to `tell`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        board: Arc<Board>,
        mut tell: impl FnMut(Vec<Status>) + Send + 'static,
        ended: mpsc::Sender<()>,
    ) -> anyhow::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let thread = Stage::spawn("diagnostics", ended, move || {
            let (mut told, mut levels) = (None::<Instant>, Vec::<Level>::new());
            loop {
                let statuses = board.statuses(Instant::now());
                let now: Vec<Level> = statuses.iter().map(|status| status.level).collect();
                if now != levels || told.is_none_or(|told| PERIOD <= told.elapsed()) {
                    tell(statuses);
                    (told, levels) = (Some(Instant::now()), now);
                }
                if stopped.recv_timeout(BETWEEN_LOOKS) != Err(RecvTimeoutError::Timeout) {
                    return Ok(());
                }
            }
        })?;
        Ok(Self { _stop: stop, _thread: thread })
    }
}
