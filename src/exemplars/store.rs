//! The bounded store of exemplars.

use serde::{Deserialize, Serialize};

use tch::{TchError, Tensor};

use super::colors::color;
use super::fit::{Standardised, standardised};
use super::forgotten::Forgotten;
use super::names::checked_name;
use super::room::{share, staying};
use crate::heads::{Class, EncoderCard, Legend, MOST_CLASSES};
use crate::text::foreign;

/// The class of what belongs to no other class. Its number is 0.
pub(super) const OTHER: &str = "other";

/// What the tokens of exemplars come from. Those of another encoder or of other blocks mean nothing beside
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The encoder.
    pub backbone: EncoderCard,
    /// Blocks that are read, counted from 1, ascending.
    pub taps: Vec<usize>,
    /// Size of the model input, `WIDTHxHEIGHT`.
    pub size: String,
}

impl Binding {
    /// Values of an exemplar's tokens.
    pub fn n_channels(&self) -> usize {
        self.taps.len() * self.backbone.hidden_size
    }
}

/// One patch that was pointed at.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Its patch token after the final norm, of one tap after the other.
    pub tokens: Vec<f32>,
}

/// How many exemplars are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one class.
    pub per_class: usize,
    /// Of all classes together.
    pub in_all: usize,
}

/// What is known of one class, or of all, after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// The class's number in label images; `None` of all classes.
    pub class: Option<u8>,
    /// Exemplars of the class now, or of all.
    pub n_exemplars: usize,
    /// Whether all are those of a file.
    pub is_loaded: bool,
}

/// An exemplar with its class and with the lesson that it came in.
#[derive(Clone, Debug)]
pub(super) struct Labelled {
    pub(super) exemplar: Exemplar,
    pub(super) class: u8,
    /// [`LOADED`], or the number of the lesson.
    lesson: u64,
}

/// The lesson of exemplars that come from a file: they cannot be taken back.
const LOADED: u64 = 0;

/// Exemplars of every class, the oldest first. A class keeps its number for ever, also without exemplars.
#[derive(Clone, Debug)]
pub struct Exemplars {
    pub(super) binding: Binding,
    pub(super) limits: Limits,
    /// Pixels whose likeliest class is less probable are unlabelled.
    pub(super) threshold: f64,
    pub(super) classes: Vec<Class>,
    pub(super) labelled: Vec<Labelled>,
    n_lessons: u64,
    /// What undo brings back, the newest last.
    forgotten: Vec<Forgotten>,
    /// Exemplars of the file that it came from for which there was no room.
    pub(super) n_left_out: usize,
}

impl Exemplars {
    /// None yet, of the class `other` alone.
    pub fn new(binding: Binding, limits: Limits, threshold: f64) -> Self {
        let other = Class { name: OTHER.to_owned(), color: color(0) };
        let (classes, labelled) = (vec![other], Vec::new());
        let forgotten = Vec::new();
        Self { binding, limits, threshold, classes, labelled, n_lessons: 0, forgotten, n_left_out: 0 }
    }

    /// The classes by their numbers.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// What labels mean.
    pub fn legend(&self) -> Legend {
        Legend { classes: self.classes.as_slice().into(), threshold: self.threshold }
    }

    /// What the exemplars come from.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// How much there is, such as `18 exemplars of 3 classes`.
    pub fn summary(&self) -> String {
        let n_classes = self.counts().into_iter().filter(|&n| 0 < n).count();
        format!("{} of {n_classes} classes", n_exemplars(self.labelled.len()))
    }

    /// How much of the file that it was just read from was too much for the limits; `None` where all had
    /// room.
    pub fn left_out(&self) -> Option<String> {
        let (n, n_all) = (self.n_left_out, self.n_left_out + self.labelled.len());
        (0 < n).then(|| {
            let Limits { per_class, in_all } = self.limits;
            format!(
                "{n} of {n_all} are left out: exemplars_per_class is {per_class}, and exemplars_in_all is \
                 {in_all}, of which each class keeps at least one"
            )
        })
    }

