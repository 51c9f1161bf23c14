//! Edges upstream of the model: one slot per camera in which a newer value replaces an older one.
//! Senders never wait; a receiver, or any of several threads that share it, takes the value that has waited
//! longest.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::runtime::lock::{lock, whole};

/// The other side is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side of the channel is gone")]
pub struct Closed;

struct State<T> {
    /// One slot per sender: the value and the order in which the slot was last found empty.
    slots: Vec<Option<(u64, T)>>,
    next_order: u64,
    n_senders: usize,
    receiver_alive: bool,
}

struct Slots<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

impl<T> Slots<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

/// Fills one slot.
pub struct Sender<T> {
    shared: Arc<Slots<T>>,
    slot: usize,
}

/// Takes from all slots. Threads that share it get each value once.
pub struct Receiver<T> {
    shared: Arc<Slots<T>>,
}

/// `n_slots` senders with a slot each and the receiver of them all.
pub fn slots<T>(n_slots: usize) -> (Vec<Sender<T>>, Receiver<T>) {
    let receiver = receiver(n_slots);
    let senders = (0..n_slots).map(|slot| Sender { shared: Arc::clone(&receiver.shared), slot });
    (senders.collect(), receiver)
}

/// One sender, one slot.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let receiver = receiver(1);
    (Sender { shared: Arc::clone(&receiver.shared), slot: 0 }, receiver)
}

fn receiver<T>(n_slots: usize) -> Receiver<T> {
    let state = State {
        slots: (0..n_slots).map(|_| None).collect(),
        next_order: 0,
        n_senders: n_slots,
        receiver_alive: true,
    };
    Receiver { shared: Arc::new(Slots { state: Mutex::new(state), filled: Condvar::new() }) }
}

impl<T> Sender<T> {
    /// Puts `value` into the slot and hands back the one that it displaced. Never waits.
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone; `value` is dropped.
    pub fn replace(&self, value: T) -> Result<Option<T>, Closed> {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        if !state.receiver_alive {
            return Err(Closed);
        }
        let slot = &mut state.slots[self.slot];
        // The newer value keeps the place in the queue, so a fast camera cannot starve itself.
        let order = slot.as_ref().map_or(state.next_order, |(order, _)| *order);
        let displaced = slot.replace((order, value)).map(|(_, old)| old);
        if displaced.is_none() {
            state.next_order += 1;
            self.shared.filled.notify_one();
        }
        Ok(displaced)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.lock().n_senders -= 1;
        // All that wait for a value hear that none will come.
        self.shared.filled.notify_all();
    }
}

impl<T> Receiver<T> {
    /// Waits until there is a value, and leaves it where a newer one can still replace it.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub fn wait(&self) -> Result<(), Closed> {
        let mut state = self.shared.lock();
        while state.slots.iter().all(Option::is_none) {
            if state.n_senders == 0 {
                return Err(Closed);
            }
            state = whole(self.shared.filled.wait(state));
        }
        Ok(())
    }

    /// Waits for a value and takes the one whose slot was filled first. Values that wait when the
    /// last sender goes are still delivered.
    ///
    /// # Errors
    /// [`Closed`] when all senders are gone and all slots are empty.
    pub fn recv(&self) -> Result<T, Closed> {
        loop {
            self.wait()?;
            if let Some(value) = self.shared.lock().take_oldest(|_| true) {
                return Ok(value);
            }
        }
    }

    /// As [`Receiver::recv`], and takes along what waits elsewhere and goes `together` with the first, the
    /// longest wait first, `n_most` values in all.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub fn recv_batch(&self, n_most: usize, together: impl Fn(&T, &T) -> bool) -> Result<Vec<T>, Closed> {
        let mut batch = vec![self.recv()?];
        let mut state = self.shared.lock();
        while batch.len() < n_most
            && let Some(value) = state.take_oldest(|value| together(&batch[0], value))
        {
            batch.push(value);
        }
        Ok(batch)
    }
}

