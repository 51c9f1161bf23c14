//! The wiring: the only place that knows stages, channels and threads at once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use crossbeam_channel as channel;

use crate::config::Live;
use crate::engine::{Engine, Tokens};
use crate::logging::Throttle;
use crate::runtime::latest::{self, Closed};
use crate::runtime::pace::{Estimate, Pace};
use crate::runtime::pool::Pool;
use crate::runtime::query::Query;
use crate::runtime::rate::RateLimit;
use crate::runtime::statistics::{Accounting, Latencies, Span};
use crate::runtime::thread::{self, Stage};
use crate::runtime::wanted::Wanted;
use crate::stages::camera::{Frame, Stamp};
use crate::stages::fit::Fitter;
use crate::stages::forward::{Input, forward};
use crate::stages::heads::{Heads, Output};
use crate::stages::publish::{Encoder, Sent, Sink};

/// Least time between two warnings about the same camera.
const WARN_PERIOD: Duration = Duration::from_secs(5);

/// One camera as the pipeline sees it.
pub struct Camera {
    /// For logs and thread names.
    pub name: String,
    /// Makes model inputs from this camera's pictures.
    pub fitter: Fitter,
}

/// What the threads share.
#[derive(Clone)]
pub struct Shared {
    /// Topics with subscribers.
    pub wanted: Arc<Wanted>,
    /// What somebody points at, one per camera.
    pub queries: Arc<[Query]>,
    /// Parameters that change while the node runs.
    pub live: Arc<Live>,
    /// The fate of every frame, one per camera.
    pub accounting: Arc<[Accounting]>,
    /// How long each stage took, all cameras together.
    pub latencies: Arc<Latencies>,
}

impl Shared {
    /// For `n_cameras` cameras.
    pub fn new(n_cameras: usize, live: Arc<Live>) -> Self {
        Self {
            wanted: Arc::default(),
            queries: (0..n_cameras).map(|_| Query::default()).collect(),
            live,
            accounting: (0..n_cameras).map(|_| Accounting::default()).collect(),
            latencies: Arc::default(),
        }
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
    /// Starts all threads; `ended` hears of each that ends. Returns one [`Intake`] per camera.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(
        cameras: Vec<Camera>,
        engine: Box<dyn Engine>,
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
            heads,
            outputs,
            pace,
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
        let admitted = self.rate.admit(self.shared.live.max_rate(), frame.received);
        if self.shared.wanted.get().is_empty() || !admitted {
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
        if self.throttle.admit().is_some() {
            tracing::warn!("a message is not what its type says: {why} ({n} so far)");
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
                    if throttle.admit().is_some() {
                        tracing::warn!("{}: frame refused: {err} ({n} so far for this reason)", self.name);
                    }
                    continue;
                }
            };
            let input = Input::new(frame, pixels, geometry);
            self.shared.latencies.record(Span::Fit, input.fitted - started);
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
    heads: Heads,
    outputs: channel::Sender<Output>,
    shared: Shared,
    pace: Arc<Pace>,
    stopping: Arc<AtomicBool>,
}

impl ModelLoop {
    fn run(mut self, inputs: &latest::Receiver<Input>) -> anyhow::Result<()> {
        let latencies = &self.shared.latencies;
        let mut usual = Estimate::low();
        while let Ok(input) = inputs.recv() {
            let accounting = &self.shared.accounting[input.camera];
            if self.stopping.load(Ordering::Relaxed) {
                Accounting::count(&accounting.displaced);
                continue;
            }
            let wanted = self.shared.wanted.get();
            if wanted.is_empty() {
                Accounting::count(&accounting.unwanted);
                continue;
            }
            latencies.record(Span::Wait, input.fitted.elapsed());
            let started = Instant::now();
            self.pace.busy_until(started + usual.get());
            if let Some(pixel) = self.shared.queries[input.camera].take() {
                self.heads.ask(input.camera, pixel);
            }
            let tokens = match self.heads.n_taps(wanted, input.camera, &input.geometry) {
                0 => Tokens::default(),
                n_taps => forward(&mut *self.engine, &input, n_taps)?,
            };
            let forwarded = Instant::now();
            latencies.record(Span::Forward, forwarded - started);
            let output = self.heads.run(input, &tokens, wanted)?;
            latencies.record(Span::Heads, forwarded.elapsed());
            self.outputs.send(output).ok().context("publish has ended")?;
            usual.add(started.elapsed());
            self.pace.free();
        }
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
        let latencies = &self.shared.latencies;
        while let Ok(output) = outputs.recv() {
            let started = Instant::now();
            let accounting = &self.shared.accounting[output.camera];
            let (received, stamp) = (output.received, output.header.stamp);
            let encoded = self.encoder.encode(&output)?;
            let sent = self.sink.send(output, encoded);
            latencies.record(Span::Publish, started.elapsed());
            latencies.record(Span::Total, received.elapsed());
            latencies.record(Span::Age, age(stamp));
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

/// Time since `stamp` by this machine's clock; zero for a stamp from the future.
fn age(stamp: Stamp) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(u64::try_from(stamp.nanos()).unwrap_or_default()))
}
