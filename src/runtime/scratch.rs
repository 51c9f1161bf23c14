//! Buffers that are used again and again, and that keep no more than what ordinary uses need.

use memmap2::MmapMut;

/// Buffers up to this size are never made smaller.
const FREE_TO_KEEP: usize = 1 << 20;

/// What the last uses of a buffer needed, in bytes.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    needs: [usize; 8],
    next: usize,
}

impl Recent {
    /// Takes note of one use. Returns what a buffer for such uses should hold: the second largest of the last
    /// eight needs, so that an outlier counts for nothing and a new usual size counts from its second use on.
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
fn is_outlier(n_bytes: usize, usual: usize) -> bool {
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

/// A buffer of one owner. Its memory is mapped, so that what it lets go is the system's again at once: the
/// heap of a thread keeps tens of megabytes of what was freed.
#[derive(Debug, Default)]
pub struct Scratch {
    memory: Backing,
    needed: usize,
    recent: Recent,
}

#[derive(Debug)]
enum Backing {
    Mapped(MmapMut),
    Heap(Vec<u8>),
}

impl Default for Backing {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl Backing {
    /// Zeros; from the heap where the system maps none.
    fn new(n_bytes: usize) -> Self {
        MmapMut::map_anon(n_bytes).map_or_else(|_| Self::Heap(vec![0; n_bytes]), Self::Mapped)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Heap(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Heap(bytes) => bytes,
        }
    }
}

impl Scratch {
    /// `n_bytes` of anything, for writing.
    pub fn take(&mut self, n_bytes: usize) -> &mut [u8] {
        if n_bytes > self.memory.bytes().len() {
            // First the old, so that there are never both.
            self.memory = Backing::default();
            self.memory = Backing::new(n_bytes);
        }
        self.needed = n_bytes;
        &mut self.memory.bytes_mut()[..n_bytes]
    }

    /// What was taken and written.
    pub fn bytes(&self) -> &[u8] {
        &self.memory.bytes()[..self.needed]
    }

    /// Makes the last use count for nothing.
    pub fn forget(&mut self) {
        self.needed = 0;
    }

    /// Ends a use. The contents are lost.
    pub fn settle(&mut self) {
        let usual = self.recent.note(std::mem::take(&mut self.needed));
        if is_outlier(self.memory.bytes().len(), usual) {
            self.memory = Backing::default();
        }
    }

    #[cfg(test)]
    pub(crate) fn place(&self) -> (*const u8, usize) {
        (self.memory.bytes().as_ptr(), self.memory.bytes().len())
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
        assert_eq!(scratch.place().1, expect, "{needs:?}");
    }

    #[test]
    fn an_outlier_is_given_back_at_once() {
        check(&[3 * MB, 3 * MB], 3 * MB);
        check(&[3 * MB, 3 * MB, 100 * MB], 0);
        check(&[100 * MB], 0);
        check(&[100 * MB, 3 * MB, 3 * MB], 3 * MB);
    }

    #[test]
    fn a_new_usual_size_is_kept_from_its_second_use_on() {
        check(&[3 * MB, 3 * MB, 20 * MB, 20 * MB], 20 * MB);
        check(&[[20 * MB].repeat(9), [3 * MB].repeat(6)].concat(), 20 * MB);
        check(&[[20 * MB].repeat(9), [3 * MB].repeat(7)].concat(), 0);
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
            assert_eq!(scratch.place().1, 0);
        }
    }
}
