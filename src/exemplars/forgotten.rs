//! What was forgotten, as long as it can be taken back.

use super::store::Labelled;

/// The exemplars that left with one request.
#[derive(Clone, Debug)]
pub(super) struct Forgotten {
    /// The class; `None` of all.
    pub(super) class: Option<u8>,
    /// Lessons that there had been by then.
    pub(super) n_lessons: u64,
    /// Each with its place among all, ascending.
    gone: Vec<(usize, Labelled)>,
}

impl Forgotten {
    /// Takes the exemplars of `class`, or all, out of `labelled`; `None` where there are none.
    pub(super) fn taken(labelled: &mut Vec<Labelled>, class: Option<u8>, n_lessons: u64) -> Option<Self> {
        let is_gone = |labelled: &Labelled| class.is_none_or(|class| labelled.class == class);
        let all = std::mem::take(labelled).into_iter().enumerate();
        let (gone, kept): (Vec<_>, Vec<_>) = all.partition(|(_, labelled)| is_gone(labelled));
        labelled.extend(kept.into_iter().map(|(_, labelled)| labelled));
        (!gone.is_empty()).then_some(Self { class, n_lessons, gone })
    }

    /// Puts them back where they were, as far as what was around them is still there.
    pub(super) fn put_back(self, labelled: &mut Vec<Labelled>) {
        let mut kept = std::mem::take(labelled).into_iter();
        for (place, one) in self.gone {
            labelled.extend(kept.by_ref().take(place.saturating_sub(labelled.len())));
            labelled.push(one);
        }
        labelled.extend(kept);
    }

    /// Gives the oldest of `all` up, so that at most `n_most` exemplars wait in them; the newest stays.
    pub(super) fn limit(all: &mut Vec<Self>, n_most: usize) {
        while 1 < all.len() && n_most < all.iter().map(|one| one.gone.len()).sum() {
            all.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::Exemplars;
    use super::super::store::tests::{exemplar, learnt, store};

    #[test]
    fn undo_goes_back_step_by_step() {
        let mut store = store(10, 100);
        let values = |store: &Exemplars| -> Vec<_> {
            store.labelled.iter().map(|one| (one.class, one.exemplar.tokens[0])).collect()
        };
        let mut steps = vec![values(&store)];
        assert!(!store.can_undo());
        let changes: [&dyn Fn(&mut Exemplars); 7] = [
            &|store| drop(store.learn("door", vec![exemplar(1.0), exemplar(2.0)])),
            &|store| drop(store.learn("floor", vec![exemplar(3.0)])),
            &|store| drop(store.learn("door", vec![exemplar(4.0)])),
            &|store| drop(store.forget("door")),
            &|store| drop(store.learn("lamp", vec![exemplar(5.0)])),
            &|store| drop(store.forget("")),
            &|store| drop(store.learn("door", vec![exemplar(6.0)])),
        ];
        for change in changes {
            change(&mut store);
            steps.push(values(&store));
        }
        // Where there is nothing to forget there is nothing to bring back.
        store.forget("floor").unwrap();
        for step in steps.iter().rev().skip(1) {
            assert!(store.can_undo());
            store.undo().unwrap();
            assert_eq!(&values(&store), step);
        }
        assert!(!store.can_undo() && store.undo().unwrap_err().contains("nothing to take back"));
    }

    #[test]
    fn what_was_forgotten_is_kept_within_the_limits() {
        let mut store = store(3, 4);
        for name in ["a", "b", "c"] {
            store.learn(name, [1.0, 2.0, 3.0].map(exemplar).into()).unwrap();
            store.forget(name).unwrap();
        }
        assert_eq!(store.undo(), Ok(learnt(3, 3)));
        assert_eq!(store.undo(), Ok(learnt(3, 0)));
        assert!(!store.can_undo());
    }
}
