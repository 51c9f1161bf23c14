#![warn(warnings)]
//! Pacing of bulk data.
//!
//! A receiver's socket buffer is small (212992 bytes on a stock Linux) next to
//! the samples of images and point clouds, and what does not fit is lost. So
//! bulk data leaves at a rate: one bucket per destination address, shared by
//! all writers of the participant, because the burst that fills a receiver's
//! buffer is that of the participant. Buckets fill by time alone; no reader can
//! hold one up. For receivers on this host the kernel is asked instead how full
//! their sockets are (see [`receivers`]).
//!
//! A send that does not fit is *deferred*: nothing is sent, the cursor of the
//! sample stays where it is, and a timer in the event loop's poll resumes it.
//! Nothing sleeps. Whoever sends has a *place* in one queue until its sample is
//! complete: first come, first served, which makes for the lowest mean latency.
//! Control messages and small samples ask for no place and overtake.

use std::{
  cell::RefCell,
  collections::{BTreeMap, HashMap, VecDeque},
  net::SocketAddr,
  sync::{Arc, Mutex, PoisonError},
  time::{Duration, Instant},
};

#[cfg(target_os = "linux")]
use nix::sys::timerfd::TimerFd;

pub use self::counts::SendCounts;
pub(crate) use self::counts::Tally;
use self::receivers::{Receivers, Room};
use crate::{
  network::util::IfAddr,
  structure::guid::{EntityId, GUID},
};

mod counts;
mod receivers;
#[cfg(target_os = "linux")]
mod sock_diag;
mod timer;

/// Samples up to this size, in bytes, never wait: they are counted against the
/// bucket, but never deferred.
pub(crate) const SMALL_SAMPLE: usize = 4096;

/// What a datagram costs a receiver beyond its bytes: the kernel accounts for
/// the buffers that hold it, 2304 bytes for one of 1500 over veth and more than
/// a page with many a network card, and the receiver has work with each.
const DATAGRAM_COST: usize = 1536;

/// What a small datagram costs beyond that when nobody repairs what is lost: a
/// receiver that gets no CPU for a while then loses less.
const UNREPAIRED_COST: usize = 2560;

/// Datagrams above this size, in bytes, are few.
const LARGE_DATAGRAM: usize = 16 << 10;

/// What a datagram of `len` bytes costs for the sake of those who get no second
/// one.
pub(crate) fn care(len: usize, is_repaired: bool) -> usize {
  if is_repaired || len > LARGE_DATAGRAM {
    0
  } else {
    UNREPAIRED_COST
  }
}

/// A deferred send resumes once so many bytes fit, or the largest burst, so
/// that a wake of the event loop is worth it where datagrams are small.
const QUANTUM: usize = 64 << 10;

/// A place is lost when its owner has not asked for so long. Owners leave when
/// they are done; this only bounds what one that forgets can hold up.
const PLACE_HOLDS: Duration = Duration::from_secs(1);

/// Buckets that are full are forgotten when there are more than this.
const BUCKETS_BEFORE_SWEEP: usize = 64;

/// How much bulk data a participant sends to one address, and what became of
/// its samples. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Pacing {
  burst: usize,
  rate: u64,
  counts: Arc<Mutex<BTreeMap<String, Arc<Tally>>>>,
}

impl Pacing {
  /// At most `burst` bytes at once and `rate` bytes per second to one address.
  /// A rate of 0 has no limit.
  pub fn new(burst: usize, rate: u64) -> Self {
    Self {
      burst: burst.max(1),
      rate,
      counts: Arc::default(),
    }
  }

  /// No limit.
  pub fn unlimited() -> Self {
    Self::new(1, 0)
  }

  /// What became of the samples of each topic that has a writer, by DDS name.
  pub fn counts(&self) -> BTreeMap<String, SendCounts> {
    let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
    counts
      .iter()
      .map(|(topic, tally)| (topic.clone(), tally.read()))
      .collect()
  }

  pub(crate) fn tally(&self, topic: &str) -> Arc<Tally> {
    let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(counts.entry(topic.to_owned()).or_default())
  }
}

/// What a participant's sender is made with.
#[derive(Debug)]
pub(crate) struct Sending {
  /// Requested `SO_SNDBUF` in bytes.
  pub socket_buffer_size: usize,
  pub pacing: Pacing,
}

