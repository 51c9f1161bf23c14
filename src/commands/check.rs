//! `check`: everything that the node would need, tried once, as a table.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::commands::Failure;
use crate::commands::model::{Model, fitter, head_files};
use crate::commands::run::{Launch, address, message_bytes, parameters};
use crate::config::{Config, Fit};
use crate::geometry::Size;
use crate::report;
use crate::ros::checks::ReceiveBuffers;
use crate::ros::{Camera, Edge, Options};
use crate::runtime::pool::Pool;
use crate::runtime::wanted::{Topic, Topics};
use crate::stages::camera::{Frame, Header, Picture, Raster};
use crate::stages::forward::{Input, forward};

/// How long `check` listens for cameras and pictures.
const LISTEN: Duration = Duration::from_secs(3);

/// The picture whose way through the node is tried.
const PICTURE: Size = Size { width: 1280, height: 720 };

/// The rows of the table, printed as they come.
#[derive(Default)]
struct Table {
    n_failed: usize,
}

impl Table {
    fn row(&mut self, verdict: &str, what: &str, detail: &str) {
        println!("{verdict:<5} {what:<16} {detail}");
    }

    fn ok(&mut self, what: &str, detail: impl AsRef<str>) {
        self.row("ok", what, detail.as_ref());
    }

    fn warn(&mut self, what: &str, detail: impl AsRef<str>) {
        self.row("WARN", what, detail.as_ref());
    }

    /// The value of a step that passed; one that did not is a row and counted.
    fn pass<T>(&mut self, what: &str, outcome: anyhow::Result<T>) -> Option<T> {
        outcome
            .inspect_err(|err| {
                self.n_failed += 1;
                self.row("FAIL", what, &format!("{err:#}"));
            })
            .ok()
    }
}

/// Loads all that the node would, runs one synthetic frame, looks at the network and at what is
/// published there, and prints a row for each.
///
/// # Errors
/// A row failed.
pub fn check(launch: Launch) -> Result<(), Failure> {
    let mut table = Table::default();
    if let Some(path) = &launch.config.stats_file
        && table.pass("reports", report::open(path)).is_some()
    {
        table.ok("reports", path.display().to_string());
    }
    let model = table.pass("model", Model::load(&launch.config));
    if let Some(mut model) = model {
        let config = model.pixio().config();
        table.ok(
            "model",
            format!(
                "{} revision {}: {} blocks of {}, {}",
                model.card.name,
                model.card.revision,
                config.num_hidden_layers,
                config.hidden_size,
                model.place()
            ),
        );
        match model.lacks_engine {
            true => table.ok("engine", format!("eager; `{}` compiles one", model.task.build_command())),
            false => table.ok("engine", model.engine.kind()),
        }
        match (&model.basis, &model.basis_path) {
            (Some(basis), Some(path)) => {
                table.ok("PCA basis", format!("{} from {}", basis.hash, path.display()))
            }
            _ => table.ok("PCA basis", "none yet: it will be estimated over the first frames"),
        }
        for (name, file, _) in head_files(&launch.config) {
            table.ok(name, format!("head {}", file.display()));
        }
        let tried = frame_path(&mut model, &launch.config);
        if let Some(text) = table.pass("frame path", tried) {
            table.ok("frame path", text);
        }
        network(&mut table, &model, launch);
    }
    let n = table.n_failed;
    if n == 0 { Ok(()) } else { Err(Failure::Running(anyhow::anyhow!("{n} of the checks failed"))) }
}

