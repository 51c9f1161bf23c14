//! Teaching: what exemplars are read from, and the teacher's thread.

use std::sync::{Arc, mpsc};

use anyhow::{Context, ensure};

use super::Model;
use super::heads;
use super::input::input_size;
use crate::config::{Config, Fit};
use crate::exemplars::{Binding, Exemplars, Limits, beside};
use crate::pixio::Pixio;
use crate::teaching::{Announce, Lessons, School, Teacher, Teaching};

/// The blocks that exemplars are read from where `config` asks for teaching.
///
/// # Errors
/// The node sees images by windows, of which none is the whole.
pub fn taps(config: &Config, n_blocks: usize) -> anyhow::Result<Vec<usize>> {
    if !config.teaching {
        return Ok(Vec::new());
    }
    ensure!(
        config.fit != Fit::Window,
        "teaching: under fit: window there are no patches of the whole image; choose another fit"
    );
    Ok(halfway_and_last(n_blocks))
}

/// The block in the middle of `n_blocks` and the last one: on what they were measured with (docs/teaching.md),
/// classes are told apart as well as by four, and better than by the last alone.
fn halfway_and_last(n_blocks: usize) -> Vec<usize> {
    let mut blocks = vec![n_blocks.div_ceil(2), n_blocks];
    blocks.dedup();
    blocks
}

/// What the tokens of exemplars come from.
pub fn binding(config: &Config, pixio: &Pixio) -> Binding {
    Binding {
        backbone: heads::card(pixio),
        taps: halfway_and_last(pixio.config().num_hidden_layers),
        size: input_size(config).to_string(),
    }
}

/// How many exemplars are kept.
pub fn limits(config: &Config) -> Limits {
    Limits { per_class: config.exemplars_per_class, in_all: config.exemplars_in_all }
}

/// The exemplars that teaching begins with where `config` asks for it: those beside the segmentation head, or
/// none.
///
/// # Errors
/// There are none beside the head, or they are of another model.
pub(super) fn exemplars(config: &Config, pixio: &Pixio) -> anyhow::Result<Option<Exemplars>> {
    if !config.teaching {
        return Ok(None);
    }
    let (binding, limits) = (binding(config, pixio), limits(config));
    let Some(head) = &config.segmentation_head else {
        return Ok(Some(Exemplars::new(binding, limits, config.teaching_threshold)));
    };
    let loaded = Exemplars::load(&beside(head), binding, limits, config.teaching_threshold);
    let hint = || {
        format!(
            "teaching goes on from the exemplars beside segmentation_head {}: give a head that was saved by \
             teaching, or none",
            head.display()
        )
    };
    loaded.with_context(hint).map(Some)
}

/// Starts the teacher of `model` if the configuration asked for one. Lessons come from `lessons`; `announce`
/// hears of every new class, and `ended` of the thread's end.
///
/// # Errors
/// The exemplars cannot be fitted, or there is no thread.
pub fn start(
    model: &mut Model,
    lessons: &Arc<[Lessons]>,
    announce: Announce,
    ended: &mpsc::Sender<()>,
) -> anyhow::Result<Option<(Teacher, Arc<Teaching>)>> {
    let Some(exemplars) = model.exemplars.take() else { return Ok(None) };
    let school = School { exemplars, device: model.job.device, kind: model.job.arithmetic.kind() };
    Teacher::start(school, Arc::clone(lessons), announce, ended).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemplars_are_read_from_the_middle_and_the_end() {
        let check = |n_blocks, expect: &[usize]| assert_eq!(halfway_and_last(n_blocks), expect, "{n_blocks}");
        check(8, &[4, 8]);
        check(12, &[6, 12]);
        check(3, &[2, 3]);
        check(1, &[1]);
    }
}
