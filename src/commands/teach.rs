//! What the services of a node that is taught do.

use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Either, select};

use crate::config::CameraConfig;
use crate::ros::{Answering, TeachCall, TeachOutcome, TeachingServices};
use crate::teaching::{Taught, Teaching, Told};
use crate::text::{foreign, list};

/// How long a lesson waits for a frame, and a request for the teacher.
const PATIENCE: Duration = Duration::from_secs(5);

/// The services `~/teach` and `~/save_head`.
pub(super) fn services(teaching: &Arc<Teaching>, cameras: &[CameraConfig]) -> TeachingServices {
    let names: Vec<String> = cameras.iter().map(|camera| camera.name.clone()).collect();
    let (teaches, saves) = (Arc::clone(teaching), Arc::clone(teaching));
    TeachingServices {
        teach: Box::new(move |call| teach(&teaches, &names, call)),
        save_head: Box::new(move |path| {
            let saved = answered(saves.save(PathBuf::from(path)), "the teacher is busy: ask again");
            saved.map(|told| told.map(|taught| taught.text)).boxed()
        }),
    }
}

fn teach(teaching: &Teaching, names: &[String], call: TeachCall) -> Answering<TeachOutcome> {
    let TeachCall { camera, class_name, x, y, is_forgotten } = call;
    let asked = || {
        if is_forgotten {
            return teaching.forget(class_name);
        }
        let camera = number(names, &camera)?;
        if x.len() != y.len() {
            return Err(format!("x has {} values and y has {}: a pixel is one of each", x.len(), y.len()));
        }
        let pixels = x.into_iter().zip(y).map(|(x, y)| [x, y]);
        teaching.teach(camera, class_name, pixels.collect())
    };
    let outcome = |Taught { text, class, n_exemplars }| TeachOutcome {
        message: text,
        class_id: class,
        n_exemplars: u32::try_from(n_exemplars).unwrap_or(u32::MAX),
    };
    answered(asked(), "no frame of the camera has come within 5 s")
        .map(move |told: Told| told.map(outcome))
        .boxed()
}

/// The number of the camera `name`, which need not be given where there is one.
fn number(names: &[String], name: &str) -> Result<usize, String> {
    if name.is_empty() && names.len() == 1 {
        return Ok(0);
    }
    names.iter().position(|own| own == name).ok_or_else(|| match names {
        [only] if only.is_empty() => format!("{:?} is no camera; the only one has no name", foreign(name)),
        _ => {
            format!("{:?} is no camera, there are: {}", foreign(name), list(names.iter().map(String::as_str)))
        }
    })
}

/// What comes of a request, or `late`.
fn answered(asked: Result<oneshot::Receiver<Told>, String>, late: &'static str) -> Answering<Taught> {
    let answer = match asked {
        Ok(answer) => answer,
        Err(why) => return ready(Err(why)).boxed(),
    };
    let waited = async move {
        match select(answer, smol::Timer::after(PATIENCE)).await {
            Either::Left((told, _)) => {
                told.unwrap_or_else(|_| Err("the frame was lost: ask again".to_owned()))
            }
            Either::Right(_) => Err(late.to_owned()),
        }
    };
    waited.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_found_by_its_name() {
        let check = |names: &[&str], name: &str, expect: Result<usize, &str>| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            match (number(&names, name), expect) {
                (Ok(found), Ok(expect)) => assert_eq!(found, expect),
                (Err(why), Err(expect)) => assert!(why.contains(expect), "{why}"),
                (found, _) => panic!("{found:?}"),
            }
        };
        check(&[""], "", Ok(0));
        check(&[""], "left", Err("the only one has no name"));
        check(&["left"], "", Ok(0));
        check(&["left", "right"], "right", Ok(1));
        check(&["left", "right"], "", Err("there are: left, right"));
        check(&["left", "right"], "up", Err("\"up\" is no camera, there are: left, right"));
    }
}
