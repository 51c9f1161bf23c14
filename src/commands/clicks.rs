//! What `infer` is taught by: a file of exemplars, or clicks on images that were written down.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::commands::infer::Reader;
use crate::config::Config;
use crate::exemplars::{Click, Exemplars, fitted};
use crate::heads::{Head, HeadParts};
use crate::setup::{Model, teaching};
use crate::stages::derive::{Dense, exemplars_under};
use crate::text::foreign;

/// What `infer` is taught by, and where that is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taught {
    /// A file of exemplars, or clicks as CSV.
    pub exemplars: PathBuf,
    /// The head file to write, with the exemplars beside it.
    pub save_head: Option<PathBuf>,
}

impl Taught {
    /// Has `dense` segment by what was taught.
    ///
    /// # Errors
    /// The file is neither, an image of a click cannot be read, or there are fewer than two classes.
    pub(super) fn teach(
        &self,
        config: &Config,
        model: &mut Model,
        reader: &mut Reader,
        dense: &mut Dense,
    ) -> anyhow::Result<()> {
        let path = self.exemplars.as_path();
        let is_clicks = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let exemplars = match is_clicks {
            true => clicked(path, config, model, reader)
                .with_context(|| format!("clicks {}", foreign(&path.to_string_lossy()))),
            false => {
                let binding = teaching::binding(config, model.pixio());
                Exemplars::load(path, binding, teaching::limits(config), config.teaching_threshold)
                    .context("a file whose name does not end in .csv is one of saved exemplars")
            }
        };
        let exemplars = exemplars.context("--exemplars")?;
        let started = Instant::now();
        let parts = fitted(&exemplars)?.with_context(|| {
            format!("--exemplars: {} has exemplars of fewer than two classes", path.display())
        })?;
        let head = Head::of(&parts, model.job.device, model.job.arithmetic.kind())?;
        dense.segment_with(Some(head))?;
        let millis = started.elapsed().as_secs_f64() * 1e3;
        tracing::info!("{}, fitted in {millis:.0} ms", exemplars.summary());
        self.save_head.as_deref().map_or(Ok(()), |path| save(path, &parts, &exemplars))
    }
}

/// `config` as it is for a model that is taught.
///
/// # Errors
/// It names a segmentation head.
pub(super) fn taught_config(config: &Config) -> anyhow::Result<Config> {
    ensure!(
        config.segmentation_head.is_none(),
        "--exemplars makes a segmentation head, and segmentation_head names one: give one of the two"
    );
    Ok(Config { teaching: true, ..config.clone() })
}

fn save(path: &Path, parts: &HeadParts, exemplars: &Exemplars) -> anyhow::Result<()> {
    let saved = exemplars.save(path, parts).context("--save-head")?;
    tracing::info!("the head is in {}, its exemplars are in {}", path.display(), saved.display());
    Ok(())
}

/// The exemplars that the clicks of `path` point at.
fn clicked(
    path: &Path,
    config: &Config,
    model: &mut Model,
    reader: &mut Reader,
) -> anyhow::Result<Exemplars> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let binding = teaching::binding(config, model.pixio());
    let taps = binding.taps.clone();
    let mut exemplars = Exemplars::new(binding, teaching::limits(config), config.teaching_threshold);
    for (image, clicks) in grouped(Click::read(path)?, |click| click.image.clone()) {
        let file = folder.join(image);
        let name = file.to_string_lossy();
        let shown = foreign(&name);
        let first = |clicks: &[Click]| clicks.first().map_or(0, |click| click.line);
        let read = reader.forward(model, &file);
        let (input, tokens) =
            read.with_context(|| format!("line {}, column image: {shown:?}", first(&clicks)))?;
        let is_read = |(block, _): &(&usize, _)| taps.contains(block);
        let of_taps: Vec<_> =
            model.job.taps.iter().zip(&tokens.taps).filter(is_read).map(|(_, tap)| tap).collect();
        for (class, clicks) in grouped(clicks, |click| click.class.clone()) {
            let pixels: Vec<_> = clicks.iter().map(|click| click.pixel).collect();
            let found = exemplars_under(&pixels, &input.geometry, &of_taps, model.card.n_cls_tokens);
            let lost = || clicks.iter().find(|click| input.geometry.patch_under(click.pixel).is_none());
            let found = found.with_context(|| match lost() {
                Some(click) => format!("line {}, columns x and y: {shown:?}", click.line),
                None => format!("{shown:?}"),
            });
            let learnt = exemplars.learn(&class, found?).map_err(anyhow::Error::msg);
            learnt.with_context(|| format!("line {}, column class", first(&clicks)))?;
        }
    }
    Ok(exemplars)
}

/// Groups in the order in which their first members come.
fn grouped<T, K: Clone + Eq + Hash>(all: Vec<T>, key: impl Fn(&T) -> K) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    let mut places = HashMap::new();
    for one in all {
        let key = key(&one);
        let place = *places.entry(key.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push((key, Vec::new()));
        }
        groups[place].1.push(one);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clicks_are_grouped_in_their_order() {
        let grouped = grouped(vec![3, 1, 4, 1, 5, 9, 2, 6], |n| n % 3);
        assert_eq!(grouped, [(0, vec![3, 9, 6]), (1, vec![1, 4, 1]), (2, vec![5, 2])]);
    }
}
