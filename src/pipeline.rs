//! The wiring: the only place that knows stages, channels and threads at once.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context;
use crossbeam_channel as channel;

use crate::config::{Live, Outputs};
use crate::engine::{Engine, EngineError, Tokens};
use crate::logging::Throttle;
use crate::runtime::clock::Clock;
use crate::runtime::latest::{self, Closed};
use crate::runtime::monitor::Monitor;
use crate::runtime::pace::{Estimate, Pace};
use crate::runtime::pool::Pool;
use crate::runtime::query::Query;
use crate::runtime::rate::RateLimit;
use crate::runtime::statistics::{Accounting, Batches, Latencies, Span};
use crate::runtime::thread::{self, Stage};
use crate::runtime::wanted::{DEPTH, FEATURES, SEGMENTATION, Topic, Topics, Wanted};
use crate::stages::camera::{Frame, Stamp};
use crate::stages::fit::Fitter;
use crate::stages::forward::{Input, forward};
use crate::stages::heads::{Heads, Output};
use crate::stages::publish::{Encoder, Sent, Sink, Times};

/// Least time between two warnings about the same camera.
const WARN_PERIOD: Duration = Duration::from_secs(5);

/// One camera as the pipeline sees it.
pub struct Camera {
    /// For logs and thread names.
    pub name: String,
    /// Makes model inputs from this camera's pictures.
    pub fitter: Fitter,
}

/// What the threads share. Lists have an entry for every camera.
#[derive(Clone)]
pub struct Shared {
    /// Topics with subscribers.
    pub subscribed: Arc<[Wanted]>,
    /// What somebody points at.
    pub queries: Arc<[Query]>,
    /// Parameters that change while the node runs.
    pub live: Arc<Live>,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// The fate of every frame.
    pub accounting: Arc<[Accounting]>,
    /// How long each stage took.
    pub latencies: Arc<[Latencies]>,
    /// What is seen of the camera.
    pub monitors: Arc<[Monitor]>,
    /// Forward passes by their number of pictures.
    pub batches: Arc<Batches>,
}

impl Shared {
    /// For `n_cameras` cameras.
    pub fn new(n_cameras: usize, live: Arc<Live>, clock: Arc<Clock>) -> Self {
        fn of_each<T: Default>(n_cameras: usize) -> Arc<[T]> {
            (0..n_cameras).map(|_| T::default()).collect()
        }
        Self {
            subscribed: of_each(n_cameras),
            queries: of_each(n_cameras),
            live,
            clock,
            accounting: of_each(n_cameras),
            latencies: of_each(n_cameras),
            monitors: of_each(n_cameras),
            batches: Arc::default(),
        }
    }

    /// What is to be made of a camera's frames now: what has subscribers, as far as it is not switched off.
    pub fn wanted(&self, camera: usize) -> Topics {
        let Outputs { features, embedding, depth, segmentation } = self.live.outputs();
        let groups: [(bool, &[Topic]); 4] = [
            (features, &FEATURES),
            (embedding, &[Topic::Embedding]),
            (depth, &DEPTH),
            (segmentation, &SEGMENTATION),
        ];
        let off = groups.into_iter().filter(|(is_on, _)| !is_on);
        off.fold(self.subscribed[camera].get(), |topics, (_, group)| topics.without(group))
    }

    /// Time since `stamp`, zero for one from the future; `None` when the clock has not been told the time yet.
    fn age(&self, stamp: Stamp) -> Option<Duration> {
        let age = self.clock.now_nanos()?.saturating_sub(stamp.nanos());
        Some(Duration::from_nanos(u64::try_from(age).unwrap_or_default()))
    }
}

/// The running threads from the first frame to the last message.
pub struct Pipeline {
    stopping: Arc<AtomicBool>,
    /// Upstream first: the order in which they end and are asked why.
    stages: Vec<Stage>,
}