/// Who sends, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
  /// A writer its newest samples, to every reader.
  Push(EntityId),
  /// A writer what this reader has asked for again.
  Repair(EntityId, GUID),
}

#[derive(Debug)]
struct Place {
  errand: Errand,
  destinations: Vec<SocketAddr>,
  /// When it last asked.
  asked: Instant,
  /// When to resume it; `None` while it waits for something else, such as the
  /// kernel's buffer.
  resume: Option<Instant>,
}

/// The buckets of a participant, and who waits for them.
#[derive(Debug)]
pub(crate) struct Pacer {
  pacing: Pacing,
  state: RefCell<State>,
  #[cfg(target_os = "linux")]
  timer: Option<TimerFd>,
}

#[derive(Debug)]
struct State {
  receivers: Receivers,
  /// When the bucket of an address will be full again. One that is full has no
  /// entry, or one in the past.
  full_at: HashMap<SocketAddr, Instant>,
  /// First come, first served.
  places: VecDeque<Place>,
  /// What the timer is set to.
  armed: Option<Instant>,
}

impl Pacer {
  /// A pacer that knows no receiver's socket.
  pub(crate) fn new(pacing: Pacing) -> Self {
    Self::with_receivers(pacing, Receivers::none())
  }

  /// A pacer that asks how full sockets at the addresses of these interfaces
  /// are.
  pub(crate) fn on_host(pacing: Pacing, interfaces: &[IfAddr]) -> Self {
    let receivers = match pacing.rate {
      0 => Receivers::none(),
      _ => Receivers::at(interfaces),
    };
    Self::with_receivers(pacing, receivers)
  }

  fn with_receivers(pacing: Pacing, receivers: Receivers) -> Self {
    Self {
      pacing,
      state: RefCell::new(State {
        receivers,
        full_at: HashMap::new(),
        places: VecDeque::new(),
        armed: None,
      }),
      #[cfg(target_os = "linux")]
      timer: timer::new(),
    }
  }

  pub(crate) fn pacing(&self) -> &Pacing {
    &self.pacing
  }

  /// Whether a datagram of `len` bytes may go to all `destinations` now. If so
  /// it has been charged to all of them, else to none and `errand` is resumed
  /// in time. Either way `errand` has its place until it calls
  /// [`Self::leave`].
  pub(crate) fn admit(
    &self,
    errand: Errand,
    destinations: &[SocketAddr],
    len: usize,
    now: Instant,
  ) -> bool {
    let mut state = self.state.borrow_mut();
    let state = &mut *state;
    state
      .places
      .retain(|place| place.errand == errand || place.asked + PLACE_HOLDS > now);
    let index = match state.places.iter().position(|p| p.errand == errand) {
      Some(index) => index,
      None => {
        state.places.push_back(Place {
          errand,
          destinations: Vec::new(),
          asked: now,
          resume: None,
        });
        state.places.len() - 1
      }
    };
    let wait = state
      .places
      .iter()
      .take(index)
      .filter(|ahead| ahead.destinations.iter().any(|d| destinations.contains(d)))
      // Who is ahead wakes this one when it leaves.
      .map(|ahead| ahead.asked + PLACE_HOLDS)
      .max()
      .or_else(|| self.wait_for_room(state, destinations, len, now));
    let place = &mut state.places[index];
    if place.destinations != destinations {
      place.destinations = destinations.to_vec();
    }
    place.asked = now;
    place.resume = wait;
    wait.is_none()
  }

  /// Counts a datagram of `len` bytes that does not wait.
  pub(crate) fn charge(&self, destination: SocketAddr, len: usize) {
    self.charge_to(
      &mut self.state.borrow_mut().full_at,
      &[destination],
      len,
      Instant::now(),
    );
  }

  /// Gives up the place of `errand`. Those behind it are asked again.
  pub(crate) fn leave(&self, errand: Errand) {
    let mut state = self.state.borrow_mut();
    let Some(index) = state.places.iter().position(|p| p.errand == errand) else {
      return;
    };
    let Some(left) = state.places.remove(index) else {
      return;
    };
    for behind in state.places.iter_mut().skip(index) {
      let waits_for_it = behind
        .destinations
        .iter()
        .any(|d| left.destinations.contains(d));
      if waits_for_it && behind.resume.is_some() {
        behind.resume = Some(left.asked);
      }
    }
  }

