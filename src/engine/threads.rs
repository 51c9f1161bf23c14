//! CPU threads of forward passes that run side by side.

/// With how many CPU threads a forward pass computes, by the company that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassThreads {
    /// While it is the only one.
    pub alone: i32,
    /// What passes side by side share.
    pub all: i32,
}

impl PassThreads {
    /// Threads of one of `n_passes` at once; one at least, and never more than one that is alone has.
    pub fn of_each(self, n_passes: usize) -> i32 {
        let Self { alone, all } = self;
        let share = i32::try_from(n_passes).map_or(1, |n_passes| all / n_passes.max(1));
        if n_passes <= 1 { alone } else { share.clamp(1, alone.max(1)) }
    }
}

/// Has libtorch compute with `n` CPU threads in the calling thread, whatever others do: the numbers of OpenMP
/// and of MKL belong to the thread that sets them.
pub fn set_threads_here(n: i32) {
    // A thread that has never asked takes, with its first computation, the number that any thread set last.
    tch::get_num_threads();
    tch::set_num_threads(n);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_alone_has_all_threads_and_each_of_several_its_share() {
        let check = |alone, all, expect: [i32; 5]| {
            let threads = PassThreads { alone, all };
            assert_eq!([1, 2, 3, 4, 99].map(|n| threads.of_each(n)), expect, "{threads:?}");
        };
        check(2, 2, [2, 1, 1, 1, 1]);
        check(1, 2, [1, 1, 1, 1, 1]);
        check(8, 16, [8, 8, 5, 4, 1]);
        check(16, 16, [16, 8, 5, 4, 1]);
        check(1, 1, [1, 1, 1, 1, 1]);
    }

    #[test]
    fn the_number_of_a_thread_is_its_own() {
        let (go_on, wait) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let one = scope.spawn(move || {
                set_threads_here(1);
                wait.recv().unwrap();
                tch::get_num_threads()
            });
            scope.spawn(|| set_threads_here(3)).join().unwrap();
            go_on.send(()).unwrap();
            assert_eq!(one.join().unwrap(), 1);
        });
    }
}