/// Where one camera's frames enter. Dropping it closes the camera.
pub struct Intake {
    frames: latest::Sender<Frame>,
    shared: Shared,
    rate: RateLimit,
    camera: usize,
}

impl Pipeline {
    /// Starts all threads; at most `batch_max` pictures go through the model at once, and `ended` hears of each thread
    /// that ends. Returns one [`Intake`] per camera.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(
        cameras: Vec<Camera>,
        (engine, batch_max): (Box<dyn Engine>, usize),
        heads: Heads,
        publishing: (Encoder, Box<dyn Sink>),
        shared: &Shared,
        ended: &mpsc::Sender<()>,
    ) -> anyhow::Result<(Self, Vec<Intake>)> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (inputs, waiting) = latest::slots::<Input>(cameras.len());
        let (outputs, ready) = channel::bounded::<Output>(1);
        let (mut stages, mut intakes) = (Vec::new(), Vec::new());
        let pace = Arc::<Pace>::default();

        for (camera, (Camera { name, fitter }, inputs)) in cameras.into_iter().zip(inputs).enumerate() {
            let (frames, arriving) = latest::channel();
            let (for_fit, pace) = (shared.clone(), Arc::clone(&pace));
            let fit = FitLoop { fitter, inputs, shared: for_fit, pace, camera, name: name.clone() };
            stages.push(Stage::spawn(format!("fit-{name}"), ended.clone(), move || fit.run(&arriving))?);
            intakes.push(Intake { frames, shared: shared.clone(), rate: RateLimit::default(), camera });
        }
        let model = ModelLoop {
            engine,
            batch_max,
            heads,
            outputs,
            pace,
            usual: BTreeMap::new(),
            too_old: Throttle::new(WARN_PERIOD),
            shared: shared.clone(),
            stopping: Arc::clone(&stopping),
        };
        stages.push(Stage::spawn("model", ended.clone(), move || model.run(&waiting))?);
        let (encoder, sink) = publishing;
        let publishing = PublishLoop { encoder, sink, shared: shared.clone() };
        stages.push(Stage::spawn("publish", ended.clone(), move || publishing.run(&ready))?);
        Ok((Self { stopping, stages }, intakes))
    }

    /// Finishes the forward pass in hand, drops what waits before it, counted as displaced, and
    /// joins all threads. The intakes must be gone: they keep the pipeline open.
    ///
    /// # Errors
    /// Those of all stages that failed, upstream first.
    pub fn stop(self) -> anyhow::Result<()> {
        // Only the last waiting frame of each camera can still be there: this spares its forward pass.
        self.stopping.store(true, Ordering::Relaxed);
        thread::all(self.stages.into_iter().map(Stage::join).collect::<Vec<_>>())
    }
}

impl Intake {
    /// Takes one frame, or counts why not. Never waits. Breaks when the pipeline has ended.
    pub fn push(&mut self, frame: Frame) -> ControlFlow<()> {
        let accounting = &self.shared.accounting[self.camera];
        Accounting::count(&accounting.received);
        let (received, now) = (frame.received, self.shared.clock.now_nanos());
        let monitor = &self.shared.monitors[self.camera];
        monitor.arrived(received, frame.header.stamp.nanos(), now, frame.picture.n_bytes());
        let admitted = self.rate.admit(self.shared.live.max_rate(self.camera), received);
        if self.shared.wanted(self.camera).is_idle() || !admitted {
            Accounting::count(&accounting.unwanted);
            return ControlFlow::Continue(());
        }
        match self.frames.replace(frame) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(_)) => {
                Accounting::count(&accounting.displaced);
                ControlFlow::Continue(())
            }
            Err(Closed) => {
                Accounting::count(&accounting.displaced);
                ControlFlow::Break(())
            }
        }
    }

    /// For messages of this camera that could not even be read as a frame.
    pub fn refusals(&self) -> Refusals {
        Refusals { shared: self.shared.clone(), camera: self.camera, throttle: Throttle::new(WARN_PERIOD) }
    }
}

