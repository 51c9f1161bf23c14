//! What the node logs about itself, and what its services do.

use std::sync::Arc;

use crate::commands::teach;
use crate::config::{Config, Live};
use crate::diagnostics::{Board, EngineFacts, ExpectedCamera, ModelFacts, TransportFacts};
use crate::engine::device;
use crate::heads::Legend;
use crate::pipeline::Shared;
use crate::ros::checks::ReceiveBuffers;
use crate::ros::start::interface::Address;
use crate::ros::{HeadOutputs, Services};
use crate::setup::Model;
use crate::setup::heads::{head_files, legend};
use crate::setup::input::input_size;
use crate::setup::warm::Warm;
use crate::stages::derive::{BasisKeeper, Common};

/// What the services do.
pub(super) fn services(config: &Config, live: &Arc<Live>, common: &Common) -> Services {
    let Common { basis, teaching } = common;
    let (live, saves, resets) = (Arc::clone(live), Arc::clone(basis), Arc::clone(basis));
    let told = |done: anyhow::Result<String>| {
        done.inspect(|text| tracing::info!("{text}")).map_err(|err| format!("{err:#}"))
    };
    Services {
        set_enabled: Box::new(move |is_enabled| {
            live.set_enabled(is_enabled);
            let text = if is_enabled { "enabled" } else { "not enabled: frames are counted as unwanted" };
            tracing::info!("set_enabled: {text}");
            Ok(text.to_owned())
        }),
        save_pca_basis: Box::new(move || told(saves.save())),
        reset_pca_basis: Box::new(move || told(resets.reset())),
        teaching: teaching.as_ref().map(|teaching| teach::services(teaching, &config.cameras)),
    }
}

/// What diagnostics are made of, before there is a model.
pub(super) fn board(config: &Config, shared: &Shared, address: Address, domain_id: u16) -> Board {
    let cameras = config.cameras.iter();
    let cameras =
        cameras.map(|camera| ExpectedCamera { name: camera.name.clone(), rate: camera.expected_rate });
    // The sockets were made with what is allowed now.
    let buffers = ReceiveBuffers::of_this_machine();
    let board = Board::new(shared.clone(), cameras.collect(), move |bytes| buffers.advice(bytes));
    let values = [
        ("ROS domain", domain_id.to_string()),
        ("address", address.to_string()),
        ("net.core.rmem_max", buffers.max.map_or_else(|| "unknown".into(), |bytes| bytes.to_string())),
    ];
    let values = values.map(|(key, value)| (key.to_owned(), value)).into();
    board.set_transport(TransportFacts { values });
    board
}

/// What the heads of `model` add to the outputs, or what is `taught` instead.
pub(super) fn head_outputs(config: &Config, model: &Model, taught: Option<Legend>) -> HeadOutputs {
    let depth = model.head_set.depth.as_ref().map(|_| config.depth_resolution);
    HeadOutputs { depth, legend: taught.or_else(|| legend(&model.head_set)) }
}

/// Tells `board` of the model and its engine.
pub(super) fn describe(
    board: &Board,
    config: &Config,
    model: &Model,
    basis: &Arc<BasisKeeper>,
    warm: Warm,
    n_streams: usize,
) {
    let card = &model.card;
    let files = head_files(config).map(|head| format!("{} {}", head.task, head.file.display()));
    let heads: Vec<_> = files.chain(config.teaching.then(|| "segmentation, taught".to_owned())).collect();
    let values = [
        ("model", card.name.clone()),
        ("revision", card.revision.clone()),
        ("layer", card.layer.to_string()),
        ("model input", input_size(config).to_string()),
        ("heads", if heads.is_empty() { "none".into() } else { heads.join(", ") }),
    ];
    let values = values.map(|(key, value)| (key.to_owned(), value)).into();
    let summary = format!("{} revision {}, block {}", card.name, card.revision, card.layer);
    let basis = Arc::clone(basis);
    board.set_model(ModelFacts { summary, values }, move || basis.summary());
    let hint = model.lacks_engine.then(|| format!("{} compiles an engine", model.build_command));
    let facts = EngineFacts {
        kind: model.engine.kind(),
        place: model.place(),
        warm: warm.to_string(),
        n_streams,
        fell_back: model.fell_back.clone(),
        hint,
    };
    let on = model.job.device;
    board.set_engine(facts, move || device::reserved_mb(on));
}
