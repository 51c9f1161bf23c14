#![warn(warnings)]
//! The timer in the event loop's poll that resumes deferred sends.

#[cfg(target_os = "linux")]
use std::{
  os::fd::{AsFd, AsRawFd, RawFd},
  time::Duration,
};
use std::time::Instant;

#[cfg(target_os = "linux")]
use nix::sys::{
  time::TimeSpec,
  timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

use super::Pacer;

#[cfg(target_os = "linux")]
pub(super) fn new() -> Option<TimerFd> {
  TimerFd::new(
    ClockId::CLOCK_MONOTONIC,
    TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
  )
  .inspect_err(|e| log::error!("No timer for pacing: {e}. Deferred data waits for milliseconds."))
  .ok()
}

#[cfg(target_os = "linux")]
impl Pacer {
  /// The timer, to be registered once for readability.
  pub(crate) fn timer_fd(&self) -> Option<RawFd> {
    self.timer.as_ref().map(|t| t.as_fd().as_raw_fd())
  }

  /// Sets the timer to when the next one is due. Setting it also clears what
  /// made it readable, so nobody has to read it.
  ///
  /// Returns what the timer cannot do and the poll's timeout has to.
  pub(crate) fn arm(&self) -> Option<Instant> {
    let due = self.next_due();
    let Some(timer) = &self.timer else {
      return due;
    };
    let mut state = self.state.borrow_mut();
    if state.armed == due {
      return None;
    }
    let set = match due {
      Some(at) => {
        // Zero would stop the timer.
        let left = at
          .saturating_duration_since(Instant::now())
          .max(Duration::from_nanos(1));
        timer.set(
          Expiration::OneShot(TimeSpec::from_duration(left)),
          TimerSetTimeFlags::empty(),
        )
      }
      None => timer.unset(),
    };
    match set {
      Ok(()) => {
        state.armed = due;
        None
      }
      Err(e) => {
        log::error!("Cannot set the timer for pacing: {e}");
        due
      }
    }
  }

  /// To be called when the timer has fired: it is not armed any more.
  pub(crate) fn fired(&self) {
    self.state.borrow_mut().armed = None;
  }
}

#[cfg(not(target_os = "linux"))]
impl Pacer {
  pub(crate) fn arm(&self) -> Option<Instant> {
    self.next_due()
  }
}
