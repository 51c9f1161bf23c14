//! `check`: everything that the node would need, tried once, as a table.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::commands::Failure;
use crate::commands::describe::head_outputs;
use crate::commands::join::{Joined, Launch, NetworkChoice, NetworkError};
use crate::config::{CameraConfig, Config, Fit, LogLevel};
use crate::console;
use crate::console::stdout::Stdout;
use crate::diagnostics::{Level, Status};
use crate::exemplars::{Exemplars, beside};
use crate::geometry::{CameraModel, Size};
use crate::heads::{Class, Legend};
use crate::outputs::{Topic, Topics};
use crate::pipeline::Shared;
use crate::report;
use crate::ros::checks::ReceiveBuffers;
use crate::ros::{HeadOutputs, RosNode};
use crate::runtime::input_pixels::InputPixels;
use crate::runtime::lock::lock;
use crate::runtime::monitor::Monitor;
use crate::setup::heads::head_files;
use crate::setup::input::fitter;
use crate::setup::{Model, teaching};
use crate::stages::camera::{CameraImage, CameraListener, Frame, Header, Raster};
use crate::stages::derive::{Common, Uncalibrated, usable};
use crate::stages::forward::{Input, forward};
use crate::stages::publish::points_stride;
use crate::teaching::{Lessons, Teacher};
use crate::text;

/// How long `check` listens for cameras and images.
const LISTEN: Duration = Duration::from_secs(3);

/// The image whose way through the node is tried.
const IMAGE: Size = Size { width: 1280, height: 720 };

/// The rows of the table, printed one by one.
#[derive(Default)]
struct Table {
    out: Stdout,
    n_failed: usize,
}

impl Table {
    fn row(&mut self, verdict: &str, what: &str, detail: &str) {
        // What was logged before, on the same terminal perhaps, comes before.
        console::flush();
        self.out.line(format_args!("{verdict:<5} {what:<18} {}", text::one_line(detail)));
    }

    fn ok(&mut self, what: &str, detail: impl AsRef<str>) {
        self.row("ok", what, detail.as_ref());
    }

    fn warn(&mut self, what: &str, detail: impl AsRef<str>) {
        self.row("WARN", what, detail.as_ref());
    }

    fn fail(&mut self, what: &str, detail: impl AsRef<str>) {
        self.n_failed += 1;
        self.row("FAIL", what, detail.as_ref());
    }

    /// The value of a step that passed; one that did not is a row and counted.
    fn pass<T>(&mut self, what: &str, outcome: anyhow::Result<T>) -> Option<T> {
        outcome.inspect_err(|err| self.fail(what, format!("{err:#}"))).ok()
    }

    /// How the checks went; success where stdout is closed.
    fn finish(self) -> Result<(), Failure> {
        let is_read = self.out.is_open();
        self.out.finish().map_err(Failure::Running)?;
        match self.n_failed {
            n if is_read && 0 < n => Err(Failure::Running(anyhow::anyhow!("{n} of the checks failed"))),
            _ => Ok(()),
        }
    }
}

/// Loads all that the node would, runs one synthetic frame, looks at the network and at what is
/// published there, and prints a row for each.
///
/// # Errors
/// A row failed.
pub fn check(launch: Launch) -> Result<(), Failure> {
    // On one screen the rows stand together, and what is wrong beside them.
    if launch.config.log_level == LogLevel::Info && io::stdout().is_terminal() && io::stderr().is_terminal() {
        launch.log.set_level(LogLevel::Warn);
    }
    let mut table = Table::default();
    let listener = launch.signals.end_at_once()?;
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
        match (&model.fell_back, model.lacks_engine) {
            (Some(why), _) => table.warn("engine", format!("fell back to eager: {why}")),
            (None, true) => table.ok("engine", format!("eager; `{}` compiles one", model.build_command)),
            (None, false) => table.ok("engine", model.engine.kind()),
        }
        match (&model.basis.basis, &model.basis.path) {
            (Some(basis), Some(path)) => {
                table.ok("PCA basis", format!("{} from {}", basis.hash, path.display()));
            }
            _ => table.ok("PCA basis", "none yet: the first frames will be used to estimate one"),
        }
        for head in head_files(&launch.config) {
            table.ok(head.task, format!("head {}", head.file.display()));
        }
        let legend = model.exemplars.as_ref().map(Exemplars::legend);
        if let Some(exemplars) = &model.exemplars {
            taught(&mut table, exemplars, &launch.config);
        }
        // Nobody waits for the rest of the rows when nobody reads them.
        if !table.out.is_open() {
            return table.finish();
        }
        let tried = frame_path(&mut model, &launch.config);
        if let Some(text) = table.pass("frame path", tried) {
            table.ok("frame path", text);
        }
        if !table.out.is_open() {
            return table.finish();
        }
        drop(listener);
        network(&mut table, &model, legend, &launch)?;
    }
    table.finish()
}

