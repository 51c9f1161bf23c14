//! Buffers that are used again and again, and that keep no more than what ordinary uses need.

use crate::ffi;

/// Buffers up to this size are never made smaller.
const FREE_TO_KEEP: usize = 1 << 20;

/// What the last uses of a buffer needed, in bytes.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    needs: [usize; 8],
    next: usize,
}

impl Recent {
    /// Takes note of one use. Returns what a buffer for such uses should hold: the second largest of the last eight
    /// needs, so that an outlier counts for nothing and a new usual size counts from its second use on.
    pub fn note(&mut self, n_bytes: usize) -> usize {
        self.needs[self.next] = n_bytes;
        self.next = (self.next + 1) % self.needs.len();
        let [mut largest, mut second] = [0; 2];
        for need in self.needs {
            second = second.max(need.min(largest));
            largest = largest.max(need);
        }
        second
    }
}

/// Whether a buffer of `n_bytes` is far beyond `usual`.
pub fn is_outlier(n_bytes: usize, usual: usize) -> bool {
    n_bytes > FREE_TO_KEEP.max(2 * usual)
}

/// Makes `buffer` smaller when it is far beyond `usual`, and says whether it did.
pub fn shrink(buffer: &mut Vec<u8>, usual: usize) -> bool {
    let is_outlier = is_outlier(buffer.capacity(), usual);
    if is_outlier {
        buffer.truncate(usual);
        buffer.shrink_to(usual);
    }
    is_outlier
}

/// A buffer of one owner.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    needed: usize,
    recent: Recent,
}

impl Scratch {
    /// `n_bytes` of anything, for writing.
    pub fn take(&mut self, n_bytes: usize) -> &mut [u8] {
        if n_bytes > self.bytes.capacity() {
            // Growing in place would copy the old contents and could hold both for a moment.
            self.bytes = Vec::new();
            self.bytes = vec![0; n_bytes];
        }
        self.bytes.resize(n_bytes, 0);
        self.needed = n_bytes;
        &mut self.bytes
    }

    /// What was taken and written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes the last use count for nothing.
    pub fn forget(&mut self) {
        self.needed = 0;
    }

    /// Ends a use. The contents are lost.
    pub fn settle(&mut self) {
        let usual = self.recent.note(std::mem::take(&mut self.needed));
        if shrink(&mut self.bytes, usual) {
            ffi::memory::give_back();
        }
    }

    #[cfg(test)]
    pub(crate) fn place(&self) -> (*const u8, usize) {
        (self.bytes.as_ptr(), self.bytes.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    /// Uses a fresh buffer for `needs` in turn; `expect` is what it holds afterwards.
    #[track_caller]
    fn check(needs: &[usize], expect: usize) {
        let mut scratch = Scratch::default();
        for &need in needs {
            assert_eq!(scratch.take(need).len(), need);
            scratch.settle();
        }
        assert_eq!(scratch.bytes.capacity(), expect, "{needs:?}");
    }

    #[test]
    fn an_outlier_is_given_back_at_once() {
        check(&[3 * MB, 3 * MB], 3 * MB);
        check(&[3 * MB, 3 * MB, 100 * MB], 3 * MB);
        check(&[100 * MB], 0);
        check(&[100 * MB, 3 * MB, 3 * MB], 3 * MB);
    }

    #[test]
    fn a_new_usual_size_is_kept_from_its_second_use_on() {
        check(&[3 * MB, 3 * MB, 20 * MB, 20 * MB], 20 * MB);
        check(&[[20 * MB].repeat(9), [3 * MB].repeat(6)].concat(), 20 * MB);
        check(&[[20 * MB].repeat(9), [3 * MB].repeat(7)].concat(), 3 * MB);
    }

    #[test]
    fn small_buffers_are_kept_and_so_are_mixed_sizes() {
        check(&[MB, 0, 0, 0, 0, 0, 0, 0, 0, 0], MB);
        check(&[4 * MB, 3 * MB, 4 * MB, 3 * MB, 4 * MB, 3 * MB], 4 * MB);
    }

    #[test]
    fn what_was_forgotten_counts_for_nothing() {
        let mut scratch = Scratch::default();
        for _ in 0..8 {
            scratch.take(50 * MB);
            scratch.forget();
            scratch.settle();
            assert_eq!(scratch.bytes.capacity(), 0);
        }
    }
}
