//! The node: start in the order config, model, topics; stop in the opposite one.

use std::fs::File;
use std::sync::{Arc, mpsc};

use crate::commands::background::Background;
use crate::commands::describe::{describe, head_outputs, services};
use crate::commands::join::{Joined, Launch, NetworkChoice};
use crate::commands::live;
use crate::commands::{Failure, OrFailure};
use crate::config::{Config, EngineBuild};
use crate::console;
use crate::diagnostics::Teller;
use crate::engine::swap::Swap;
use crate::exemplars::Exemplars;
use crate::heads::Class;
use crate::live::{Content, Door, Server, ViewerSink, Viewers};
use crate::logging::Log;
use crate::pipeline::{Camera, Intake, Pipeline, Shared, Work};
use crate::report::{self, Reporter, Reporting};
use crate::ros::Publishers;
use crate::runtime::thread;
use crate::setup::input::fitter;
use crate::setup::streams::Streams;
use crate::setup::{Model, teaching};
use crate::stages::camera::CameraListener;
use crate::stages::derive::{Common, Worker};
use crate::stages::publish::Sink;
use crate::teaching::Teacher;

/// Log records that wait for `/rosout` at most; more are dropped rather than waited for.
const ROSOUT_QUEUE: usize = 256;

/// Serves until SIGINT, SIGTERM, SIGHUP or the end of a stage.
///
/// # Errors
/// Setup errors before the node is ready, a stage's own later.
pub fn run(launch: Launch) -> Result<(), Failure> {
    let (ended, end) = mpsc::channel();
    let _signals = launch.signals.notify(&ended)?;
    let stats_file = launch.config.stats_file.as_deref().map(report::open).transpose().setup()?;

    let door = live::door(&launch.config).setup()?;
    let mut present = Present::join(&launch, &ended)?;
    let mut model = Model::load(&launch.config).setup()?;
    // Loading and warming can take a minute, and a launch file waits for five seconds.
    if end.try_recv().is_ok() {
        return present.leave();
    }
    let warm = model.warm(&launch.config).running()?;
    if end.try_recv().is_ok() {
        return present.leave();
    }
    let taught = model.exemplars.as_ref().map(Exemplars::legend);
    let outputs = head_outputs(&launch.config, &model, taught);
    let publishers = present.joined.publish(&launch.config, &outputs)?;
    let legends = publishers.legends();
    let announce = Box::new(move |classes: &[Class]| legends.say(classes));
    let lessons = &present.joined.shared.lessons;
    let (teacher, teaching) = teaching::start(&mut model, lessons, announce, &ended).setup()?.unzip();
    let common = model.common(teaching);
    let page = door.map(|door| Page::new(door, &launch, &present.joined.shared, &model, &common));
    let sink = match &page {
        Some(page) => page.before(publishers),
        None => Box::new(publishers),
    };
    present.joined.node.serve(services(&launch.config, &present.joined.shared.live, &common)).setup()?;
    let streams = model.streams(&launch.config, warm).running()?;
    describe(&present.joined.board, &launch.config, &model, &common.basis, warm, streams.n());

    let (work, background) = present.work(&launch.config, model, &common, streams, sink)?;
    let running = present.start(&launch, work, background, stats_file, page, &ended)?;
    // An error means that every sender is gone, which is an end as well.
    let _ended = end.recv();
    let stopped = running.stop();
    thread::all([stopped, teacher.map_or(Ok(()), Teacher::stop)]).running()
}

/// The live page of a node, before it is served.
struct Page {
    door: Door,
    content: Content,
}

impl Page {
    fn new(door: Door, launch: &Launch, shared: &Shared, model: &Model, common: &Common) -> Self {
        let Launch { config, names, .. } = launch;
        let node = names.fully_qualified();
        let cameras = config.cameras.iter();
        let cameras = cameras.map(|camera| if camera.name.is_empty() { "image" } else { &camera.name });
        let taught = common.teaching.as_ref().map(|teaching| teaching.legend());
        let about = live::about(model, config, taught, Some(node), cameras.map(str::to_owned).collect());
        let viewers = Viewers::new(Arc::clone(&shared.viewed), Arc::clone(&shared.lessons));
        let (shared, common) = (shared.clone(), common.clone());
        Self { door, content: Content { about, shared, common, viewers, feed: None } }
    }

    /// What shows frames to the page before `publishers` send them.
    fn before(&self, publishers: Publishers) -> Box<dyn Sink> {
        let Content { shared, viewers, .. } = &self.content;
        Box::new(ViewerSink::before(
            Box::new(publishers),
            Arc::clone(&shared.subscribed),
            Arc::clone(viewers),
        ))
    }

    fn serve(self, ended: &mpsc::Sender<()>) -> anyhow::Result<Server> {
        let Self { door, content } = self;
        // Not for /rosout: whoever has the token looks on.
        console::say(format!("live page: {}\n", door.url()));
        Server::start(door, content, ended)
    }
}

