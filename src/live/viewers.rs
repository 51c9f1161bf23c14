//! The pages that look on: what each looks at, and the newest frame of every camera for them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use super::messages::Panel;
use super::snapshot::Snapshot;
use crate::outputs::{Subscribed, Topic, Topics};
use crate::runtime::lock::lock;
use crate::stages::derive::Derived;
use crate::teaching::Lessons;

/// The most pages at once.
pub(super) const MOST: usize = 8;

/// All pages of a node. A page takes the newest frame when it is ready for one; nobody waits for a page, and
/// what is kept is one frame for each camera and one for each page.
#[derive(Debug)]
pub struct Viewers {
    looks: Mutex<Looks>,
    /// By camera, for the pipeline, here and below.
    viewed: Arc<[Subscribed]>,
    lessons: Arc<[Lessons]>,
    /// By camera.
    shown: Vec<Shown>,
}

/// Where the newest frame of a camera stands.
#[derive(Debug, Default)]
struct Shown {
    newest: watch::Sender<Option<Arc<Snapshot>>>,
    n_shown: AtomicU64,
}

#[derive(Debug, Default)]
struct Looks {
    next: u64,
    by_page: BTreeMap<u64, Look>,
}

/// What a page looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    pub(super) camera: usize,
    pub(super) panels: Vec<Panel>,
}

impl Look {
    /// The outputs that the page's panels are made of.
    fn topics(&self) -> Topics {
        // The model input is there anyhow; alone, this output costs nothing and keeps frames coming.
        if self.panels == [Panel::Image] {
            return [Topic::GridInfo].into_iter().collect();
        }
        let topic = |panel: &Panel| match panel {
            Panel::Image => None,
            Panel::Pca => Some(Topic::Pca),
            Panel::Depth => Some(Topic::Depth),
            Panel::Labels => Some(Topic::Labels),
            Panel::Tokens => Some(Topic::Features),
            Panel::Similarity => Some(Topic::Similarity),
        };
        self.panels.iter().filter_map(topic).collect()
    }
}

/// A page's place among the viewers; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    viewers: Arc<Viewers>,
    pub(super) page: u64,
}

impl Viewers {
    /// Nobody looks on yet. What is looked at, `viewed` and `lessons` tell the pipeline, camera by camera.
    pub fn new(viewed: Arc<[Subscribed]>, lessons: Arc<[Lessons]>) -> Arc<Self> {
        let shown = viewed.iter().map(|_| Shown::default()).collect();
        Arc::new(Self { looks: Mutex::default(), viewed, lessons, shown })
    }

    /// A place for one more page, if there is one.
    pub(super) fn join(self: &Arc<Self>) -> Option<Seat> {
        let mut looks = self.lock();
        if MOST <= looks.by_page.len() {
            return None;
        }
        let page = looks.next;
        looks.next += 1;
        looks.by_page.insert(page, Look::default());
        Some(Seat { viewers: Arc::clone(self), page })
    }

    pub(super) fn n_pages(&self) -> usize {
        self.lock().by_page.len()
    }

    /// Whether any page looks at `camera`.
    pub(super) fn is_viewed(&self, camera: usize) -> bool {
        self.viewed.get(camera).is_some_and(|viewed| viewed.get() != Topics::default())
    }

    /// The frames of `camera` from now on; `None` without such a camera.
    pub(super) fn frames(&self, camera: usize) -> Option<watch::Receiver<Option<Arc<Snapshot>>>> {
        self.shown.get(camera).map(|shown| shown.newest.subscribe())
    }

    /// Shows `derived` to the pages that look at its camera. Whether there is one. Nothing is encoded here.
    pub(super) fn show(&self, derived: &Derived) -> bool {
        let panels = self.panels(derived.camera);
        let Some(shown) = self.shown.get(derived.camera).filter(|_| !panels.is_empty()) else {
            return false;
        };
        let number = shown.n_shown.fetch_add(1, Ordering::Relaxed);
        shown.newest.send_replace(Some(Arc::new(Snapshot::of(derived, number, &panels))));
        true
    }

    /// What pages look at of `camera`, each once.
    fn panels(&self, camera: usize) -> Vec<Panel> {
        let looks = self.lock();
        let is_seen = |panel: &Panel| {
            let mut of_camera = looks.by_page.values().filter(|look| look.camera == camera);
            of_camera.any(|look| look.panels.contains(panel))
        };
        Panel::ALL.into_iter().filter(is_seen).collect()
    }

    /// Tells the pipeline what is looked at, and forgets frames that nobody looks at.
    fn tell(&self, looks: &Looks) {
        for (camera, (viewed, shown)) in self.viewed.iter().zip(&self.shown).enumerate() {
            let of_camera = looks.by_page.values().filter(|look| look.camera == camera);
            let topics = of_camera.fold(Topics::default(), |all, look| all.union(look.topics()));
            viewed.set(topics);
            if let Some(lessons) = self.lessons.get(camera) {
                lessons.watch(topics != Topics::default());
            }
            if topics == Topics::default() {
                shown.newest.send_replace(None);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Looks> {
        lock(&self.looks)
    }
}

impl Seat {
    /// The page looks at this from now on.
    pub(super) fn look(&self, look: Look) {
        let mut looks = self.viewers.lock();
        looks.by_page.insert(self.page, look);
        self.viewers.tell(&looks);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut looks = self.viewers.lock();
        looks.by_page.remove(&self.page);
        self.viewers.tell(&looks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(topics: &[Topic]) -> Topics {
        topics.iter().copied().collect()
    }

    #[test]
    fn what_any_page_looks_at_is_wanted_until_the_page_leaves() {
        let viewed: Arc<[Subscribed]> = (0..2).map(|_| Subscribed::default()).collect();
        let viewers = Viewers::new(Arc::clone(&viewed), Arc::default());
        let wanted = || [viewed[0].get(), viewed[1].get()];
        let (one, two) = (viewers.join().unwrap(), viewers.join().unwrap());
        one.look(Look { camera: 0, panels: vec![Panel::Pca, Panel::Image] });
        two.look(Look { camera: 0, panels: vec![Panel::Depth] });
        assert_eq!(wanted(), [set(&[Topic::Pca, Topic::Depth]), Topics::default()]);
        two.look(Look { camera: 1, panels: vec![Panel::Labels] });
        assert_eq!(wanted(), [set(&[Topic::Pca]), set(&[Topic::Labels])]);
        one.look(Look { camera: 0, panels: vec![Panel::Image] });
        assert_eq!(wanted(), [set(&[Topic::GridInfo]), set(&[Topic::Labels])]);
        drop(one);
        assert_eq!(wanted(), [Topics::default(), set(&[Topic::Labels])]);
        assert!(!viewers.is_viewed(0) && viewers.is_viewed(1) && !viewers.is_viewed(2));
        two.look(Look { camera: 7, panels: vec![Panel::Labels] });
        assert_eq!(wanted(), [Topics::default(); 2]);
    }

    #[test]
    fn places_are_few_and_free_again() {
        let viewers = Viewers::new(Arc::new([Subscribed::default()]), Arc::default());
        let mut seats: Vec<_> = std::iter::from_fn(|| viewers.join()).collect();
        assert_eq!((seats.len(), viewers.n_pages()), (MOST, MOST));
        seats.pop();
        assert!(viewers.join().is_some());
    }
}
