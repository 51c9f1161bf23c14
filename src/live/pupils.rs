//! What pages teach.

use std::path::PathBuf;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

use super::messages::{FromPage, Level, TeachingState, ToPage};
use super::snapshot::Snapshot;
use crate::teaching::{self, Teaching, Told};
use crate::text::foreign;

/// Most pixels of one message.
const MOST_PIXELS: usize = 150;

/// Requests of a page that wait for an answer at most.
const MOST_WAITING: usize = 64;

/// What a page asks the teacher, and has heard.
#[derive(Debug, Default)]
pub(super) struct Pupils {
    answers: FuturesUnordered<BoxFuture<'static, ToPage>>,
    /// [`teaching::Written::version`] that the page knows.
    version: Option<u64>,
}

type Asked = Result<oneshot::Receiver<Told>, String>;

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

    /// Asks for what `message` says about one of the images `sent`.
    ///
    /// # Errors
    /// The refusal, for the page.
    pub(super) fn ask<'a>(
        &mut self,
        teaching: &Teaching,
        message: FromPage,
        sent: impl Iterator<Item = &'a Snapshot>,
    ) -> Result<(), ToPage> {
        let undone = undone(&message);
        let asked = match self.answers.len() {
            n if n < MOST_WAITING => asked(teaching, message, sent),
            _ => Err("too many requests wait: point again".to_owned()),
        };
        match asked {
            Ok(answer) => self.answers.push(
                answer
                    .map(move |told| match told {
                        Ok(told) => notice(told.map(|taught| taught.text), &undone),
                        Err(_) => notice(Err("the request was lost: ask again".to_owned()), &undone),
                    })
                    .boxed(),
            ),
            Err(why) => return Err(notice(Err(why), &undone)),
        }
        Ok(())
    }

    /// The next answer; for ever where none is awaited.
    pub(super) async fn answer(&mut self) -> ToPage {
        let Some(answer) = self.answers.next().await else { return std::future::pending().await };
        // A head may have been saved, which changes nothing else.
        self.version = None;
        answer
    }
}

fn asked<'a>(teaching: &Teaching, message: FromPage, mut sent: impl Iterator<Item = &'a Snapshot>) -> Asked {
    let of_name = |name: &str, ask: &dyn Fn(PathBuf) -> Asked| ask(teaching::path(name)?);
    match message {
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
        _ => Err("this is no request about teaching".to_owned()),
    }
}

/// What has not happened if `message` is refused.
fn undone(message: &FromPage) -> String {
    match message {
        FromPage::Teach { class, .. } => format!("{:?} was not taught", foreign(class)),
        FromPage::Forget { class } if !class.is_empty() => format!("{:?} was not forgotten", foreign(class)),
        FromPage::SaveHead { name } => format!("the head {:?} was not saved", foreign(name)),
        FromPage::LoadHead { name } => format!("the head {:?} was not loaded", foreign(name)),
        _ => "nothing was changed".to_owned(),
    }
}

fn notice(told: Result<String, String>, undone: &str) -> ToPage {
    let (level, text) = match told {
        Ok(text) => (Level::Info, text),
        Err(why) => (Level::Warning, format!("{undone}: {why}")),
    };
    ToPage::Notice { level, text, teaching: true }
}