    /// Exemplars of every class, by its number.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.labelled.iter().for_each(|labelled| counts[usize::from(labelled.class)] += 1);
        counts
    }

    /// Adds the exemplars of one lesson to the class `name`, which is new if there is none of that name. Where
    /// there are too many, some leave: of the class, and of the largest class.
    ///
    /// # Errors
    /// An impossible name, or one class too many.
    pub fn learn(&mut self, name: &str, exemplars: Vec<Exemplar>) -> Result<Learnt, String> {
        let name = checked_name(name)?;
        let class = match self.number(name) {
            Some(class) => class,
            None => self.add_class(name)?,
        };
        self.n_lessons += 1;
        let lesson = self.n_lessons;
        self.labelled.extend(exemplars.into_iter().map(|exemplar| Labelled { exemplar, class, lesson }));
        self.make_room()?;
        Ok(self.learnt(Some(class)))
    }

    fn learnt(&self, class: Option<u8>) -> Learnt {
        let n_exemplars = class.map_or(self.labelled.len(), |class| self.counts()[usize::from(class)]);
        Learnt { class, n_exemplars, is_loaded: false }
    }

    /// Forgets the exemplars of the class `name`, or all where it is empty; numbers stay.
    ///
    /// # Errors
    /// There is no such class, or it is no name.
    pub fn forget(&mut self, name: &str) -> Result<Learnt, String> {
        let class = match name {
            "" => None,
            // Spaces are no name either, and nobody means all by them.
            name => {
                let name = checked_name(name)?;
                let number = self.number(name);
                Some(number.ok_or_else(|| format!("there is no class {:?}", foreign(name)))?)
            }
        };
        self.forgotten.extend(Forgotten::taken(&mut self.labelled, class, self.n_lessons));
        Forgotten::limit(&mut self.forgotten, self.limits.in_all);
        Ok(self.learnt(class))
    }

    /// Takes back the newest lesson of which something is left, or brings back what was forgotten after it.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn undo(&mut self) -> Result<Learnt, String> {
        let last = self.labelled.iter().rfind(|labelled| labelled.lesson != LOADED);
        let last = last.map(|last| (last.lesson, last.class));
        let is_newer = |one: &mut Forgotten| last.is_none_or(|(lesson, _)| lesson <= one.n_lessons);
        if let Some(forgotten) = self.forgotten.pop_if(is_newer) {
            let class = forgotten.class;
            forgotten.put_back(&mut self.labelled);
            self.make_room()?;
            return Ok(self.learnt(class));
        }
        let (lesson, class) = last.ok_or("there is nothing to take back")?;
        self.labelled.retain(|labelled| labelled.lesson != lesson);
        Ok(self.learnt(Some(class)))
    }

    /// Whether there is something to take back.
    pub fn can_undo(&self) -> bool {
        !self.forgotten.is_empty() || self.labelled.iter().any(|labelled| labelled.lesson != LOADED)
    }

    fn number(&self, name: &str) -> Option<u8> {
        self.classes.iter().position(|class| class.name == name).map(|number| number as u8)
    }

    fn add_class(&mut self, name: &str) -> Result<u8, String> {
        let number = self.classes.len();
        if MOST_CLASSES <= number {
            return Err(format!("there are {number} classes, and label images hold no more"));
        }
        self.classes.push(Class { name: name.to_owned(), color: color(number) });
        Ok(number as u8)
    }

    /// Has exemplars leave until no class has too many.
    fn make_room(&mut self) -> Result<(), String> {
        let counts = self.counts();
        let share = share(&counts, self.limits.per_class, self.limits.in_all);
        if counts.iter().all(|&n| n <= share) {
            return Ok(());
        }
        let failed = |err: TchError| format!("the exemplars cannot be compared: {err}");
        let Standardised { inputs, .. } = standardised(&self.labelled).map_err(failed)?;
        let mut stays = vec![true; self.labelled.len()];
        for class in (0..counts.len()).filter(|&class| share < counts[class]) {
            let is_of = |(_, labelled): &(usize, &Labelled)| usize::from(labelled.class) == class;
            let rows: Vec<usize> =
                self.labelled.iter().enumerate().filter(is_of).map(|(row, _)| row).collect();
            let own = || {
                let index = Tensor::f_from_slice(&rows.iter().map(|&row| row as i64).collect::<Vec<_>>())?;
                staying(&inputs.f_index_select(0, &index)?, share)
            };
            rows.iter().for_each(|&row| stays[row] = false);
            own().map_err(failed)?.into_iter().for_each(|place| stays[rows[place]] = true);
        }
        let mut stays = stays.into_iter();
        self.labelled.retain(|_| stays.next().unwrap_or_default());
        Ok(())
    }

    /// Takes the exemplars of `other` instead of its own, each to the class of the same name.
    ///
    /// # Errors
    /// There are too many classes; nothing changes.
    pub(super) fn take_over(&mut self, other: Self) -> Result<(), String> {
        let mut taken = Self { labelled: Vec::new(), forgotten: Vec::new(), ..self.clone() };
        let number =
            |class: &Class| taken.number(&class.name).map_or_else(|| taken.add_class(&class.name), Ok);
        let numbers = other.classes.iter().map(number).collect::<Result<Vec<_>, _>>()?;
        let renumbered = other.labelled.into_iter().map(|labelled| {
            let class = numbers[usize::from(labelled.class)];
            Labelled { class, ..labelled }
        });
        taken.labelled = renumbered.collect();
        taken.make_room()?;
        *self = taken;
        Ok(())
    }

    /// The store with what a file says; what is too much for the limits leaves.
    pub(super) fn restore(
        &mut self,
        classes: Vec<Class>,
        labelled: Vec<(u8, Exemplar)>,
    ) -> Result<(), String> {
        self.classes = classes;
        let loaded = |(class, exemplar)| Labelled { exemplar, class, lesson: LOADED };
        self.labelled = labelled.into_iter().map(loaded).collect();
        let n_all = self.labelled.len();
        self.make_room()?;
        self.n_left_out = n_all - self.labelled.len();
        Ok(())
    }
}