/// Counts what one camera sent that is no frame.
pub struct Refusals {
    shared: Shared,
    camera: usize,
    throttle: Throttle,
}

impl Refusals {
    /// Counts one message and warns, throttled; `why` is for people.
    pub fn refuse(&mut self, why: &str) {
        let accounting = &self.shared.accounting[self.camera];
        Accounting::count(&accounting.received);
        let n = accounting.refuse("message");
        let why = format!("a message is not what its type says: {why}");
        self.shared.monitors[self.camera].refused(Instant::now(), why.clone());
        if self.throttle.admit().is_some() {
            tracing::warn!("{why} ({n} so far)");
        }
    }
}

/// Camera pictures in, model inputs out.
struct FitLoop {
    fitter: Fitter,
    inputs: latest::Sender<Input>,
    shared: Shared,
    pace: Arc<Pace>,
    camera: usize,
    name: String,
}

impl FitLoop {
    fn run(mut self, frames: &latest::Receiver<Frame>) -> anyhow::Result<()> {
        let accounting = &self.shared.accounting[self.camera];
        let monitor = &self.shared.monitors[self.camera];
        let latencies = &self.shared.latencies[self.camera];
        let pool = Pool::<Vec<u8>>::default();
        let throttle = Throttle::new(WARN_PERIOD);
        let mut usual = Estimate::high();
        while frames.wait().is_ok() {
            // While the model is busy a frame stays where a newer one displaces it before it costs anything.
            if let Some(wait) = self.pace.wait_for(usual.get(), Instant::now()) {
                std::thread::sleep(wait);
            }
            let Ok(frame) = frames.recv() else { break };
            let started = Instant::now();
            let mut pixels = pool.lease();
            let geometry = match self.fitter.fit(&frame, &mut pixels) {
                Ok(geometry) => geometry,
                Err(err) => {
                    let n = accounting.refuse(err.reason());
                    monitor.refused(started, err.to_string());
                    if throttle.admit().is_some() {
                        tracing::warn!("{}: frame refused: {err} ({n} so far for this reason)", self.name);
                    }
                    continue;
                }
            };
            monitor.read(started, geometry.camera);
            let input = Input::new(frame, pixels, geometry);
            latencies.record(Span::Fit, input.fitted - started);
            usual.add(input.fitted - started);
            match self.inputs.replace(input) {
                Ok(None) => (),
                Ok(Some(_)) => Accounting::count(&accounting.displaced),
                Err(Closed) => {
                    Accounting::count(&accounting.displaced);
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Model inputs in, outputs out: the one thread that owns the model.
struct ModelLoop {
    engine: Box<dyn Engine>,
    batch_max: usize,
    heads: Heads,
    outputs: channel::Sender<Output>,
    shared: Shared,
    pace: Arc<Pace>,
    /// How long batches take, by their number of pictures.
    usual: BTreeMap<usize, Estimate>,
    too_old: Throttle,
    stopping: Arc<AtomicBool>,
}

impl ModelLoop {
    fn run(mut self, inputs: &latest::Receiver<Input>) -> anyhow::Result<()> {
        while let Ok(mut batch) = inputs.recv_batch(self.batch_max, Input::goes_with) {
            batch.retain(|input| self.is_served(input));
            if !batch.is_empty() {
                self.serve(batch)?;
            }
        }
        Ok(())
    }

    /// Whether `input` is still worth a forward pass; counts why not.
    fn is_served(&self, input: &Input) -> bool {
        let accounting = &self.shared.accounting[input.camera];
        let waited = input.received.elapsed().as_secs_f64();
        let fate = if self.stopping.load(Ordering::Relaxed) {
            &accounting.displaced
        } else if self.shared.wanted(input.camera).is_idle() {
            &accounting.unwanted
        } else if self.shared.live.max_age_secs().is_some_and(|max_age| max_age < waited) {
            Accounting::count(&accounting.too_old);
            if self.too_old.admit().is_some() {
                tracing::warn!(
                    "a frame has waited {waited:.1} s for the model, longer than max_age: it counts as displaced"
                );
            }
            &accounting.displaced
        } else {
            return true;
        };
        Accounting::count(fate);
        false
    }

    fn serve(&mut self, batch: Vec<Input>) -> anyhow::Result<()> {
        let (started, n_pictures) = (Instant::now(), batch.len());
        let usual = self.usual.entry(n_pictures).or_insert_with(Estimate::low);
        self.pace.busy_until(started + usual.get());
        let mut wanted = Vec::with_capacity(n_pictures);
        let mut n_taps = 0;
        for input in &batch {
            self.shared.latencies[input.camera].record(Span::Wait, started - input.fitted);
            if let Some(pixel) = self.shared.queries[input.camera].take() {
                self.heads.ask(input.camera, pixel);
            }
            let topics = self.shared.wanted(input.camera);
            n_taps = n_taps.max(self.heads.n_taps(topics, input.camera, &input.geometry));
            wanted.push(topics);
        }
        let tokens = match n_taps {
            0 => Tokens::default(),
            n_taps => {
                self.shared.batches.count(n_pictures);
                forward(&mut *self.engine, &batch.iter().collect::<Vec<_>>(), n_taps)?
            }
        };
        let forward_time = started.elapsed();
        for (index, (input, wanted)) in batch.into_iter().zip(wanted).enumerate() {
            let latencies = &self.shared.latencies[input.camera];
            latencies.record(Span::Forward, forward_time);
            let started = Instant::now();
            // The windows of one picture belong together.
            let tokens = match n_pictures {
                1 => &tokens,
                _ => &tokens.of_picture(index).map_err(EngineError::from)?,
            };
            let output = self.heads.run(input, tokens, wanted, self.shared.live.depth_limits())?;
            latencies.record(Span::Heads, started.elapsed());
            self.outputs.send(output).ok().context("publish has ended")?;
        }
        if let Some(usual) = self.usual.get_mut(&n_pictures) {
            usual.add(started.elapsed());
        }
        self.pace.free();
        Ok(())
    }
}

/// Outputs in, messages out.
struct PublishLoop {
    encoder: Encoder,
    sink: Box<dyn Sink>,
    shared: Shared,
}

impl PublishLoop {
    fn run(mut self, outputs: &channel::Receiver<Output>) -> anyhow::Result<()> {
        while let Ok(output) = outputs.recv() {
            let started = Instant::now();
            let Output { camera, received, wanted, .. } = output;
            let (accounting, latencies) = (&self.shared.accounting[camera], &self.shared.latencies[camera]);
            let (stamp, lacks) = (output.header.stamp, output.lacks.clone());
            let encoded = self.encoder.encode(&output, self.shared.live.overlay_opacity())?;
            let sent = self.sink.send(output, encoded);
            let times = Times { pipeline_latency: self.shared.age(stamp), processing: received.elapsed() };
            latencies.record(Span::Publish, started.elapsed());
            latencies.record(Span::Total, times.processing);
            times.pipeline_latency.into_iter().for_each(|age| latencies.record(Span::Age, age));
            if 0 < sent.n_sent {
                let monitor = &self.shared.monitors[camera];
                monitor.published(Instant::now(), stamp.nanos(), times.pipeline_latency, lacks);
                self.sink.tell(camera, wanted, times);
            }
            // Last: whoever sees the frame in the books finds its latencies.
            match sent {
                Sent { n_sent: 0, n_failed: 0 } => Accounting::count(&accounting.unwanted),
                Sent { n_sent: 0, .. } => {
                    accounting.refuse("not sent");
                }
                Sent { .. } => Accounting::count(&accounting.published),
            }
        }
        Ok(())
    }
}