/// What teaching goes on from.
fn taught(table: &mut Table, exemplars: &Exemplars, config: &Config) {
    let Some(head) = &config.segmentation_head else {
        return table.ok("teaching", "no exemplars yet");
    };
    let text = format!("{} from {}", exemplars.summary(), beside(head).display());
    match exemplars.left_out() {
        Some(left_out) => table.warn("teaching", format!("{text}; {left_out}")),
        None => table.ok("teaching", text),
    }
}

/// One synthetic image through fit, model and heads, one that was taught among them.
fn frame_path(model: &mut Model, config: &Config) -> anyhow::Result<String> {
    let (ended, _end) = mpsc::channel();
    let lessons = config.cameras.iter().map(|_| Lessons::default()).collect();
    let unheard = Box::new(|_: &[Class]| ());
    let (teacher, teaching) = teaching::start(model, &lessons, unheard, &ended)?.unzip();
    let tried = one_frame(model, config, &model.common(teaching));
    teacher.map_or(Ok(()), Teacher::stop)?;
    tried
}

fn one_frame(model: &mut Model, config: &Config, common: &Common) -> anyhow::Result<String> {
    let warm = model.warm(config)?;
    let bytes: Vec<u8> = (0..IMAGE.width * IMAGE.height * 3).map(|i| (i / 1000 % 256) as u8).collect();
    let frame = Frame {
        header: Header::default(),
        camera: 0,
        received: Instant::now(),
        image: CameraImage::Raw(Raster {
            encoding: "bgr8".into(),
            width: IMAGE.width,
            height: IMAGE.height,
            step: IMAGE.width * 3,
            big_endian: false,
            bytes: bytes.into(),
        }),
        intrinsics: None,
    };
    let mut pixels = InputPixels::default();
    let mut fitter = fitter(config);
    fitter.fit(&frame, &mut pixels)?;
    let started = Instant::now();
    let geometry = fitter.fit(&frame, &mut pixels)?;
    let fit_time = started.elapsed();
    let input = Input::new(frame, pixels, geometry);
    let wanted: Topics =
        [Topic::Features, Topic::Embedding, Topic::Depth, Topic::Labels].into_iter().collect();
    let tokens = forward(&mut *model.engine, &[&input], usize::MAX)?;
    let mut deriver = model.deriver(config, common)?;
    deriver.take_taught()?;
    let derived = deriver.run(&*model.engine, input, &tokens, wanted)?;
    if let Some(depth) = &derived.depth {
        ensure!(
            depth.meters.iter().any(|meters| meters.is_finite()),
            "the depth head's output is not finite"
        );
    }
    if config.fit == Fit::Window {
        return Ok("windows went through the model and the heads".to_owned());
    }
    let embedding = derived.embedding.context("no embedding came out")?;
    ensure!(embedding.pooled.iter().all(|value| value.is_finite()), "the model's output is not finite");
    let features = derived.features.context("no features came out")?;
    Ok(format!(
        "{}x{} bgr8 -> {}x{} patches of {}: fit {:.1} ms, forward {warm}",
        IMAGE.width,
        IMAGE.height,
        features.grid.width,
        features.grid.height,
        features.channels,
        fit_time.as_secs_f64() * 1e3,
    ))
}

fn network(table: &mut Table, model: &Model, taught: Option<Legend>, launch: &Launch) -> Result<(), Failure> {
    let buffers = ReceiveBuffers::of_this_machine();
    let frame_bytes = 1920 * 1080 * 3;
    match buffers.advice(frame_bytes) {
        Some(advice) => table.warn("receive buffers", advice),
        None => table.ok("receive buffers", "net.core.rmem_max is enough for 1080p images"),
    }
    let network = match NetworkChoice::choose(launch, |text| table.warn("environment", text)) {
        Ok(network) => network,
        Err(err) => {
            let what = match err {
                NetworkError::Environment(_) => "environment",
                NetworkError::Interface(_) => "network",
            };
            table.fail(what, format!("{:#}", anyhow::Error::from(err)));
            return Ok(());
        }
    };
    launch.environment.told.iter().for_each(|text| table.ok("environment", text));
    table.ok("network", format!("{}, ROS domain {}", network.address, launch.environment.domain_id));

    let (ended, end) = mpsc::channel();
    // Others would see the node for a while if it did not leave the graph.
    let signals = launch.signals.notify(&ended)?;
    let joined = Joined::join(launch, network, None, &ended).map_err(Failure::into_error);
    let listened = joined.and_then(|mut joined| {
        let outputs = head_outputs(&launch.config, model, taught);
        listen(table, &mut joined, &outputs, &launch.config, &end)?;
        Ok(joined.node)
    });
    let left = listened.and_then(RosNode::close);
    signals.obey();
    if table.pass("node", left).is_some() {
        table.ok("node", format!("{} joined and left the graph", launch.names.fully_qualified()));
    }
    Ok(())
}

