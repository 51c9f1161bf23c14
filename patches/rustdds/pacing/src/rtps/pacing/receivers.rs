#![warn(warnings)]
//! How full the sockets of receivers on this host are.
//!
//! A rate is a guess at how fast a receiver takes its data away. On this host
//! the kernel knows how much waits at a receiver's socket, so bulk data for it
//! leaves when it fits, and time alone decides for other hosts and where the
//! kernel does not tell.
//!
//! Nobody can hold the others up for long: a receiver that takes nothing is
//! left to the rate, as one on another host is.

use std::{
  collections::HashMap,
  fmt,
  net::{IpAddr, SocketAddr},
  time::{Duration, Instant},
};

#[cfg(target_os = "linux")]
use super::sock_diag::SockDiag;
use crate::network::util::IfAddr;

/// How much waits at a socket, and how much may, in bytes as the kernel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backlog {
  pub(super) waiting: usize,
  pub(super) capacity: usize,
}

impl Backlog {
  /// What is free when `len` bytes have come; `None` where they do not fit. A
  /// quarter is for others who send to the same socket. What is too large for
  /// it goes when nothing waits.
  fn free_after(self, len: usize) -> Option<usize> {
    let free = (self.capacity / 4 * 3).saturating_sub(self.waiting);
    (self.waiting == 0 || len <= free).then(|| free.saturating_sub(len))
  }
}

/// How long a receiver that takes nothing is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// The same where what goes to other receivers waits too. Time in which it was
/// not waited for restores a tenth of it.
const PATIENCE_IN_COMPANY: Duration = Duration::from_millis(25);
const RESTORED: u32 = 10;

/// When to look again: in half the time that it has lasted, within these.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(4));

/// When to look again at one that is left to the rate.
const LEFT_FOR: Duration = Duration::from_millis(50);

/// What was free a moment ago, less what has been sent since, is as good as
/// free.
const FREE_HOLDS: Duration = Duration::from_millis(2);

/// What is known of more receivers than this is forgotten when nobody waits for
/// them.
const RECEIVERS_BEFORE_SWEEP: usize = 64;

/// Whether a datagram may go to a receiver now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
  /// It fits.
  Enough,
  /// It does not fit; look again then.
  Full(Instant),
  /// It does not fit, and nobody waits for it any longer: the rate decides, but
  /// look again then.
  Left(Instant),
  /// Nobody knows: the rate decides.
  Unknown,
}

/// What is known of a receiver.
#[derive(Clone, Copy, Debug)]
struct Known {
  /// Bytes that were free at its socket at `asked`, less what has been sent
  /// since.
  free: usize,
  asked: Instant,
  wait: Wait,
}

/// What a receiver was waited for.
#[derive(Clone, Copy, Debug)]
struct Wait {
  /// Since when it has been full.
  full_since: Option<Instant>,
  /// How much patience it had taken at `as_of`.
  taken: Duration,
  as_of: Instant,
}

impl Wait {
  fn new(now: Instant) -> Self {
    Self {
      full_since: None,
      taken: Duration::ZERO,
      as_of: now,
    }
  }

  /// Judges by `fits` whether a datagram may go.
  fn judge(&mut self, fits: bool, in_company: bool, now: Instant) -> Room {
    let patience = if in_company {
      PATIENCE_IN_COMPANY
    } else {
      PATIENCE
    };
    let lasted = self.full_since.map(|since| now.saturating_duration_since(since));
    if fits {
      if let Some(lasted) = lasted {
        self.taken = (self.taken + lasted).min(patience);
        self.as_of = now;
        self.full_since = None;
      }
      return Room::Enough;
    }
    let lasted = lasted.unwrap_or_else(|| {
      let free = now.saturating_duration_since(self.as_of);
      self.taken = self.taken.saturating_sub(free / RESTORED);
      self.full_since = Some(now);
      Duration::ZERO
    });
    let taken = if in_company { self.taken } else { Duration::ZERO };
    if taken + lasted > patience {
      return Room::Left(now + LEFT_FOR);
    }
    Room::Full(now + (lasted / 2).clamp(LOOK_AGAIN.0, LOOK_AGAIN.1))
  }
}

/// The receivers of this host.
pub(super) struct Receivers {
  #[cfg(target_os = "linux")]
  kernel: Option<SockDiag>,
  /// The host's own addresses.
  own: Vec<IpAddr>,
  known: HashMap<SocketAddr, Known>,
}

