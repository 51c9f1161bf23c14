//! The thread that learns: it keeps the exemplars, fits the classifier and writes files.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use tch::{Device, Kind};

use super::lesson::{Lessons, Taught, Told};
use super::slate::{Slate, Written};
use super::{Asked, MOST_ORDERS, Order, Teaching};
use crate::exemplars::{Exemplars, Learnt, fitted, n_exemplars};
use crate::heads::{Class, Head, HeadParts};
use crate::runtime::thread::Stage;
use crate::text::foreign;

/// How much the thread yields to those that serve frames, as `nice` has it.
const NICENESS: i32 = 10;

/// What teaching begins with.
#[derive(Debug)]
pub struct School {
    /// Those to go on with.
    pub exemplars: Exemplars,
    /// Where heads run.
    pub device: Device,
    /// Element type of their weights.
    pub kind: Kind,
}

/// Hears what labels mean, before any label has a class that it did not know.
pub type Announce = Box<dyn FnMut(&[Class]) + Send>;

/// The teacher's thread.
pub struct Teacher {
    /// Dropped, it ends the thread, which the stage waits for: the order of the fields is that of shutdown.
    running: Sender<()>,
    stage: Stage,
}

impl Teacher {
    /// Starts the thread; lessons come from `lessons`, `announce` hears of every new class, and `ended` of
    /// the thread's end.
    ///
    /// # Errors
    /// The exemplars cannot be fitted, or there is no thread.
    pub fn start(
        school: School,
        lessons: Arc<[Lessons]>,
        announce: Announce,
        ended: &mpsc::Sender<()>,
    ) -> anyhow::Result<(Self, Arc<Teaching>)> {
        let School { exemplars, device, kind } = school;
        let taps = exemplars.binding().taps.clone();
        let (orders, receiver) = bounded(MOST_ORDERS);
        let (running, stopping) = bounded(0);
        let threshold = exemplars.legend().threshold;
        let slate = Arc::new(Slate::new(exemplars.legend().classes));
        let own = Arc::clone(&slate);
        let mut desk = Desk { exemplars, device, kind, announce, slate: own, parts: None, n_unsaved: 0 };
        desk.fit().context("the exemplars cannot be fitted")?;
        let run = move || {
            // Of this thread, and of those that libtorch starts for it. A system that refuses lets it compete.
            let _as_before = rustix::process::setpriority_process(None, NICENESS);
            desk.serve(&receiver, &stopping);
            Ok(())
        };
        let stage = Stage::spawn("teacher", ended.clone(), run)?;
        Ok((Self { running, stage }, Arc::new(Teaching { lessons, orders, taps, threshold, slate })))
    }

    /// Ends the thread.
    ///
    /// # Errors
    /// It panicked.
    pub fn stop(self) -> anyhow::Result<()> {
        let Self { running, stage } = self;
        drop(running);
        stage.join()
    }
}

struct Desk {
    exemplars: Exemplars,
    device: Device,
    kind: Kind,
    announce: Announce,
    slate: Arc<Slate>,
    /// The head as it would be saved.
    parts: Option<HeadParts>,
    /// Changes since the exemplars were saved.
    n_unsaved: usize,
}

/// Changes that are fitted together, and what there was before them.
struct Batch {
    waiting: Vec<(Asked, Learnt)>,
    exemplars: Exemplars,
    n_unsaved: usize,
}

impl Batch {
    fn of(desk: &Desk) -> Self {
        Self { waiting: Vec::new(), exemplars: desk.exemplars.clone(), n_unsaved: desk.n_unsaved }
    }
}

impl Desk {
    fn serve(&mut self, orders: &Receiver<Order>, stopping: &Receiver<()>) {
        loop {
            let order = select! {
                recv(orders) -> order => order.ok(),
                recv(stopping) -> _ => None,
            };
            let Some(order) = order else { break };
            self.obey(order, orders);
        }
        let n = self.exemplars.counts().iter().sum::<usize>();
        if 0 < self.n_unsaved && 0 < n {
            tracing::warn!("teaching: {n} exemplars end with the node; ~/save_head would have kept them");
        }
    }

    /// Obeys `first` and all that wait behind it, with one fit for all of them.
    fn obey(&mut self, first: Order, orders: &Receiver<Order>) {
        let mut batch = Batch::of(self);
        for order in std::iter::once(first).chain(orders.try_iter()) {
            let (asked, learnt) = match order {
                Order::Save(path, asked) => {
                    // What came before it is to be saved with it.
                    self.settle(batch);
                    batch = Batch::of(self);
                    answer(asked, self.save(&path).map_err(|err| format!("{err:#}")));
                    continue;
                }
                Order::Learn { class, exemplars, asked } => (asked, self.exemplars.learn(&class, exemplars)),
                Order::Forget(class, asked) => (asked, self.exemplars.forget(&class)),
                Order::Undo(asked) => (asked, self.exemplars.undo()),
                Order::Load(path, asked) => {
                    (asked, self.exemplars.replace(&path).map_err(|err| format!("{err:#}")))
                }
            };
            match learnt {
                Ok(learnt) => {
                    // A file that was loaded is on the disk; every other change is not.
                    self.n_unsaved = if learnt.is_loaded { 0 } else { self.n_unsaved + 1 };
                    batch.waiting.push((asked, learnt));
                }
                Err(why) => answer(asked, Err(why)),
            }
        }
        self.settle(batch);
    }