/// Keeps the last frame of a camera.
struct LastFrame {
    camera: usize,
    shared: Shared,
    frame: Arc<Mutex<Option<Frame>>>,
}

impl CameraListener for LastFrame {
    fn frame(&mut self, frame: Frame) {
        self.shared.arrived(self.camera, &frame);
        *lock(&self.frame) = Some(frame);
    }

    fn refused(&mut self, _why: &str) {}

    fn query(&mut self, _pixel: [f64; 2]) {}
}

/// Has the node in the graph for a while, as it would be, and prints what diagnostics find.
fn listen(
    table: &mut Table,
    joined: &mut Joined,
    outputs: &HeadOutputs,
    config: &Config,
    end: &mpsc::Receiver<()>,
) -> anyhow::Result<()> {
    let publishers = joined.publish(config, outputs).map_err(Failure::into_error)?;
    let frames: Vec<Arc<Mutex<Option<Frame>>>> = config.cameras.iter().map(|_| Arc::default()).collect();
    let shared = joined.shared.clone();
    let listeners = frames.iter().enumerate().map(|(camera, frame)| -> Box<dyn CameraListener> {
        Box::new(LastFrame { camera, shared: shared.clone(), frame: Arc::clone(frame) })
    });
    joined.subscribe(config, listeners)?;
    if end.recv_timeout(LISTEN).is_ok() {
        // A signal, or a failure that closing tells.
        return Ok(());
    }
    for (camera, (monitor, frame)) in config.cameras.iter().zip(shared.monitors.iter().zip(&frames)) {
        if let Some(frame) = lock(frame).take() {
            read(table, camera, config, monitor, &frame);
        }
    }
    for Status { level, name, message, .. } in joined.board.statuses(Instant::now()) {
        // The model and its engine have had rows of their own.
        if name.starts_with("camera") || name == "transport" {
            match level {
                Level::Ok => table.ok(&name, message),
                Level::Warn => table.warn(&name, message),
                Level::Error => table.fail(&name, message),
            }
        }
    }
    drop(publishers);
    joined.node.unsubscribe()
}

/// Whether a camera's image can be read and has a calibration.
fn read(table: &mut Table, camera: &CameraConfig, config: &Config, monitor: &Monitor, frame: &Frame) {
    let name = format!("calibration {}", camera.name);
    let name = name.trim_end();
    match fitter(config).fit(frame, &mut InputPixels::default()) {
        Err(err) => monitor.refused(Instant::now(), err.to_string()),
        Ok(geometry) => match usable(frame.intrinsics.as_deref(), geometry.camera) {
            Ok(model) => usable_calibration(table, name, config, model),
            Err(why) if config.depth_head.is_some() => {
                table.warn(name, format!("{why}: no points, and depth is not scaled to this camera"));
            }
            Err(why @ Uncalibrated::Missing) => table.ok(name, format!("{why}: no camera_info of features")),
            Err(why) => table.warn(name, format!("{why}: no camera_info of features")),
        },
    }
}

/// What is made of a calibration that fits the images.
fn usable_calibration(table: &mut Table, name: &str, config: &Config, model: &CameraModel) {
    let (matrix, focal_length) = (model.projection().matrix(), model.focal_length());
    let text = format!("focal length {focal_length:.1} pixels, from {matrix} of the CameraInfo");
    let rays = match model.optics() {
        // As many as points have.
        Ok(optics) => {
            optics.rays(points_stride(None, model.size())).map(|_| ()).ok_or_else(|| model.no_ray())
        }
        Err(error) => Err(error),
    };
    match rays {
        Err(error) if config.depth_head.is_some() => table.warn(name, format!("{text}; no points: {error}")),
        Ok(()) | Err(_) => table.ok(name, text),
    }
    if !model.blanked().is_empty() {
        let why = Uncalibrated::Partly { parts: model.blanked().to_vec() };
        table.warn(name, why.to_string());
    }
}
