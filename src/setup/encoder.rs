//! The encoder: where it runs, in which arithmetic, and what its engine has to do.

use std::time::Instant;

use anyhow::{Context, ensure};
use tch::Device;

use crate::config::{self, Config, Fit};
use crate::engine::arithmetic::Arithmetic;
use crate::engine::device;
use crate::engine::graph::LaunchMode;
use crate::engine::job::EngineJob;
use crate::pixio::{Pixio, Preparation, Source};
use crate::stages::forward::{MOST_WINDOWS, largest_batch};

use super::heads::LoadedHeads;
use super::input::input_sizes;

/// An encoder on its device.
pub struct LoadedEncoder {
    source: Source,
    /// Architecture and weights.
    pub pixio: Pixio,
    /// Where it runs.
    pub device: Device,
    /// Arithmetic of the model.
    pub arithmetic: Arithmetic,
}

impl LoadedEncoder {
    /// Loads the encoder that `config` names. `of_engine` is the arithmetic of the engine folder, if one is
    /// named.
    ///
    /// # Errors
    /// What is missing or wrong, with the way out.
    pub fn load(config: &Config, of_engine: Option<Arithmetic>) -> anyhow::Result<Self> {
        if let Some(n_threads) = config.threads {
            tch::set_num_threads(i32::try_from(n_threads).context("threads is too large")?);
        }
        let device = device::device(config.device)?;
        let arithmetic = match (of_engine, config.precision) {
            // Naming an engine implies its arithmetic.
            (Some(arithmetic), config::Precision::Auto) => arithmetic,
            (_, asked) => device::arithmetic(asked, device),
        };
        ensure!(
            arithmetic != Arithmetic::Int8 || !device.is_cuda(),
            "precision: int8 is for the CPU; on a GPU bfloat16 is faster: precision:=auto"
        );
        let source = Source::resolve(&config.model)?;
        let started = Instant::now();
        let pixio = Pixio::load(&source, device, arithmetic.kind())?;
        tracing::info!(
            "model {} revision {} on {device:?} in {arithmetic}, loaded in {:.1} s",
            pixio.name(),
            pixio.revision(),
            started.elapsed().as_secs_f64()
        );
        for difference in differences(&pixio.processor().preparation, config) {
            tracing::warn!("model {}: {difference}", pixio.name());
        }
        Ok(Self { source, pixio, device, arithmetic })
    }

    /// Number of transformer blocks.
    pub fn n_blocks(&self) -> usize {
        self.pixio.config().num_hidden_layers
    }

    /// The job of its engine: to return the tokens of the blocks `taps`.
    pub fn job(self, config: &Config, taps: Vec<usize>) -> EngineJob {
        let Self { source, pixio, device, arithmetic } = self;
        let launch = if config.cuda_graph { LaunchMode::Graph } else { LaunchMode::Plain };
        // The frame path runs one image of every camera at once, or the windows of one.
        let n_most = match config.fit {
            Fit::Window => MOST_WINDOWS,
            _ => i64::try_from(config.cameras.len().min(config.batch_max)).unwrap_or(1),
        };
        let batches = (1..=n_most).filter(|&n| largest_batch(n, n) == n).collect();
        EngineJob { source, pixio, device, arithmetic, taps, sizes: input_sizes(config), batches, launch }
    }
}

/// Where images are prepared otherwise than for training, by the model's preprocessor_config.json.
fn differences(preparation: &Preparation, config: &Config) -> Vec<String> {
    let Preparation { size, other_filter, is_cropped } = preparation;
    let mut differences = Vec::new();
    // The other ways to fit an image choose a size themselves.
    let has_size = matches!(config.fit, Fit::Stretch | Fit::Letterbox | Fit::Crop);
    if let Some(size) = size.filter(|size| has_size && *size != config.size) {
        differences.push(format!(
            "preprocessor_config.json names images of {size}, and `size` is {}; start the node with -p \
             size:={size} to have them so",
            config.size
        ));
    }
    if let Some(filter) = other_filter {
        differences.push(format!(
            "preprocessor_config.json names the filter {filter} (resample), and images are resized by \
             `resize_filter`: exact (bicubic) or linear"
        ));
    }
    if *is_cropped && config.fit != Fit::Crop {
        differences.push(
            "preprocessor_config.json cuts out the middle of images, and `fit` does not; start the node with \
             -p fit:=crop to have them so"
                .to_owned(),
        );
    }
    differences
}

/// Blocks whose tokens are needed: for the features of block `layer`, for the embedding (the last of
/// `n_blocks`), for the heads and for exemplars; ascending.
pub fn taps(layer: usize, n_blocks: usize, heads: &LoadedHeads, exemplars: &[usize]) -> Vec<usize> {
    let for_heads = heads.iter().flat_map(|head| head.card().taps.iter());
    let mut taps: Vec<usize> =
        [&layer, &n_blocks].into_iter().chain(for_heads).chain(exemplars).copied().collect();
    taps.sort_unstable();
    taps.dedup();
    taps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Origin, Settings, Value, Values};
    use crate::geometry::Size;

    fn check(preparation: &Preparation, given: &[(&str, &str)], expect: &[&str]) {
        let mut settings = Settings::default();
        for (name, text) in [("model", "m")].iter().chain(given) {
            settings.set(name, Value::String((*text).into()), Origin::Default);
        }
        let config = Config::from_values(&Values::new(&settings).unwrap()).unwrap();
        let found = differences(preparation, &config);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        assert!(found.iter().zip(expect).all(|(found, expect)| found.contains(expect)), "{found:?}");
    }

    #[test]
    fn what_differs_from_training_is_told_with_the_parameter() {
        let of_size = |side| Some(Size { width: side, height: side });
        let large = Preparation { size: of_size(384), ..Preparation::default() };
        check(&Preparation::default(), &[], &[]);
        check(&Preparation { size: of_size(256), ..Preparation::default() }, &[], &[]);
        check(&large, &[], &["-p size:=384x384"]);
        check(&large, &[("size", "384x384")], &[]);
        check(&large, &[("fit", "auto")], &[]);
        let other = Preparation { other_filter: Some("2".into()), is_cropped: true, size: None };
        check(&other, &[], &["the filter 2 (resample)", "-p fit:=crop"]);
        check(&other, &[("fit", "crop")], &["the filter 2 (resample)"]);
    }
}