impl<T> State<T> {
    /// The value whose slot was filled first of those that `is_meant`.
    fn take_oldest(&mut self, is_meant: impl Fn(&T) -> bool) -> Option<T> {
        let filled =
            self.slots.iter_mut().filter(|slot| slot.as_ref().is_some_and(|(_, value)| is_meant(value)));
        let oldest = filled.min_by_key(|slot| slot.as_ref().map(|(order, _)| *order))?;
        oldest.take().map(|(_, value)| value)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.receiver_alive = false;
        // Leases inside return to their pool now rather than with the last sender.
        state.slots.iter_mut().for_each(|slot| drop(slot.take()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_value_wins_and_the_displaced_one_comes_back() {
        let (sender, receiver) = channel();
        assert_eq!(sender.replace(1), Ok(None));
        assert_eq!(sender.replace(2), Ok(Some(1)));
        assert_eq!(receiver.recv(), Ok(2));
        assert_eq!(sender.replace(3), Ok(None));
    }

    #[test]
    fn the_slot_that_waited_longest_is_served_first() {
        let (senders, receiver) = slots(3);
        for (slot, value) in [(1, 10), (0, 20), (1, 11), (2, 30)] {
            assert!(senders[slot].replace(value).is_ok());
        }
        assert_eq!([receiver.recv(), receiver.recv(), receiver.recv()], [Ok(11), Ok(20), Ok(30)]);
    }

    #[test]
    fn a_batch_takes_along_what_goes_together_and_leaves_the_rest_its_turn() {
        let (senders, receiver) = slots(5);
        for (slot, value) in [(3, 10), (0, 21), (1, 12), (4, 14), (2, 23)] {
            assert!(senders[slot].replace(value).is_ok());
        }
        let is_alike = |one: &i32, other: &i32| one % 2 == other % 2;
        assert_eq!(receiver.recv_batch(2, is_alike), Ok(vec![10, 12]));
        assert_eq!(receiver.recv_batch(8, is_alike), Ok(vec![21, 23]));
        assert_eq!(receiver.recv_batch(8, is_alike), Ok(vec![14]));
        drop(senders);
        assert_eq!(receiver.recv_batch(8, is_alike), Err(Closed));
    }

    #[test]
    fn the_last_value_is_delivered_after_the_senders_are_gone() {
        let (sender, receiver) = channel();
        assert_eq!(sender.replace(1), Ok(None));
        drop(sender);
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Err(Closed));
    }

    #[test]
    fn a_value_that_was_waited_for_can_still_be_replaced() {
        let (sender, receiver) = channel();
        assert_eq!(sender.replace(1), Ok(None));
        assert_eq!(receiver.wait(), Ok(()));
        assert_eq!(sender.replace(2), Ok(Some(1)));
        drop(sender);
        assert_eq!((receiver.wait(), receiver.recv(), receiver.wait()), (Ok(()), Ok(2), Err(Closed)));
    }

    #[test]
    fn threads_that_share_a_receiver_get_each_value_once_and_all_hear_of_the_end() {
        let (senders, receiver) = slots(3);
        let receiver = Arc::new(receiver);
        let taken: Vec<_> = std::thread::scope(|scope| {
            let take = || std::iter::from_fn(|| receiver.recv().ok()).collect::<Vec<i32>>();
            let takers: Vec<_> = (0..3).map(|_| scope.spawn(take)).collect();
            let mut displaced = Vec::new();
            for value in 0..3000 {
                displaced.extend(senders[value as usize % 3].replace(value).unwrap());
            }
            drop(senders);
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).chain(displaced).collect()
        });
        let mut sorted = taken.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..3000).collect::<Vec<_>>());
    }

    #[test]
    fn a_sender_learns_that_the_receiver_is_gone() {
        let (sender, receiver) = channel();
        drop(receiver);
        assert_eq!(sender.replace(1), Err(Closed));
    }

    #[test]
    fn every_value_is_received_or_displaced_under_contention() {
        const N: u64 = 200_000;
        let (sender, receiver) = channel();
        let (received, displaced) = std::thread::scope(|scope| {
            let receiving = scope.spawn(move || {
                let (mut sum, mut last) = (0, None);
                while let Ok(value) = receiver.recv() {
                    assert!(last < Some(value), "values arrive in order");
                    last = Some(value);
                    sum += value;
                }
                assert_eq!(last, Some(N));
                sum
            });
            let displaced: u64 = (1..=N).filter_map(|value| sender.replace(value).ok().flatten()).sum();
            drop(sender);
            (receiving.join().unwrap_or_default(), displaced)
        });
        assert_eq!(received + displaced, N * (N + 1) / 2);
    }
}
