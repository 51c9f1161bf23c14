//! What a worker has to do with teaching: it gathers what lessons point at, and takes the head that came of
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tch::{Kind, TchError, Tensor};

use super::gather::{exemplars, gathered, patches_under};
use crate::engine::readback::Readback;
use crate::engine::{EngineError, Tokens};
use crate::stages::forward::Input;
use crate::teaching::{Lesson, TaughtHead, Teaching};

#[derive(Debug)]
pub(super) struct Pupil {
    teaching: Arc<Teaching>,
    /// Where the blocks of exemplars stand among the engine's taps, ascending.
    taps: Vec<usize>,
    /// Of the head that serves.
    version: u64,
    /// Of each camera, for the frame in hand.
    lessons: BTreeMap<usize, Vec<Lesson>>,
}

/// The tokens that a lesson points at, on their way to the host.
#[derive(Debug)]
pub(super) struct QueuedLesson {
    lesson: Lesson,
    /// `[patches, taps * D]`, float32.
    tokens: Tensor,
}

impl Pupil {
    /// `engine_taps` are the blocks whose tokens the engine returns; those of exemplars are among them.
    pub(super) fn new(teaching: Arc<Teaching>, engine_taps: &[usize]) -> Self {
        let is_read = |&(_, block): &(usize, &usize)| teaching.taps.contains(block);
        let taps = engine_taps.iter().enumerate().filter(is_read).map(|(place, _)| place).collect();
        Self { teaching, taps, version: 0, lessons: BTreeMap::new() }
    }

    /// One for another worker.
    pub(super) fn beside(&self) -> Self {
        Self {
            teaching: Arc::clone(&self.teaching),
            taps: self.taps.clone(),
            version: 0,
            lessons: BTreeMap::new(),
        }
    }

    /// The head that is to serve from now on, if it is another one.
    pub(super) fn newer(&mut self) -> Option<TaughtHead> {
        let newer = self.teaching.slate.newer(self.version)?;
        self.version = newer.version;
        Some(newer)
    }

    /// Takes the lessons that point at the next frame of `camera`.
    pub(super) fn attend(&mut self, camera: usize, lessons: Vec<Lesson>) {
        self.lessons.entry(camera).or_default().extend(lessons);
    }

    /// How many of the engine's taps the lessons of `camera` need.
    pub(super) fn n_taps(&self, camera: usize) -> usize {
        let is_taught = self.teaching.is_watched(camera)
            || self.lessons.get(&camera).is_some_and(|lessons| !lessons.is_empty());
        self.taps.last().filter(|_| is_taught).map_or(0, |tap| tap + 1)
    }

    /// Queues the tokens that the lessons of the input's camera point at. A lesson that points at nothing is
    /// refused.
    pub(super) fn queue(
        &mut self,
        input: &Input,
        tokens: &Tokens,
        n_cls: usize,
        readback: &mut Readback,
    ) -> Result<Vec<QueuedLesson>, EngineError> {
        let mut queued = Vec::new();
        for lesson in self.lessons.remove(&input.camera).unwrap_or_default() {
            match patches_under(&lesson.pixels, &input.geometry) {
                Ok(patches) => {
                    let taps = self.taps.iter().filter_map(|&tap| tokens.taps.get(tap));
                    let tokens = gathered(taps, &patches, n_cls, input.geometry.grid())?;
                    queued.push(QueuedLesson { lesson, tokens: readback.bring(&tokens, Kind::Float)? });
                }
                Err(why) => lesson.refuse(why),
            }
        }
        Ok(queued)
    }

    /// Queues the tokens of every patch of the input if somebody may point at any of them: `[P, D]` of each
    /// tap.
    pub(super) fn queue_all(
        &self,
        input: &Input,
        tokens: &Tokens,
        n_cls: usize,
        readback: &mut Readback,
    ) -> Result<Option<Vec<Tensor>>, EngineError> {
        if !self.teaching.is_watched(input.camera) {
            return Ok(None);
        }
        let grid = input.geometry.grid();
        let n_patches = i64::from(grid.width) * i64::from(grid.height);
        let taps: Vec<_> = self.taps.iter().filter_map(|&tap| tokens.taps.get(tap)).collect();
        // Who begins to look in this moment sees all with the next frame.
        if taps.len() < self.taps.len() {
            return Ok(None);
        }
        let patches = |tap: &Tensor| tap.f_get(0)?.f_narrow(0, n_cls as i64, n_patches);
        let brought = taps.into_iter().map(|tap| readback.bring(&patches(tap)?, Kind::Float));
        brought.collect::<Result<_, _>>().map(Some)
    }

    /// Hands on what lessons have gathered, once it is there.
    pub(super) fn finish(&self, lessons: Vec<QueuedLesson>) -> Result<(), TchError> {
        for QueuedLesson { lesson, tokens } in lessons {
            self.teaching.finish(lesson, exemplars(&tokens)?);
        }
        Ok(())
    }
}