/// A node that others see before its model is there: parameters, `/rosout` and `/diagnostics`.
struct Present {
    joined: Joined,
    teller: Teller,
}

impl Present {
    fn join(launch: &Launch, ended: &mpsc::Sender<()>) -> Result<Self, Failure> {
        let network = NetworkChoice::choose(launch, |text| tracing::warn!("{text}")).setup()?;
        let (forwarded, records) = crossbeam_channel::bounded(ROSOUT_QUEUE);
        launch.log.forward_to(forwarded);
        let mut joined = Joined::join(launch, network, Some(records), ended)?;
        let out = joined.node.diagnostics(Arc::clone(&joined.shared.clock)).setup()?;
        let tell = move |statuses| out.send(statuses);
        let teller = Teller::start(Arc::clone(&joined.board), tell, ended.clone()).running()?;
        Ok(Self { joined, teller })
    }

    /// Leaves the graph before anything has run.
    fn leave(self) -> Result<(), Failure> {
        drop(self.teller);
        self.joined.node.close().running()
    }

    /// What frames will go through, and the build of a better engine where one is wanted.
    fn work(
        &self,
        config: &Config,
        model: Model,
        common: &Common,
        streams: Streams,
        sink: Box<dyn Sink>,
    ) -> Result<(Work, Option<Background>), Failure> {
        let encoder = model.encoder(config);
        let (n_streams, threads, batch_max) = (streams.n(), streams.threads, streams.batch_max);
        let (better, engines): (Vec<_>, Vec<_>) =
            (0..n_streams).map(|_| crossbeam_channel::bounded(1)).unzip();
        let builds = config.engine_build == EngineBuild::Background && model.lacks_engine;
        let build =
            || Background::start(config, model.job.shallow_clone(), model.head_set.shallow_clone(), better);
        let background = builds.then(build).transpose().setup()?;
        let workers = model.workers(config, common, streams).running()?;
        let with_swap = |(Worker { engine, deriver }, engines)| {
            let board = Arc::clone(&self.joined.board);
            let engine = Box::new(Swap::new(engine, engines, move |kind| board.swapped(kind)));
            Worker { engine, deriver }
        };
        let workers = workers.into_iter().zip(engines).map(with_swap).collect();
        Ok((Work { workers, threads, batch_max, encoder, sink }, background))
    }

    /// Starts the pipeline, and subscribes to the cameras last: a peer that sees a subscription
    /// finds a node that is ready.
    fn start(
        self,
        launch: &Launch,
        work: Work,
        background: Option<Background>,
        stats_file: Option<File>,
        page: Option<Page>,
        ended: &mpsc::Sender<()>,
    ) -> Result<Running, Failure> {
        let Self { joined, teller } = self;
        let Launch { config, names, log, .. } = launch;
        let cameras = config.cameras.iter().map(|camera| Camera {
            name: if camera.name.is_empty() { "image".to_owned() } else { camera.name.clone() },
            fitter: fitter(config),
        });
        let (pipeline, intakes) =
            Pipeline::start(cameras.collect(), work, &joined.shared, ended).running()?;
        // Dropped before the pipeline: its threads end when the receive threads let go of the intakes.
        let mut joined = joined;
        let listener = |intake: Intake| -> Box<dyn CameraListener> { Box::new(intake) };
        let topics = joined.subscribe(config, intakes.into_iter().map(listener)).setup()?;
        tracing::info!("ready: {} subscribes to {}", names.fully_qualified(), topics.join(", "));
        let reporter = Reporter::new(joined.shared.clone(), topics, config.stats_period_secs, stats_file);
        let reporting = reporter.start(ended).running()?;
        let server = page.map(|page| page.serve(ended)).transpose().running()?;
        let log = log.clone();
        Ok(Running { joined, server, background, pipeline, teller, reporting, log })
    }
}

/// Everything that runs, in the order in which it ends; only the node is needed twice: its subscriptions end
/// first, and it leaves the graph last.
struct Running {
    joined: Joined,
    server: Option<Server>,
    background: Option<Background>,
    pipeline: Pipeline,
    teller: Teller,
    reporting: Reporting,
    log: Log,
}

impl Running {
    /// Ends everything, upstream first.
    ///
    /// # Errors
    /// The errors of all that failed.
    fn stop(self) -> anyhow::Result<()> {
        let Self { joined, server, background, pipeline, teller, reporting, log } = self;
        let Joined { mut node, .. } = joined;
        let unsubscribed = node.unsubscribe();
        let shown = server.map_or(Ok(()), Server::stop);
        drop(background);
        let stopped = pipeline.stop();
        drop(teller);
        let reported = reporting.stop();
        if 0 < log.n_lost() {
            tracing::warn!("{} log records did not reach /rosout", log.n_lost());
        }
        let closed = node.close();
        thread::all([unsubscribed, shown, stopped, reported, closed])
    }
}