    /// Fits what has changed and answers everybody; all is as it was before where that cannot be.
    fn settle(&mut self, batch: Batch) {
        let Batch { waiting, exemplars, n_unsaved } = batch;
        if waiting.is_empty() {
            return;
        }
        match self.fit() {
            Ok(()) => waiting.into_iter().for_each(|(asked, learnt)| answer(asked, Ok(self.told(&learnt)))),
            Err(err) => {
                (self.exemplars, self.n_unsaved) = (exemplars, n_unsaved);
                let why = format!("the exemplars cannot be fitted, and nothing has changed: {err:#}");
                tracing::warn!("teaching: {why}");
                waiting.into_iter().for_each(|(asked, _)| answer(asked, Err(why.clone())));
            }
        }
    }

    fn told(&self, learnt: &Learnt) -> Taught {
        let Learnt { class, n_exemplars: n, .. } = *learnt;
        let mut text = match class {
            Some(class) => {
                let name = self.exemplars.classes()[usize::from(class)].name.as_str();
                format!("{:?} is class {class} and has {}", foreign(name), n_exemplars(n))
            }
            None => format!("taught: {}", self.exemplars.summary()),
        };
        if self.parts.is_none() {
            text += "; labels begin when a second class, which may be `other`, has exemplars";
        }
        Taught { text, class: class.unwrap_or_default(), n_exemplars: n }
    }

    /// Fits the exemplars and writes the head on the slate.
    fn fit(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let parts = fitted(&self.exemplars)?;
        let head = parts.as_ref().map(|parts| Head::of(parts, self.device, self.kind)).transpose()?;
        let fit_millis = head.is_some().then(|| started.elapsed().as_secs_f64() * 1e3);
        self.parts = parts;
        let (classes, counts) = (Arc::<[Class]>::from(self.exemplars.classes()), self.exemplars.counts());
        // Before a worker can take the head, and before the answer.
        if classes != self.slate.read().classes {
            (self.announce)(&classes);
        }
        let can_undo = self.exemplars.can_undo();
        let written = Written { version: 0, classes, counts, fit_millis, has_head: false, can_undo };
        self.slate.write(written, head);
        Ok(())
    }

    fn save(&mut self, path: &Path) -> anyhow::Result<Taught> {
        let parts = self.parts.as_ref().context(
            "there is no head to save: labels begin when a second class, which may be `other`, has exemplars",
        )?;
        let saved = self.exemplars.save(path, parts)?;
        self.n_unsaved = 0;
        let text = format!(
            "{} are in {}, and the head is in {}",
            self.exemplars.summary(),
            foreign(&saved.to_string_lossy()),
            foreign(&path.to_string_lossy())
        );
        tracing::info!("teaching: {text}");
        Ok(Taught { text, class: 0, n_exemplars: self.exemplars.counts().into_iter().sum() })
    }
}

fn answer(asked: Asked, told: Told) {
    // Whoever does not wait any more need not know.
    let _gone = asked.send(told);
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::exemplars::fuzzing::binding;
    use crate::exemplars::{Binding, Exemplar, Limits};

    fn school() -> School {
        let binding = Binding { taps: vec![4], ..binding() };
        let exemplars = Exemplars::new(binding, Limits { per_class: 10, in_all: 100 }, 0.0);
        School { exemplars, device: Device::Cpu, kind: Kind::Float }
    }

    #[test]
    fn a_new_class_is_announced_once_and_before_the_answer() {
        let (ended, _end) = mpsc::channel();
        let (said, announced) = mpsc::channel();
        let announce: Announce = Box::new(move |classes| {
            said.send(classes.iter().map(|class| class.name.clone()).collect::<Vec<_>>()).unwrap();
        });
        let (teacher, teaching) = Teacher::start(school(), Arc::default(), announce, &ended).unwrap();
        let learn = |name: &str| {
            let exemplars = vec![Exemplar { tokens: vec![1.0, name.len() as f32] }];
            block_on(teaching.learn(name.to_owned(), exemplars).unwrap()).unwrap().unwrap();
            announced.try_iter().collect::<Vec<_>>()
        };
        assert_eq!(learn("door"), [["other", "door"]]);
        assert_eq!(learn("door"), [[""; 0]; 0]);
        assert_eq!(learn("floor"), [["other", "door", "floor"]]);
        block_on(teaching.forget(String::new()).unwrap()).unwrap().unwrap();
        assert_eq!(learn("door"), [[""; 0]; 0]);
        teacher.stop().unwrap();
    }

    #[test]
    fn a_teacher_that_is_dropped_ends() {
        let (ended, end) = mpsc::channel();
        let (teacher, _teaching) =
            Teacher::start(school(), Arc::default(), Box::new(|_| ()), &ended).unwrap();
        drop(teacher);
        end.recv().unwrap();
    }
}