impl fmt::Debug for Receivers {
  fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_struct("Receivers")
      .field("own", &self.own)
      .field("known", &self.known)
      .finish_non_exhaustive()
  }
}

impl Receivers {
  /// Nobody is asked.
  pub(super) fn none() -> Self {
    Self {
      #[cfg(target_os = "linux")]
      kernel: None,
      own: Vec::new(),
      known: HashMap::new(),
    }
  }

  /// Those at the addresses of these interfaces.
  pub(super) fn at(interfaces: &[IfAddr]) -> Self {
    Self {
      #[cfg(target_os = "linux")]
      kernel: SockDiag::new()
        .inspect_err(|e| {
          log::info!("The kernel does not tell how full sockets are: {e}. Bulk data leaves at the rate.");
        })
        .ok(),
      own: interfaces.iter().map(|ifa| ifa.ip).collect(),
      known: HashMap::new(),
    }
  }

  /// Whether a datagram of `len` bytes may go to `destination`. `in_company`
  /// tells that what goes to others waits too.
  pub(super) fn room_at(
    &mut self,
    destination: SocketAddr,
    len: usize,
    in_company: bool,
    now: Instant,
  ) -> Room {
    if let Some(known) = self.known.get_mut(&destination) {
      if len <= known.free && now.saturating_duration_since(known.asked) < FREE_HOLDS {
        known.free -= len;
        return Room::Enough;
      }
    }
    let Some(backlog) = self.backlog(destination) else {
      return Room::Unknown;
    };
    if self.known.len() > RECEIVERS_BEFORE_SWEEP {
      self.known.retain(|_, known| known.wait.full_since.is_some());
    }
    let known = self.known.entry(destination).or_insert_with(|| Known {
      free: 0,
      asked: now,
      wait: Wait::new(now),
    });
    let free = backlog.free_after(len);
    known.free = free.unwrap_or(0);
    known.asked = now;
    known.wait.judge(free.is_some(), in_company, now)
  }

  #[cfg(target_os = "linux")]
  fn backlog(&self, destination: SocketAddr) -> Option<Backlog> {
    let SocketAddr::V4(address) = destination else {
      return None;
    };
    if !address.ip().is_loopback() && !self.own.contains(&destination.ip()) {
      return None;
    }
    self.kernel.as_ref()?.backlog(address)
  }

  #[cfg(not(target_os = "linux"))]
  fn backlog(&self, _destination: SocketAddr) -> Option<Backlog> {
    None
  }
}

#[cfg(test)]
mod tests {
  use super::*;

  const MS: Duration = Duration::from_millis(1);

  #[test]
  fn a_quarter_of_a_buffer_stays_free_and_what_is_too_large_goes_alone() {
    let capacity = 200_000;
    let free = |waiting, len| Backlog { waiting, capacity }.free_after(len);
    assert_eq!(free(0, 60_000), Some(90_000));
    assert_eq!(free(90_000, 60_000), Some(0));
    assert_eq!(free(90_001, 60_000), None);
    assert_eq!((free(0, 300_000), free(1, 300_000)), (Some(0), None));
  }

  #[test]
  fn a_receiver_that_takes_nothing_is_left_to_the_rate_until_it_takes_something() {
    for (in_company, patience) in [(false, PATIENCE), (true, PATIENCE_IN_COMPANY)] {
      let start = Instant::now();
      let mut wait = Wait::new(start);
      assert_eq!(wait.judge(true, in_company, start), Room::Enough);
      assert!(matches!(wait.judge(false, in_company, start), Room::Full(_)));
      let Room::Full(again) = wait.judge(false, in_company, start + patience) else {
        panic!("left too early");
      };
      assert!(again <= start + patience + LOOK_AGAIN.1);
      for later in [start + patience + MS, start + patience * 100] {
        assert_eq!(wait.judge(false, in_company, later), Room::Left(later + LEFT_FOR));
      }
      assert_eq!(wait.judge(true, in_company, start + patience * 101), Room::Enough);
    }
  }

  #[test]
  fn a_receiver_that_is_always_slow_costs_others_a_part_of_their_time() {
    let start = Instant::now();
    let mut wait = Wait::new(start);
    let mut waited = 0;
    for ms in 0..10_000 {
      // It takes a datagram every 20 ms, and there is always one more.
      let now = start + ms * MS;
      if ms % 20 == 0 {
        wait.judge(true, true, now);
      } else if matches!(wait.judge(false, true, now), Room::Full(_)) {
        waited += 1;
      }
    }
    assert!((25..=1_250).contains(&waited), "{waited} of 10000 ms");
  }
}
