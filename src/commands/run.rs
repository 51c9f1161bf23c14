//! The node: start in the order config, model, topics; stop in the opposite one.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use crate::commands::Failure;
use crate::commands::background::Background;
use crate::commands::describe::{board, describe, made, services};
use crate::commands::signals::Signals;
use crate::config::{Config, EngineBuild, Live, Value, Values};
use crate::diagnostics::{Board, CameraFacts, Teller};
use crate::engine::Engine;
use crate::engine::swap::Swap;
use crate::logging::Log;
use crate::pipeline::{self, Intake, Pipeline, Shared};
use crate::report::{self, Reporter};
use crate::ros::environment::{Discovery, Environment};
use crate::ros::interface::{self, Address, InterfaceError};
use crate::ros::names::Names;
use crate::ros::{Camera, CameraTopics, Declared, Edge, Options, Parameters};
use crate::runtime::clock::Clock;
use crate::runtime::thread::{self, Stage};
use crate::setup::Model;
use crate::setup::input::fitter;

/// What the command line and the environment said.
pub struct Launch {
    /// Checked configuration.
    pub config: Config,
    /// The same as ROS parameters.
    pub values: Values,
    /// The node's name and remap rules.
    pub names: Names,
    /// Domain and discovery range.
    pub environment: Environment,
    /// Where the log goes.
    pub log: Log,
    /// What asks for an end.
    pub signals: Signals,
}

/// Log records that wait for `/rosout` at most; more are dropped rather than waited for.
const ROSOUT_QUEUE: usize = 256;

/// Serves until SIGINT, SIGTERM or the end of a stage.
///
/// # Errors
/// Setup errors before the node is ready, a stage's own later.
pub fn run(launch: Launch) -> Result<(), Failure> {
    let Launch { config, values, names, environment, log, signals } = launch;
    let (ended, end) = mpsc::channel();
    let listener = signals.notify(&ended)?;
    let stats_file = config.stats_file.as_deref().map(report::open).transpose().map_err(Failure::Setup)?;

    environment.allow().map_err(|err| Failure::Setup(err.into()))?;
    let address = address(&config, &environment).map_err(|err| Failure::Setup(err.into()))?;
    let warn = |text: &String| tracing::warn!("{text}");
    environment.warnings.iter().for_each(warn);
    let static_peers = environment.peer_addresses(|text| warn(&text));
    let (records, said) = crossbeam_channel::bounded(ROSOUT_QUEUE);
    log.forward_to(records);
    let (parameters, live) = parameters(&values, log.clone());
    let clock = Arc::new(Clock::new(config.use_sim_time));
    let shared = Shared::new(config.cameras.len(), Arc::clone(&live), clock);
    let domain_id = environment.domain_id;
    let (records, for_edge) = (Some(said), ended.clone());
    let options = Options {
        names: names.clone(),
        domain_id,
        address,
        static_peers,
        pace: config.pace,
        parameters,
        records,
        ended: for_edge,
    };
    let mut edge = Edge::open(options).map_err(Failure::Running)?;
    let board = Arc::new(board(&config, &shared, address, domain_id));
    board.set_deliveries(edge.deliveries());
    let statuses = edge.diagnostics(Arc::clone(&shared.clock)).map_err(Failure::Setup)?;
    let tell = move |found| statuses.send(found);
    let teller = Teller::start(Arc::clone(&board), tell, ended.clone()).map_err(Failure::Running)?;
    if config.use_sim_time {
        edge.follow_time(Arc::clone(&shared.clock)).map_err(Failure::Setup)?;
    }

    let mut model = Model::load(&config).map_err(Failure::Setup)?;
    // Loading and warming can take a minute, and a launch file waits for five seconds.
    let leave = |edge: Edge, teller| {
        drop(teller);
        edge.close().map_err(Failure::Running)
    };
    if end.try_recv().is_ok() {
        return leave(edge, teller);
    }
    let warm = model.warm(&config).map_err(|err| Failure::Running(err.into()))?;
    if end.try_recv().is_ok() {
        return leave(edge, teller);
    }

    let publishers = edge.publishers(&config.cameras, &made(&config, &model), config.output_reliability);
    let sink = Box::new(publishers.map_err(Failure::Setup)?);
    edge.watch(Arc::clone(&shared.subscribed), Arc::clone(&board)).map_err(Failure::Running)?;
    let basis = model.basis_keeper();
    edge.serve(services(&live, &basis)).map_err(Failure::Setup)?;
    describe(&board, &config, &model, &basis, warm);

    let heads = model.heads(&config, basis).map_err(Failure::Setup)?;
    let encoder = model.encoder(&config);
    let (better, engines) = crossbeam_channel::bounded(1);
    let builds = config.engine_build == EngineBuild::Background && model.lacks_engine;
    let build =
        || Background::start(&config, model.job.shallow_clone(), model.head_set.shallow_clone(), better);
    let background = builds.then(build).transpose().map_err(Failure::Setup)?;
    let swapped = Arc::clone(&board);
    let engine = Box::new(Swap::new(model.engine, engines, move |kind| swapped.swapped(kind)));
    let cameras = config.cameras.iter().map(|camera| pipeline::Camera {
        name: if camera.name.is_empty() { "image".to_owned() } else { camera.name.clone() },
        fitter: fitter(&config),
    });
    let engine = (engine as Box<dyn Engine>, config.batch_max);
    let started = Pipeline::start(cameras.collect(), engine, heads, (encoder, sink), &shared, &ended);
    let (pipeline, intakes) = started.map_err(Failure::Running)?;
    // Dropped before the pipeline: its threads end when the receive threads let go of the intakes.
    let mut edge = edge;
    let topics = subscribe(&mut edge, &config, intakes, &shared, &board).map_err(Failure::Setup)?;
    tracing::info!("ready: {} subscribes to {}", names.fully_qualified(), topics.join(", "));
    let (reports, stop) = crossbeam_channel::bounded(0);
    let reporter = Reporter::new(shared, topics, config.stats_period_secs, stats_file);
    let report = move || {
        reporter.run(&stop);
        Ok(())
    };
    let reporter = Stage::spawn("statistics", ended, report).map_err(Failure::Running)?;

    // An error means that every sender is gone, which is an end as well.
    let _ended = end.recv();
    let unsubscribed = edge.unsubscribe();
    drop(background);
    let stopped = pipeline.stop();
    drop(teller);
    drop(reports);
    let reported = reporter.join();
    if 0 < log.n_lost() {
        tracing::warn!("{} log records did not reach /rosout", log.n_lost());
    }
    let closed = edge.close();
    drop(listener);
    thread::all([unsubscribed, stopped, reported, closed]).map_err(Failure::Running)
}