  /// Gives up every place of a writer that is gone.
  pub(crate) fn forget(&self, writer: EntityId) {
    let errands: Vec<Errand> = self
      .state
      .borrow()
      .places
      .iter()
      .map(|place| place.errand)
      .filter(|errand| match errand {
        Errand::Push(eid) | Errand::Repair(eid, _) => *eid == writer,
      })
      .collect();
    for errand in errands {
      self.leave(errand);
    }
  }

  /// Those whose time has come, in their order.
  pub(crate) fn due(&self, now: Instant) -> Vec<Errand> {
    self
      .state
      .borrow()
      .places
      .iter()
      .filter(|place| place.resume.is_some_and(|at| at <= now))
      .map(|place| place.errand)
      .collect()
  }

  /// Whether `errand` has been due since `now`, so that it has neither asked
  /// again nor left.
  pub(crate) fn is_due(&self, errand: Errand, now: Instant) -> bool {
    self.due(now).contains(&errand)
  }

  /// When the next one is due.
  pub(crate) fn next_due(&self) -> Option<Instant> {
    self
      .state
      .borrow()
      .places
      .iter()
      .filter_map(|place| place.resume)
      .min()
  }

  /// When to resume a datagram of `len` bytes; `None` if it may go now, and
  /// then it has been charged.
  fn wait_for_room(
    &self,
    state: &mut State,
    destinations: &[SocketAddr],
    len: usize,
    now: Instant,
  ) -> Option<Instant> {
    let in_company = destinations.len() > 1
      || state
        .places
        .iter()
        .flat_map(|place| &place.destinations)
        .any(|other| !destinations.contains(other));
    let (mut look_again, mut look_at_left) = (None, None);
    let mut paced = Vec::with_capacity(destinations.len());
    for destination in destinations {
      let room = state
        .receivers
        .room_at(*destination, len + DATAGRAM_COST, in_company, now);
      match room {
        Room::Enough => {}
        Room::Full(at) => look_again = look_again.max(Some(at)),
        Room::Left(at) => {
          look_at_left = Some(at);
          paced.push(*destination);
        }
        Room::Unknown => paced.push(*destination),
      }
    }
    let rated = self
      .resumes(&state.full_at, &paced, len, now)
      .map(|at| look_at_left.map_or(at, |look| at.min(look)));
    let wait = look_again.max(rated);
    if wait.is_none() {
      self.charge_to(&mut state.full_at, &paced, len, now);
    }
    wait
  }

  fn resumes(
    &self,
    full_at: &HashMap<SocketAddr, Instant>,
    destinations: &[SocketAddr],
    len: usize,
    now: Instant,
  ) -> Option<Instant> {
    let full_at = destinations.iter().filter_map(|d| full_at.get(d)).max()?;
    // A datagram larger than the bucket goes when the bucket is full.
    let room_for = |bytes: usize| {
      let missing = self.pacing.burst.saturating_sub(bytes);
      full_at.checked_sub(self.time_for(missing)).unwrap_or(now)
    };
    if room_for(len + DATAGRAM_COST) <= now {
      None
    } else {
      Some(room_for((len + DATAGRAM_COST).max(QUANTUM)))
    }
  }

  fn charge_to(
    &self,
    full_at: &mut HashMap<SocketAddr, Instant>,
    destinations: &[SocketAddr],
    len: usize,
    now: Instant,
  ) {
    if self.pacing.rate == 0 {
      return;
    }
    if full_at.len() > BUCKETS_BEFORE_SWEEP {
      full_at.retain(|_, at| *at > now);
    }
    for destination in destinations {
      let at = full_at.entry(*destination).or_insert(now);
      *at = (*at).max(now) + self.time_for(len + DATAGRAM_COST);
    }
  }

  fn time_for(&self, bytes: usize) -> Duration {
    match self.pacing.rate {
      0 => Duration::ZERO,
      rate => Duration::from_secs_f64(bytes as f64 / rate as f64),
    }
  }
}
