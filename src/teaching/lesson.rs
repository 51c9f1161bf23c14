//! Lessons: what somebody points at in a camera's next frame.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::channel::oneshot;

use crate::runtime::lock::lock;

/// Most pixels of one lesson: a stroke over a large image.
const MOST_PIXELS: usize = 4096;

/// Lessons that wait for a camera's next frame at most.
pub(super) const MOST_WAITING: usize = 64;

/// What came of a request, for who asked: or why nothing did.
pub type Told = Result<Taught, String>;

/// What is known of a class after a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taught {
    /// In one sentence.
    pub text: String,
    /// Number of the class in label images; 0 where the request was about none.
    pub class: u8,
    /// Exemplars of the class now, or of all classes.
    pub n_exemplars: usize,
}

/// Pixels of a camera's next frame that show a class.
#[derive(Debug)]
pub struct Lesson {
    /// Name of the class.
    pub class: String,
    /// x and y in the camera's image; finite.
    pub pixels: Vec<[f64; 2]>,
    pub(super) asked: oneshot::Sender<Told>,
}

impl Lesson {
    /// # Errors
    /// No pixel, too many, or one that is no number.
    pub(super) fn new(
        class: String,
        pixels: Vec<[f64; 2]>,
        asked: oneshot::Sender<Told>,
    ) -> Result<Self, String> {
        if pixels.is_empty() {
            return Err("no pixel was given".to_owned());
        }
        if MOST_PIXELS < pixels.len() {
            return Err(format!("{} pixels were given, and at most {MOST_PIXELS} are taken", pixels.len()));
        }
        if let Some([x, y]) = pixels.iter().find(|pixel| !pixel.iter().all(|value| value.is_finite())) {
            return Err(format!("({x}, {y}) is no pixel"));
        }
        Ok(Self { class, pixels, asked })
    }

    /// Tells who asked why the lesson was not taken.
    pub fn refuse(self, why: String) {
        // Whoever does not wait any more need not know.
        let _gone = self.asked.send(Err(why));
    }

    fn is_awaited(&self) -> bool {
        !self.asked.is_canceled()
    }
}

/// The lessons that wait for a camera's next frame.
#[derive(Debug, Default)]
pub struct Lessons {
    waiting: Mutex<Vec<Lesson>>,
    is_watched: AtomicBool,
}

impl Lessons {
    /// # Errors
    /// Too many wait: no frame comes.
    pub(super) fn put(&self, lesson: Lesson) -> Result<(), String> {
        let mut waiting = lock(&self.waiting);
        waiting.retain(Lesson::is_awaited);
        if MOST_WAITING <= waiting.len() {
            return Err(format!("{} lessons wait for a frame of this camera already", waiting.len()));
        }
        waiting.push(lesson);
        Ok(())
    }

    /// Says whether somebody looks at the camera and may point at any patch of its frames, later.
    pub fn watch(&self, is_watched: bool) {
        self.is_watched.store(is_watched, Ordering::Relaxed);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Relaxed)
    }

    /// Whether a frame is wanted for a lesson.
    pub fn wait(&self) -> bool {
        lock(&self.waiting).iter().any(Lesson::is_awaited)
    }

    /// All that wait, in their order.
    pub fn take(&self) -> Vec<Lesson> {
        let mut taken = std::mem::take(&mut *lock(&self.waiting));
        taken.retain(Lesson::is_awaited);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lessons_without_pixels_are_refused() {
        let check = |pixels: Vec<[f64; 2]>, expect: &str| {
            let (asked, _answer) = oneshot::channel();
            let answer = Lesson::new("door".into(), pixels, asked).map_or_else(|err| err, |_| "taken".into());
            assert!(answer.contains(expect), "{answer}");
        };
        check(vec![[1.0, 2.0]], "taken");
        check(vec![], "no pixel was given");
        check(vec![[1.0, f64::NAN]], "(1, NaN) is no pixel");
        check(vec![[f64::INFINITY, 1.0]], "is no pixel");
        check(vec![[0.0; 2]; MOST_PIXELS + 1], "4097 pixels were given, and at most 4096");
    }

    #[test]
    fn a_lesson_that_nobody_waits_for_makes_room() {
        let lessons = Lessons::default();
        let lesson = || {
            let (asked, answer) = oneshot::channel();
            (Lesson::new("door".into(), vec![[1.0, 1.0]], asked).unwrap(), answer)
        };
        let mut answers = Vec::new();
        for _ in 0..MOST_WAITING {
            let (lesson, answer) = lesson();
            lessons.put(lesson).unwrap();
            answers.push(answer);
        }
        assert!(lessons.wait() && lessons.put(lesson().0).unwrap_err().contains("64 lessons wait"));
        answers.truncate(1);
        let (another, _answer) = lesson();
        lessons.put(another).unwrap();
        assert_eq!(lessons.take().len(), 2);
        assert!(!lessons.wait() && lessons.take().is_empty());
    }
}
