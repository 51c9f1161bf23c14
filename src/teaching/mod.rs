//! Teaching: what somebody points at becomes exemplars, and these a segmentation head, while the node runs.
//!
//! ```text
//!  Teaching::teach -> Lessons (one queue a camera) -> the next frame's tokens -> Teaching::learn
//!      -> Teacher (a thread of its own: Exemplars, a fit) -> Slate -> every worker, between two frames
//! ```
//! Frames never wait for a fit: a worker that finds a newer head on the [`Slate`] takes it.

mod folder;
mod lesson;
mod slate;
mod teacher;

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError};
use futures::channel::oneshot;

use crate::exemplars::Exemplar;
use crate::heads::Legend;

pub use self::folder::{names, path};
pub use self::lesson::{Lesson, Lessons, Taught, Told};
pub use self::slate::{Slate, TaughtHead, Written};
pub use self::teacher::{Announce, School, Teacher};

/// Orders that wait for the teacher at most: all lessons of one frame.
const MOST_ORDERS: usize = lesson::MOST_WAITING;

/// Why an order is not taken.
const BUSY: &str = "too many requests wait: ask again";

/// What the teacher is asked for.
#[derive(Debug)]
enum Order {
    Learn { class: String, exemplars: Vec<Exemplar>, asked: Asked },
    Forget(String, Asked),
    Undo(Asked),
    Save(PathBuf, Asked),
    Load(PathBuf, Asked),
}

/// Who waits for an answer.
type Asked = oneshot::Sender<Told>;

/// How the other threads talk to the [`Teacher`].
#[derive(Debug)]
pub struct Teaching {
    lessons: Arc<[Lessons]>,
    orders: Sender<Order>,
    /// Blocks that exemplars are read from, counted from 1, ascending.
    pub taps: Vec<usize>,
    /// Least confidence of a label.
    threshold: f64,
    /// What has been taught.
    pub slate: Arc<Slate>,
}

impl Teaching {
    /// What labels mean now.
    pub fn legend(&self) -> Legend {
        Legend { classes: self.slate.read().classes, threshold: self.threshold }
    }

    /// Has the patches under `pixels`, x and y in the image of the next frame of `camera`, become exemplars of
    /// `class`. The answer comes with the fit, or with the refusal of the whole lesson.
    ///
    /// # Errors
    /// No lesson can be like this, or too many wait for a frame.
    pub fn teach(
        &self,
        camera: usize,
        class: String,
        pixels: Vec<[f64; 2]>,
    ) -> Result<oneshot::Receiver<Told>, String> {
        let lessons = self.lessons.get(camera).ok_or("there is no such camera")?;
        let (asked, answer) = oneshot::channel();
        lessons.put(Lesson::new(class, pixels, asked)?)?;
        Ok(answer)
    }

    /// Forgets the exemplars of `class`, or all where it is empty.
    ///
    /// # Errors
    /// The teacher is too busy or gone, here and below.
    pub fn forget(&self, class: String) -> Result<oneshot::Receiver<Told>, String> {
        self.ask(|asked| Order::Forget(class, asked))
    }

    /// Takes the newest lesson back.
    ///
    /// # Errors
    /// As [`Teaching::forget`].
    pub fn undo(&self) -> Result<oneshot::Receiver<Told>, String> {
        self.ask(Order::Undo)
    }

    /// Saves the head at `path`, and its exemplars beside it.
    ///
    /// # Errors
    /// As [`Teaching::forget`].
    pub fn save(&self, path: PathBuf) -> Result<oneshot::Receiver<Told>, String> {
        self.ask(|asked| Order::Save(path, asked))
    }

    /// Goes on with the exemplars beside the head `path` instead of those that there are.
    ///
    /// # Errors
    /// As [`Teaching::forget`].
    pub fn load(&self, path: PathBuf) -> Result<oneshot::Receiver<Told>, String> {
        self.ask(|asked| Order::Load(path, asked))
    }

    /// Has `exemplars` of `class` learnt, which somebody has chosen already.
    ///
    /// # Errors
    /// As [`Teaching::forget`].
    pub fn learn(&self, class: String, exemplars: Vec<Exemplar>) -> Result<oneshot::Receiver<Told>, String> {
        self.ask(|asked| Order::Learn { class, exemplars, asked })
    }

    /// Has `exemplars` learnt, which are what `lesson` points at.
    pub fn finish(&self, lesson: Lesson, exemplars: Vec<Exemplar>) {
        let Lesson { class, asked, .. } = lesson;
        let order = Order::Learn { class, exemplars, asked };
        if let Err(TrySendError::Full(Order::Learn { asked, .. })) = self.orders.try_send(order) {
            // Whoever does not wait any more need not know; of a node that stops, everybody hears.
            let _gone = asked.send(Err(BUSY.to_owned()));
        }
    }

    /// Whether somebody looks at `camera` and may point at any of its patches.
    pub fn is_watched(&self, camera: usize) -> bool {
        self.lessons.get(camera).is_some_and(Lessons::is_watched)
    }

    fn ask(&self, order: impl FnOnce(Asked) -> Order) -> Result<oneshot::Receiver<Told>, String> {
        let (asked, answer) = oneshot::channel();
        self.orders.try_send(order(asked)).map_err(|err| match err {
            TrySendError::Full(_) => BUSY.to_owned(),
            TrySendError::Disconnected(_) => "the node stops".to_owned(),
        })?;
        Ok(answer)
    }
}