/// Subscribes to every camera. Returns the names of their pictures' topics.
fn subscribe(
    edge: &mut Edge,
    config: &Config,
    intakes: Vec<Intake>,
    shared: &Shared,
    board: &Board,
) -> anyhow::Result<Vec<String>> {
    let mut topics = Vec::new();
    for (index, (camera, mut intake)) in config.cameras.iter().zip(intakes).enumerate() {
        let (mut refusals, queries) = (intake.refusals(), Arc::clone(&shared.queries));
        let found = edge.subscribe(
            Camera::new(index, camera, config.max_image_pixels),
            move |frame| {
                // Main hears from the stage itself that the pipeline has ended.
                let _ended = intake.push(frame);
            },
            move |why| refusals.refuse(why),
            move |pixel| queries[index].ask(pixel),
        )?;
        let CameraTopics { image, camera_info } = found;
        topics.push(image.clone());
        board.add_camera(CameraFacts { topic: image, camera_info, subscribed: Instant::now() });
    }
    Ok(topics)
}

/// The address that DDS uses; warns where the environment asks for what cannot be had.
pub(super) fn address(config: &Config, environment: &Environment) -> Result<Address, InterfaceError> {
    let address = interface::choose(config.network_interface, environment.is_loopback_only())?;
    if environment.discovery == Discovery::Off {
        tracing::warn!("ROS_AUTOMATIC_DISCOVERY_RANGE=OFF: this node is still found on this machine");
    } else if address.ip.is_loopback()
        && !environment.is_loopback_only()
        && !environment.static_peers.is_empty()
    {
        tracing::warn!(
            "ROS_STATIC_PEERS: {address} reaches no other machine; network_interface names an address that does"
        );
    } else if environment.is_loopback_only() && !address.ip.is_loopback() {
        tracing::warn!(
            "network_interface: {address} outweighs the environment, which asks for this machine alone"
        );
    }
    Ok(address)
}

/// The parameters as ROS sees them, and what they are while the node runs.
pub(super) fn parameters(values: &Values, log: Log) -> (Parameters, Arc<Live>) {
    let live = Arc::new(Live::new(values.clone(), move |level| log.set_level(level)));
    let (checks, applies) = (Arc::clone(&live), Arc::clone(&live));
    let declared = |(name, value): (&str, &Value)| {
        let descriptor = live.descriptor(name);
        Declared { name: name.to_owned(), value: value.clone(), descriptor }
    };
    let parameters = Parameters {
        declared: values.iter().map(declared).collect(),
        check: Box::new(move |name, value| checks.check(name, value)),
        apply: Box::new(move |name, value| applies.apply(name, value)),
    };
    (parameters, live)
}
