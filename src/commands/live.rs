//! `live`: the model at work in a browser, without ROS; and what `run` needs for the same page.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use crate::commands::signals::Signals;
use crate::commands::{Failure, OrFailure};
use crate::config::{Config, Live, Values};
use crate::console;
use crate::console::stdout::Stdout;
use crate::heads::{Class, Legend};
use crate::live::{About, AboutModel, Content, Door, Feed, Folder, Server, ViewerSink, Viewers};
use crate::logging::Log;
use crate::pipeline::{Camera, Pipeline, Shared, Work};
use crate::report::{self, Reporter};
use crate::runtime::clock::Clock;
use crate::runtime::thread;
use crate::setup::heads::legend;
use crate::setup::input::{fitter, input_size};
use crate::setup::{Model, teaching};
use crate::teaching::Teacher;

/// Port of the page unless one is given.
const PORT: u16 = 8470;

/// Channels of the smallest published Pixio, ViT-B.
const SMALLEST_PIXIO: usize = 768;

/// Name of the camera that pages and the folder feed.
const CAMERA: &str = "live";

/// Serves the page until SIGINT, SIGTERM, SIGHUP or the end of a stage. Images come from pages, or from
/// `folder`, or the room walk, as long as no page feeds.
///
/// # Errors
/// Setup errors before the page is served, a stage's own later.
pub fn live(
    config: &Config,
    values: &Values,
    log: Log,
    folder: Option<&Path>,
    signals: Signals,
) -> Result<(), Failure> {
    let (ended, end) = mpsc::channel();
    let _signals = signals.notify(&ended)?;
    let stats_file = config.stats_file.as_deref().map(report::open).transpose().setup()?;
    let given = folder.map(Folder::open).transpose().setup()?;
    let folder = given.or_else(room_walk);
    let door = open(config, config.live_port.unwrap_or(PORT)).setup()?;

    let mut model = Model::load(config).setup()?;
    if end.try_recv().is_ok() {
        return Ok(());
    }
    let warm = model.warm(config).running()?;
    let live = Arc::new(Live::new(values.clone(), move |level| log.set_level(level)));
    let shared = Shared::new(1, live, Arc::new(Clock::new(false)));
    // The page hears of classes by the slate.
    let unheard = Box::new(|_: &[Class]| ());
    let (teacher, teaching) = teaching::start(&mut model, &shared.lessons, unheard, &ended).setup()?.unzip();
    let common = model.common(teaching);
    let legend = common.teaching.as_ref().map(|teaching| teaching.legend());
    let about = about(&model, config, legend, None, vec![CAMERA.to_owned()]);
    let viewers = Viewers::new(Arc::clone(&shared.viewed), Arc::clone(&shared.lessons));
    let encoder = model.encoder(config);
    let streams = model.streams(config, warm).running()?;
    let threads = streams.threads;
    let workers = model.workers(config, &common, streams).running()?;
    let sink = Box::new(ViewerSink::new(Arc::clone(&viewers)));
    let work = Work { workers, threads, batch_max: 1, encoder, sink };
    let cameras = vec![Camera { name: CAMERA.to_owned(), fitter: fitter(config) }];
    let (pipeline, intakes) = Pipeline::start(cameras, work, &shared, &ended).running()?;
    let feed = intakes.into_iter().next().map(|intake| Feed::new(intake, shared.clone(), folder));

    let mut out = Stdout::default();
    out.line(format_args!("open {}", door.url()));
    if !out.is_open() {
        // Nobody would know where the page is.
        console::say(format!("open {}\n", door.url()));
    }
    let content = Content { about, shared: shared.clone(), common, viewers, feed };
    let server = Server::start(door, content, &ended).running()?;
    let reporter = Reporter::new(shared, vec![CAMERA.to_owned()], config.stats_period_secs, stats_file);
    let reporting = reporter.start(&ended).running()?;
    // An error means that every sender is gone, which is an end as well.
    let _ended = end.recv();
    // The feed ends with the server, and the pipeline when its intake is gone.
    let served = server.stop();
    let stopped = pipeline.stop();
    let taught = teacher.map_or(Ok(()), Teacher::stop);
    thread::all([served, stopped, reporting.stop(), taught]).running()
}

/// Takes the port of the live page that `config` asks for, if it does.
///
/// # Errors
/// As [`Door::open`].
pub(super) fn door(config: &Config) -> anyhow::Result<Option<Door>> {
    config.live_port.map(|port| open(config, port)).transpose()
}

fn open(config: &Config, port: u16) -> anyhow::Result<Door> {
    let address = config.live_address;
    let door = Door::open(address, port)?;
    if !address.to_canonical().is_loopback() {
        tracing::warn!(
            "live_address: {address} is reached from other machines, and what the page shows travels there \
             unencrypted; ssh -L {port}:127.0.0.1:{port} needs no other address than 127.0.0.1"
        );
    }
    Ok(door)
}

/// What the page says of `model`, whose segmentation may be `taught`.
pub(super) fn about(
    model: &Model,
    config: &Config,
    taught: Option<Legend>,
    node: Option<String>,
    cameras: Vec<String>,
) -> About {
    let card = &model.card;
    let channels = model.pixio().config().hidden_size;
    let warning = if card.name.starts_with("random:") {
        Some("These weights are random: nothing that is shown here means anything.".to_owned())
    } else {
        (channels < SMALLEST_PIXIO).then(|| {
            format!(
                "This model has {channels} channels; the smallest published Pixio, ViT-B, has {SMALLEST_PIXIO}. \
                 It shows how the page works, not what Pixio sees."
            )
        })
    };
    let input = input_size(config);
    About {
        node,
        cameras,
        model: AboutModel {
            name: card.name.clone(),
            revision: card.revision.clone(),
            layer: card.layer,
            channels,
            input: [input.width, input.height],
            engine: model.engine.kind(),
            place: model.place(),
            warning,
        },
        has_depth: model.head_set.depth.is_some(),
        classes: taught.or_else(|| legend(&model.head_set)).map(|legend| legend.classes.to_vec()),
        teaching: config.teaching,
    }
}

/// The walk through a room that comes with the project, where it is: in the repository or beside an installed
/// program.
fn room_walk() -> Option<Folder> {
    let program = std::env::current_exe().ok();
    let beside = program.iter().flat_map(|program| program.ancestors().skip(1).take(3).map(Path::to_owned));
    let places = [PathBuf::from(".")].into_iter().chain(beside);
    let mut folders = places.flat_map(|place| {
        ["data/room-walk", "share/pixio_node/data/room-walk"].map(|folder| place.join(folder))
    });
    folders.find_map(|folder| Folder::open(&folder).ok())
}
