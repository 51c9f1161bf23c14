//! The heads that the configuration names: their files, their weights, and what runs them.

use std::path::Path;

use anyhow::Context;

use crate::config::{self, Config, Fit};
use crate::engine::head::{HeadEngine, Taken};
use crate::engine::job::EngineJob;
use crate::engine::store::folder::Folder;
use crate::files;
use crate::heads::{EncoderCard, Head, HeadError, HeadSet, Legend, Task};
use crate::outputs::Topic;
use crate::pixio::Pixio;

use super::encoder::LoadedEncoder;

/// Most bytes of a head file: the paper's DPT head takes 130 MB.
const MOST_BYTES: u64 = 1 << 30;

/// The heads with their weights on the model's device.
pub type LoadedHeads = HeadSet<Head>;

/// A head that the configuration names.
#[derive(Clone, Copy, Debug)]
pub struct HeadFile<'a> {
    /// `depth` or `segmentation`.
    pub task: &'static str,
    /// The head file.
    pub file: &'a Path,
    /// The topic for which the head runs.
    pub topic: Topic,
}

/// The heads that `config` names and that serve as they are: teaching only goes on from its segmentation head.
pub fn head_files(config: &Config) -> impl Iterator<Item = HeadFile<'_>> {
    let segmentation = config.segmentation_head.as_deref().filter(|_| !config.teaching);
    let files = [
        ("depth", config.depth_head.as_deref(), Topic::Depth),
        ("segmentation", segmentation, Topic::Labels),
    ];
    files.into_iter().filter_map(|(task, file, topic)| Some(HeadFile { task, file: file?, topic }))
}

/// Loads the heads that `config` names for the tokens of `encoder`, on its device.
///
/// # Errors
/// A file that is no head of this model.
pub fn load(config: &Config, encoder: &LoadedEncoder) -> anyhow::Result<LoadedHeads> {
    let card = card(&encoder.pixio);
    let mut heads = LoadedHeads::default();
    for HeadFile { task, file, .. } in head_files(config) {
        let read = || {
            let failed =
                |err: std::io::Error| HeadError::File { file: file.to_owned(), reason: err.to_string() };
            let bytes = files::read(file, MOST_BYTES).map_err(failed)?;
            let head = Head::parse(file, &bytes, encoder.device, encoder.arithmetic.kind())?;
            head.check(file, task, &card)?;
            if config.fit == Fit::Window && head.card().reads_position() {
                let reason = "it reads where a patch lies, which fit: window does not tell".to_owned();
                return Err(HeadError::Misfit { file: file.to_owned(), reason });
            }
            Ok(head)
        };
        let head = read().with_context(|| format!("{task}_head"))?;
        if let Some(warning) = head.card().revision_warning(file, &card) {
            tracing::warn!("{warning}");
        }
        match head.card().task {
            Task::Depth { .. } => heads.depth = Some(head),
            Task::Segmentation { .. } => heads.segmentation = Some(head),
        }
    }
    Ok(heads)
}

/// The encoder as the cards of heads have it.
pub(super) fn card(pixio: &Pixio) -> EncoderCard {
    EncoderCard {
        model: pixio.name().to_owned(),
        revision: pixio.revision().to_owned(),
        hidden_size: pixio.config().hidden_size,
        num_hidden_layers: pixio.config().num_hidden_layers,
        n_cls_tokens: pixio.config().n_cls_tokens,
    }
}

/// What the labels of the segmentation head mean; `None` where there is no such head.
pub fn legend(heads: &LoadedHeads) -> Option<Legend> {
    match &heads.segmentation.as_ref()?.card().task {
        Task::Segmentation { classes, threshold } => {
            Some(Legend { classes: classes.as_slice().into(), threshold: *threshold })
        }
        Task::Depth { .. } => None,
    }
}

/// What runs `head` beside the engine of `job`: compiled where `folder`, the engine's, has the head, else
/// operation by operation.
///
/// # Errors
/// A package of a folder that was asked for does not serve, or CUDA's own.
pub fn engine(
    config: &Config,
    job: &EngineJob,
    head: Head,
    folder: Option<&Folder>,
) -> anyhow::Result<HeadEngine> {
    let name = head.card().task.name();
    let mut engine = HeadEngine::new(head);
    let Some(folder) = folder else { return Ok(engine) };
    let path = folder.path().display();
    match engine.take_packages(folder, job) {
        Ok(Taken::Slower(slower)) if config.engine == config::EngineChoice::Auto => {
            engine.drop_packages();
            tracing::warn!("{name} runs eagerly: engine {path}: {slower}");
        }
        Ok(Taken::Slower(slower)) => {
            tracing::warn!("{name} compiled, from {path}, because `engine` names it: {slower}");
        }
        Ok(Taken::Packages) => tracing::info!("{name} compiled, from {path}"),
        Ok(Taken::Nothing) => tracing::info!(
            "{name} runs eagerly: the engine {path} has no such head; \
             `pixio_node build` with --{name}-head makes one"
        ),
        // Found, not asked for.
        Err(err) if config.engine == config::EngineChoice::Auto => {
            tracing::warn!("{name} runs eagerly: {err}");
        }
        Err(err) => return Err(err.into()),
    }
    Ok(engine)
}
