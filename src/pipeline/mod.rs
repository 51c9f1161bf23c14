//! The wiring: the only place that knows stages, channels and threads at once.

mod lacking;
mod loops;
mod pace;
mod query;
mod rate;
mod shared;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use anyhow::Context;
use crossbeam_channel as channel;

use crate::engine::readback::Readback;
use crate::engine::threads::PassThreads;
use crate::logging::{BETWEEN_WARNINGS, Throttle};
use crate::runtime::input_pixels::InputPool;
use crate::runtime::latest::{self, Closed};
use crate::runtime::statistics::Accounting;
use crate::runtime::thread::{self, Stage};
use crate::stages::camera::{CameraListener, Frame};
use crate::stages::derive::{Derived, Worker};
use crate::stages::fit::Fitter;
use crate::stages::forward::Input;
use crate::stages::publish::{Encoder, Sink};
use lacking::Lacking;
use loops::{FitLoop, ModelLoop, PublishLoop};
use pace::Pace;
use rate::RateLimit;

pub use query::Query;
pub use shared::Shared;

/// One camera as the pipeline sees it.
pub struct Camera {
    /// For logs and thread names.
    pub name: String,
    /// Makes model inputs from this camera's images.
    pub fitter: Fitter,
}

/// What the cameras' frames go through, one after the other.
pub struct Work {
    /// Run the model, each a batch at a time; one at least.
    pub workers: Vec<Worker>,
    /// CPU threads of each of them.
    pub threads: PassThreads,
    /// Images of one batch, at most.
    pub batch_max: usize,
    /// Makes outputs ready for the wire.
    pub encoder: Encoder,
    /// Carries them away.
    pub sink: Box<dyn Sink>,
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
    /// Of warnings about messages that cannot be read.
    refusals: Throttle,
    camera: usize,
}

impl Pipeline {
    /// Starts all threads; `ended` hears of each that ends. Returns one [`Intake`] per camera.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(
        cameras: Vec<Camera>,
        work: Work,
        shared: &Shared,
        ended: &mpsc::Sender<()>,
    ) -> anyhow::Result<(Self, Vec<Intake>)> {
        let Work { workers, threads, batch_max, encoder, sink } = work;
        let memory = workers.first().context("no worker for the model")?.engine.host_memory();
        let stopping = Arc::new(AtomicBool::new(false));
        let (inputs, waiting) = latest::slots::<Input>(cameras.len());
        let (outputs, ready) = channel::bounded::<Derived>(1);
        let (mut stages, mut intakes) = (Vec::new(), Vec::new());
        let pace = Arc::new(Pace::new(workers.len()));

        let lacking = Lacking::new(cameras.iter().map(|camera| camera.name.clone()).collect());
        for (camera, (Camera { name, fitter }, inputs)) in cameras.into_iter().zip(inputs).enumerate() {
            let (frames, arriving) = latest::channel();
            let (for_fit, pace) = (shared.clone(), Arc::clone(&pace));
            let pool = InputPool::new(memory);
            let fit = FitLoop { fitter, inputs, shared: for_fit, pace, pool, camera, name: name.clone() };
            stages.push(Stage::spawn(format!("fit-{name}"), ended.clone(), move || fit.run(&arriving))?);
            let refusals = Throttle::new(BETWEEN_WARNINGS);
            let (shared, rate) = (shared.clone(), RateLimit::default());
            intakes.push(Intake { frames, shared, rate, refusals, camera });
        }
        let waiting = Arc::new(waiting);
        let n_workers = workers.len();
        for (worker, Worker { engine, deriver }) in workers.into_iter().enumerate() {
            let model = ModelLoop {
                readback: Readback::new(engine.host_memory()),
                engine,
                worker,
                batch_max,
                threads,
                deriver,
                outputs: outputs.clone(),
                pace: Arc::clone(&pace),
                usual: BTreeMap::new(),
                too_old: Throttle::new(BETWEEN_WARNINGS),
                shared: shared.clone(),
                stopping: Arc::clone(&stopping),
            };
            let name = if n_workers == 1 { "model".to_owned() } else { format!("model-{worker}") };
            let waiting = Arc::clone(&waiting);
            stages.push(Stage::spawn(name, ended.clone(), move || model.run(&waiting))?);
        }
        // They hear of the end from the workers' own.
        drop((outputs, waiting));
        let newest = vec![None; shared.accounting.len()];
        let publishing = PublishLoop { encoder, sink, shared: shared.clone(), lacking, newest };
        stages.push(Stage::spawn("publish", ended.clone(), move || publishing.run(&ready))?);
        Ok((Self { stopping, stages }, intakes))
    }

    /// Finishes the forward passes in hand, drops what waits before it, counted as displaced, and
    /// joins all threads. The intakes must be gone: they keep the pipeline open.
    ///
    /// # Errors
    /// The errors of all stages that failed, upstream first.
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
        self.shared.arrived(self.camera, &frame);
        let admitted = self.rate.admit(self.shared.live.max_rate(self.camera), frame.received);
        // Whoever teaches waits for the next frame, whatever the rate.
        let is_unwanted = self.shared.wanted(self.camera).is_idle() || !admitted;
        if is_unwanted && !self.shared.lessons[self.camera].wait() {
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
}

impl CameraListener for Intake {
    fn frame(&mut self, frame: Frame) {
        // Main hears from the stage itself that the pipeline has ended.
        let _ended = self.push(frame);
    }

    fn refused(&mut self, why: &str) {
        let accounting = &self.shared.accounting[self.camera];
        Accounting::count(&accounting.received);
        let n = accounting.refuse("message");
        let why = format!("a message is not what its type says: {why}");
        self.shared.monitors[self.camera].refused(Instant::now(), why.clone());
        if self.refusals.admit().is_some() {
            tracing::warn!("{why} ({n} so far)");
        }
    }

    fn query(&mut self, pixel: [f64; 2]) {
        self.shared.queries[self.camera].ask(pixel);
    }
}
