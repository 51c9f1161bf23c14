//! What pages teach.

use std::path::PathBuf;

use futures::channel::oneshot;
use futures::stream::{FuturesUnordered, StreamExt};

use super::messages::{FromPage, Level, TeachingState, ToPage};
use super::snapshot::Snapshot;
use crate::teaching::{self, Teaching, Told};

/// Most pixels of one message.
const MOST_PIXELS: usize = 150;

/// Requests of a page that wait for an answer at most.
const MOST_WAITING: usize = 64;

/// What a page asks the teacher, and has heard.
#[derive(Debug, Default)]
pub(super) struct Pupils {
    answers: FuturesUnordered<oneshot::Receiver<Told>>,
    /// [`teaching::Written::version`] that the page knows.
    version: Option<u64>,
}

impl Pupils {
    /// What the page does not know yet.
    pub(super) fn news(&mut self, teaching: &Teaching) -> Option<ToPage> {
        let version = teaching.slate.version();
        if self.version == Some(version) {
            return None;
        }
        let written = teaching.slate.read();
        self.version = Some(written.version);
        Some(ToPage::Teaching(TeachingState::new(&written, teaching::names())))
    }

    /// Asks for what `message` says about one of the images `sent`. A refusal is for the page.
    pub(super) fn ask<'a>(
        &mut self,
        teaching: &Teaching,
        message: FromPage,
        mut sent: impl Iterator<Item = &'a Snapshot>,
    ) -> Result<(), String> {
        if MOST_WAITING <= self.answers.len() {
            return Err("too many requests wait: point again".to_owned());
        }
        let of_name = |name: &str, ask: &dyn Fn(PathBuf) -> Asked| ask(teaching::path(name)?);
        self.answers.push(match message {
            FromPage::Teach { frame, class, pixels } => {
                if pixels.is_empty() || MOST_PIXELS < pixels.len() {
                    let n = pixels.len();
                    return Err(format!("{n} pixels were given, and 1 to {MOST_PIXELS} are taken"));
                }
                let gone = "the image that was pointed at is gone: point again";
                let snapshot = sent.find(|snapshot| snapshot.number == frame).ok_or(gone)?;
                teaching.learn(class, snapshot.exemplars_under(&pixels)?)
            }
            FromPage::Forget { class } => teaching.forget(class),
            FromPage::Undo => teaching.undo(),
            FromPage::SaveHead { name } => of_name(&name, &|path| teaching.save(path)),
            FromPage::LoadHead { name } => of_name(&name, &|path| teaching.load(path)),
            _ => return Ok(()),
        }?);
        Ok(())
    }

    /// The next answer; for ever where none is awaited.
    pub(super) async fn answer(&mut self) -> ToPage {
        let Some(answer) = self.answers.next().await else { return std::future::pending().await };
        let told = answer.unwrap_or_else(|_| Err("the request was lost: ask again".to_owned()));
        // A head may have been saved, which changes nothing else.
        self.version = None;
        match told {
            Ok(taught) => ToPage::Notice { level: Level::Info, text: taught.text },
            Err(why) => ToPage::Notice { level: Level::Warning, text: why },
        }
    }
}

type Asked = Result<oneshot::Receiver<Told>, String>;