/// `n` exemplars, in words.
pub fn n_exemplars(n: usize) -> String {
    if n == 1 { "1 exemplar".to_owned() } else { format!("{n} exemplars") }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    pub(in crate::exemplars) use crate::exemplars::fuzzing::binding;

    pub(in crate::exemplars) fn exemplar(value: f32) -> Exemplar {
        Exemplar { tokens: vec![value, -value, 1.0, 2.0 * value] }
    }

    pub(in crate::exemplars) fn store(per_class: usize, in_all: usize) -> Exemplars {
        Exemplars::new(binding(), Limits { per_class, in_all }, 0.0)
    }

    pub(in crate::exemplars) fn learnt(class: u8, n_exemplars: usize) -> Learnt {
        Learnt { class: Some(class), n_exemplars, is_loaded: false }
    }

    #[test]
    fn a_class_keeps_its_number() {
        let mut store = store(10, 100);
        let learn = |store: &mut Exemplars, name: &str, n: usize| {
            store.learn(name, (0..n).map(|i| exemplar(i as f32)).collect()).unwrap()
        };
        assert_eq!(learn(&mut store, "door", 2), learnt(1, 2));
        assert_eq!(learn(&mut store, "floor", 3), learnt(2, 3));
        assert_eq!(learn(&mut store, OTHER, 1), learnt(0, 1));
        assert_eq!(learn(&mut store, "door", 1), learnt(1, 3));
        assert_eq!(store.forget("door"), Ok(learnt(1, 0)));
        assert_eq!(store.counts(), [1, 0, 3]);
        assert_eq!(learn(&mut store, "door", 1).class, Some(1));
        assert_eq!(store.undo(), Ok(learnt(1, 0)));
        assert!(store.forget("lamp").unwrap_err().contains("no class \"lamp\""));
        assert!(store.forget(" ").unwrap_err().contains("needs a name"));
        assert_eq!(store.counts().iter().sum::<usize>(), 4);
        store.forget("").unwrap();
        assert_eq!(store.counts(), [0, 0, 0]);
    }

    #[test]
    fn a_full_class_keeps_what_differs() {
        let mut store = store(3, 5);
        let values = |store: &Exemplars, class: u8| -> Vec<f32> {
            let of_class = store.labelled.iter().filter(|labelled| labelled.class == class);
            of_class.map(|labelled| labelled.exemplar.tokens[0]).collect()
        };
        store.learn("a", [-5.0, 1.0, 1.0, 1.0, 5.0, 1.0].map(exemplar).into()).unwrap();
        assert_eq!(store.counts(), [0, 3]);
        assert!(
            values(&store, 1).contains(&-5.0) && values(&store, 1).contains(&5.0),
            "{:?}",
            values(&store, 1)
        );
        store.learn("b", vec![exemplar(7.0), exemplar(8.0), exemplar(9.0)]).unwrap();
        assert_eq!(store.counts(), [0, 2, 2]);
    }

    #[test]
    fn impossible_names_and_too_many_classes_are_refused() {
        let mut store = store(1, 1000);
        let check = |store: &mut Exemplars, name: &str, expect: &str| {
            let answer = store.learn(name, vec![exemplar(1.0)]).unwrap_err();
            assert!(answer.contains(expect) && answer.len() < 400, "{answer}");
        };
        check(&mut store, " ", "needs a name");
        assert_eq!(store.classes().len(), 1);
        for number in 1..MOST_CLASSES {
            assert_eq!(store.learn(&number.to_string(), vec![]).unwrap().class, Some(number as u8));
        }
        check(&mut store, "one more", "there are 255 classes");
        assert_eq!(store.classes().len(), MOST_CLASSES);
    }
}
