//! What `infer` is taught by: a file of exemplars, or clicks on images that were written down.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::commands::infer::Reader;
use crate::config::Config;
use crate::exemplars::{Exemplars, fitted};
use crate::files;
use crate::heads::{Head, HeadParts};
use crate::setup::{Model, teaching};
use crate::stages::derive::{Dense, exemplars_under};
use crate::text::foreign;

/// Most bytes of a file of clicks.
const MOST_BYTES: u64 = 64 << 20;

/// What `infer` is taught by, and where that is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taught {
    /// A file of exemplars, or clicks as CSV.
    pub exemplars: PathBuf,
    /// The head file to write, with the exemplars beside it.
    pub save_head: Option<PathBuf>,
}

/// A row of a file of clicks: a pixel of an image that shows a class.
#[derive(Debug, Deserialize)]
struct Click {
    /// The image file, from the folder of the file of clicks.
    image: PathBuf,
    x: f64,
    y: f64,
    class: String,
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
            true => {
                clicked(path, config, model, reader).with_context(|| format!("clicks {}", path.display()))
            }
            false => {
                let binding = teaching::binding(config, model.pixio());
                Exemplars::load(path, binding, teaching::limits(config), config.teaching_threshold)
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
    for (image, clicks) in by_image(clicks(path)?) {
        let learnt = || -> anyhow::Result<()> {
            let (input, tokens) = reader.forward(model, &folder.join(&image))?;
            let is_read = |(block, _): &(&usize, _)| taps.contains(block);
            let of_taps: Vec<_> =
                model.job.taps.iter().zip(&tokens.taps).filter(is_read).map(|(_, tap)| tap).collect();
            for (class, pixels) in by_class(clicks) {
                let found = exemplars_under(&pixels, &input.geometry, &of_taps, model.card.n_cls_tokens)?;
                exemplars.learn(&class, found).map_err(anyhow::Error::msg)?;
            }
            Ok(())
        };
        learnt().with_context(|| format!("image {}", image.display()))?;
    }
    Ok(exemplars)
}

/// Reads `image,x,y,class` with a header.
fn clicks(path: &Path) -> anyhow::Result<Vec<Click>> {
    let text = files::read_text(path, MOST_BYTES)?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let headers = reader.headers()?.clone();
    for column in ["image", "x", "y", "class"] {
        if !headers.iter().any(|header| header == column) {
            let found = text.lines().next().unwrap_or_default();
            bail!(
                "there is no column {column}: the first line must be image,x,y,class and is {:?}",
                foreign(found)
            );
        }
    }
    let clicks = reader.deserialize().collect::<Result<Vec<Click>, _>>()?;
    ensure!(!clicks.is_empty(), "there is no click");
    Ok(clicks)
}

/// Clicks of one image after the other, each in the order of the file.
fn by_image(clicks: Vec<Click>) -> Vec<(PathBuf, Vec<Click>)> {
    grouped(clicks, |click| click.image.clone())
}

/// Pixels of one class after the other.
fn by_class(clicks: Vec<Click>) -> impl Iterator<Item = (String, Vec<[f64; 2]>)> {
    let of_class = |(class, clicks): (String, Vec<Click>)| {
        (class, clicks.into_iter().map(|click| [click.x, click.y]).collect())
    };
    grouped(clicks, |click| click.class.clone()).into_iter().map(of_class)
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
    fn clicks_are_read_with_their_columns_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clicks.csv");
        let check = |text: &str, expect: Result<usize, &str>| {
            std::fs::write(&path, text).unwrap();
            match (clicks(&path), expect) {
                (Ok(found), Ok(expect)) => assert_eq!(found.len(), expect, "{text}"),
                (Err(err), Err(expect)) => assert!(format!("{err:#}").contains(expect), "{err:#}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        };
        check("image,x,y,class\na.png,1,2,door\nb.png, 3.5, 4,\"the floor, there\"\n", Ok(2));
        check("class,image,y,x\ndoor,a.png,1,2\n", Ok(1));
        check("image,x,y\na.png,1,2\n", Err("no column class"));
        check("image,x,y,class\n", Err("there is no click"));
        check("image,x,y,class\na.png,left,2,door\n", Err("invalid float"));
        check("image,x,y,class\na.png,1\n", Err("record 1"));
        check("", Err("no column image"));
    }

    #[test]
    fn clicks_are_grouped_in_their_order() {
        let grouped = grouped(vec![3, 1, 4, 1, 5, 9, 2, 6], |n| n % 3);
        assert_eq!(grouped, [(0, vec![3, 9, 6]), (1, vec![1, 4, 1]), (2, vec![5, 2])]);
    }
}
