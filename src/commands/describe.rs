//! What the node tells of itself, and what its services do.

use std::sync::Arc;

use crate::commands::measure::reserved_mb;
use crate::setup::{Model, Warm, head_files, input_size};
use crate::config::{Config, Live};
use crate::diagnostics::{Board, EngineFacts, ModelFacts, TransportFacts};
use crate::geometry::Size;
use crate::pipeline::Shared;
use crate::ros::Services;
use crate::ros::checks::ReceiveBuffers;
use crate::ros::interface::Address;
use crate::stages::heads::BasisKeeper;

/// What the services do.
pub(super) fn services(live: &Arc<Live>, basis: &Arc<BasisKeeper>) -> Services {
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
    }
}

/// What diagnostics are made of, before there is a model.
pub(super) fn board(config: &Config, shared: &Shared, address: Address, domain_id: u16) -> Board {
    let cameras = config.cameras.iter().map(|camera| (camera.name.clone(), camera.expected_rate));
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

/// Tells `board` of the model and its engine.
pub(super) fn describe(board: &Board, config: &Config, model: &Model, basis: &Arc<BasisKeeper>, warm: Warm) {
    let card = &model.card;
    let Size { width, height } = input_size(config);
    let heads: Vec<_> =
        head_files(config).map(|(name, file, _)| format!("{name} {}", file.display())).collect();
    let values = [
        ("model", card.name.clone()),
        ("revision", card.revision.clone()),
        ("layer", card.layer.to_string()),
        ("model input", format!("{width}x{height}")),
        ("heads", if heads.is_empty() { "none".into() } else { heads.join(", ") }),
    ];
    let values = values.map(|(key, value)| (key.to_owned(), value)).into();
    let summary = format!("{} revision {}, block {}", card.name, card.revision, card.layer);
    let basis = Arc::clone(basis);
    board.set_model(ModelFacts { summary, values }, move || basis.summary());
    let hint = model.lacks_engine.then(|| format!("{} compiles an engine", model.task.build_command()));
    let facts = EngineFacts {
        kind: model.engine.kind(),
        place: model.place(),
        warm: warm.to_string(),
        fell_back: model.fell_back.clone(),
        hint,
    };
    let device = model.task.device;
    board.set_engine(facts, move || reserved_mb(device));
}
