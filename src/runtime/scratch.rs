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

/// The system gives no memory for a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory for {n_bytes} bytes")]
pub struct NoMemory {
    /// As many as were asked for.
    pub n_bytes: usize,
}

/// A buffer of one owner. Its memory is mapped, so that what it lets go is the system's again at once: the
/// heap of a thread keeps tens of megabytes of what was freed.
#[derive(Debug, Default)]
pub struct Scratch {
    memory: Option<MmapMut>,
    needed: usize,
    recent: Recent,
}

impl Scratch {
    fn room(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.len())
    }

    /// `n_bytes` of anything, for writing.
    ///
    /// # Errors
    /// There is not that much memory; what was taken before is lost.
    pub fn take(&mut self, n_bytes: usize) -> Result<&mut [u8], NoMemory> {
        self.needed = 0;
        if self.room() < n_bytes {
            // First the old, so that there are never both.
            self.memory = None;
            self.memory = Some(MmapMut::map_anon(n_bytes).map_err(|_| NoMemory { n_bytes })?);
        }
        self.needed = n_bytes;
        Ok(self.memory.as_mut().map_or(&mut [], |memory| &mut memory[..n_bytes]))
    }

    /// What was taken and written.
    pub fn bytes(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory[..self.needed])
    }

    /// Makes the last use count for nothing.
    pub fn forget(&mut self) {
        self.needed = 0;
    }

    /// Ends a use. The contents are lost.
    pub fn settle(&mut self) {
        let usual = self.recent.note(std::mem::take(&mut self.needed));
        if is_outlier(self.room(), usual) {
            self.memory = None;
        }
    }

    #[cfg(test)]
    pub(crate) fn place(&self) -> (*const u8, usize) {
        (self.memory.as_ref().map_or(std::ptr::null(), |memory| memory.as_ptr()), self.room())
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
            assert_eq!(scratch.take(need).unwrap().len(), need);
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
    fn what_there_is_no_memory_for_is_an_error_and_the_next_use_is_well() {
        let mut scratch = Scratch::default();
        scratch.take(MB).unwrap();
        let n_bytes = isize::MAX as usize & !0xfff;
        assert_eq!(scratch.take(n_bytes), Err(NoMemory { n_bytes }));
        assert_eq!(scratch.bytes(), &[] as &[u8]);
        assert_eq!(scratch.take(2 * MB).unwrap().len(), 2 * MB);
        assert!(scratch.take(0).unwrap().is_empty() && Scratch::default().take(0).unwrap().is_empty());
    }

    #[test]
    fn what_was_forgotten_counts_for_nothing() {
        let mut scratch = Scratch::default();
        for _ in 0..8 {
            scratch.take(50 * MB).unwrap();
            scratch.forget();
            scratch.settle();
            assert_eq!(scratch.place().1, 0);
        }
    }
}