/// One synthetic picture through fit, model and heads.
fn frame_path(model: &mut Model, config: &Config) -> anyhow::Result<String> {
    let forward_time = model.warm(config)?;
    let bytes: Vec<u8> = (0..PICTURE.width * PICTURE.height * 3).map(|i| (i / 1000 % 256) as u8).collect();
    let frame = Frame {
        header: Header::default(),
        camera: 0,
        received: Instant::now(),
        picture: Picture::Raw(Raster {
            encoding: "bgr8".into(),
            width: PICTURE.width,
            height: PICTURE.height,
            step: PICTURE.width * 3,
            big_endian: false,
            bytes: bytes.into(),
        }),
        intrinsics: None,
    };
    let mut pixels = Pool::default().lease();
    let mut fitter = fitter(config);
    fitter.fit(&frame, &mut pixels)?;
    let started = Instant::now();
    let geometry = fitter.fit(&frame, &mut pixels)?;
    let fit_time = started.elapsed();
    let input = Input::new(frame, pixels, geometry);
    let wanted: Topics =
        [Topic::Features, Topic::Embedding, Topic::Depth, Topic::Labels].into_iter().collect();
    let tokens = forward(&mut *model.engine, &input, usize::MAX)?;
    let output = model.heads(config)?.run(input, &tokens, wanted)?;
    if let Some(depth) = &output.depth {
        ensure!(
            depth.meters.iter().any(|meters| meters.is_finite()),
            "the depth head's output is not finite"
        );
    }
    if config.fit == Fit::Window {
        return Ok("windows went through the model and the heads".to_owned());
    }
    let embedding = output.embedding.context("no embedding came out")?;
    ensure!(embedding.pooled.iter().all(|value| value.is_finite()), "the model's output is not finite");
    let features = output.features.context("no features came out")?;
    Ok(format!(
        "{}x{} bgr8 -> {}x{} patches of {}: fit {:.1} ms, forward {:.1} ms",
        PICTURE.width,
        PICTURE.height,
        features.grid.width,
        features.grid.height,
        features.channels,
        fit_time.as_secs_f64() * 1e3,
        forward_time.as_secs_f64() * 1e3,
    ))
}

fn network(table: &mut Table, model: &Model, launch: Launch) {
    let Launch { config, values, names, environment, log } = launch;
    let buffers = ReceiveBuffers::of_this_machine();
    let frame_bytes = 1920 * 1080 * 3;
    match buffers.advice(frame_bytes) {
        Some(advice) => table.warn("receive buffers", advice),
        None => table.ok("receive buffers", "net.core.rmem_max is enough for 1080p pictures"),
    }
    let chosen = address(&config, environment);
    let Some(address) = table.pass("network", chosen.map_err(anyhow::Error::from)) else {
        return;
    };
    table.ok("network", format!("{address}, ROS domain {}", environment.domain_id));

    let (ended, _end) = mpsc::channel();
    let parameters = parameters(&values, log).0;
    let full_name = names.fully_qualified();
    let options =
        Options { names, domain_id: environment.domain_id, address, parameters, records: None, ended };
    let listened =
        Edge::open(options).and_then(|mut edge| listen(table, &mut edge, model, &config).map(|()| edge));
    let left = listened.and_then(Edge::close);
    if table.pass("node", left).is_some() {
        table.ok("node", format!("{full_name} joined and left the graph"));
    }
}

/// What the cameras publish, and whether it comes.
fn listen(table: &mut Table, edge: &mut Edge, model: &Model, config: &Config) -> anyhow::Result<()> {
    let bytes = |topic| message_bytes(topic, config, model);
    let publishers = edge.publishers(&[String::new()], &model.made, config.output_reliability, bytes)?;
    let (arrived, arrivals) = mpsc::channel();
    let camera = Camera {
        index: 0,
        prefix: String::new(),
        transport: config.image_transport,
        reliability: config.image_reliability,
        pool: Pool::default(),
    };
    let note = move |frame: Frame| {
        // At the end nobody counts any more.
        let _uncounted = arrived.send(frame.received);
    };
    let topics = edge.subscribe(camera, note, |_why| (), |_pixel| ())?;
    std::thread::sleep(LISTEN);
    let (mut n_publishers, mut n_fitting) = (0, 0);
    for found in edge.camera_publishers(&topics.image) {
        n_publishers += 1;
        match found {
            Ok(()) => n_fitting += 1,
            Err(why) => table.warn("camera", why),
        }
    }
    let arrivals: Vec<Instant> = arrivals.try_iter().collect();
    let topic = &topics.image;
    match (n_publishers, arrivals.len()) {
        (0, 0) => {
            table.warn("camera", format!("nobody publishes {topic} now: remap `image` or start the camera"))
        }
        (_, 0) if 0 < n_fitting => {
            table.warn(
                "camera",
                format!("{topic}: {n_fitting} publishers fit, yet no picture came in {LISTEN:?}"),
            );
        }
        (_, 0) => (),
        _ => table.ok("camera", format!("{topic}: {:.1} Hz", rate(&arrivals))),
    }
    drop(publishers);
    edge.unsubscribe()
}

/// Frames per second from the first arrival to the last; zero for a single one.
fn rate(arrivals: &[Instant]) -> f64 {
    let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else { return 0.0 };
    let secs = last.duration_since(*first).as_secs_f64();
    if secs == 0.0 { 0.0 } else { (arrivals.len() - 1) as f64 / secs }
}
