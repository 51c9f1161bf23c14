//! What each thread does from its first value to its last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;
use crossbeam_channel as channel;

use super::Shared;
use super::lacking::Lacking;
use super::pace::{Estimate, Pace};
use crate::engine::readback::Readback;
use crate::engine::threads::{PassThreads, set_threads_here};
use crate::engine::{Engine, EngineError, Tokens};
use crate::logging::{BETWEEN_WARNINGS, Throttle};
use crate::outputs::Topics;
use crate::runtime::input_pixels::InputPool;
use crate::runtime::latest::{self, Closed};
use crate::runtime::statistics::{Accounting, Span};
use crate::stages::camera::Frame;
use crate::stages::derive::{Derived, Deriver, Lack};
use crate::stages::fit::Fitter;
use crate::stages::forward::{Input, forward};
use crate::stages::publish::{Encoder, FrameTimes, Sent, Sink};

/// Camera images in, model inputs out.
pub(super) struct FitLoop {
    pub(super) fitter: Fitter,
    pub(super) inputs: latest::Sender<Input>,
    pub(super) shared: Shared,
    pub(super) pace: Arc<Pace>,
    /// Where the model reads its inputs.
    pub(super) pool: InputPool,
    pub(super) camera: usize,
    pub(super) name: String,
}

impl FitLoop {
    pub(super) fn run(mut self, frames: &latest::Receiver<Frame>) -> anyhow::Result<()> {
        let accounting = &self.shared.accounting[self.camera];
        let monitor = &self.shared.monitors[self.camera];
        let latencies = &self.shared.latencies[self.camera];
        let throttle = Throttle::new(BETWEEN_WARNINGS);
        let mut usual = Estimate::high();
        while frames.wait().is_ok() {
            // While the model is busy a frame stays where a newer one displaces it before it costs anything.
            if let Some(wait) = self.pace.wait_for(usual.get(), Instant::now()) {
                std::thread::sleep(wait);
            }
            let Ok(frame) = frames.recv() else { break };
            let started = Instant::now();
            let mut pixels = self.pool.lease();
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

/// Model inputs in, outputs out: one of the threads that run the model, each on an engine of its own.
pub(super) struct ModelLoop {
    pub(super) engine: Box<dyn Engine>,
    /// Its number among those threads.
    pub(super) worker: usize,
    pub(super) batch_max: usize,
    pub(super) threads: PassThreads,
    pub(super) deriver: Deriver,
    pub(super) readback: Readback,
    pub(super) outputs: channel::Sender<Derived>,
    pub(super) shared: Shared,
    pub(super) pace: Arc<Pace>,
    /// How long batches take, by their number of images.
    pub(super) usual: BTreeMap<usize, Estimate>,
    pub(super) too_old: Throttle,
    pub(super) stopping: Arc<AtomicBool>,
}

impl ModelLoop {
    pub(super) fn run(mut self, inputs: &latest::Receiver<Input>) -> anyhow::Result<()> {
        while let Ok(batch) = inputs.recv_batch(self.batch_max, Input::goes_with) {
            let wanted = |input: Input| Some((self.wanted(&input)?, input));
            let batch: Vec<_> = batch.into_iter().filter_map(wanted).collect();
            if !batch.is_empty() {
                self.serve(batch)?;
            }
        }
        Ok(())
    }

    /// What is to be made of `input` if it is still worth a forward pass; counts why not.
    fn wanted(&self, input: &Input) -> Option<Topics> {
        let wanted = self.shared.wanted(input.camera);
        let accounting = &self.shared.accounting[input.camera];
        let waited = input.received.elapsed().as_secs_f64();
        let fate = if self.stopping.load(Ordering::Relaxed) {
            &accounting.displaced
        } else if self.shared.is_idle(input.camera, wanted) {
            &accounting.unwanted
        } else if self.shared.live.max_age_secs().is_some_and(|max_age| max_age < waited) {
            Accounting::count(&accounting.too_old);
            if self.too_old.admit().is_some() {
                tracing::warn!(
                    "a frame has waited {waited:.1} s for the model, longer than max_age: it counts as \
                     displaced"
                );
            }
            &accounting.displaced
        } else {
            return Some(wanted);
        };
        Accounting::count(fate);
        None
    }

    fn serve(&mut self, batch: Vec<(Topics, Input)>) -> anyhow::Result<()> {
        let (started, n_images) = (Instant::now(), batch.len());
        let usual = self.usual.entry(n_images).or_insert_with(Estimate::low);
        let n_busy = self.pace.busy_until(self.worker, started + usual.get());
        set_threads_here(self.threads.of_each(n_busy));
        self.deriver.take_taught()?;
        let mut n_taps = 0;
        for (wanted, input) in &batch {
            self.shared.latencies[input.camera].record(Span::Wait, started - input.fitted);
            if let Some(pixel) = self.shared.queries[input.camera].take() {
                self.deriver.ask(input.camera, pixel);
            }
            let lessons = self.shared.lessons[input.camera].take();
            if !lessons.is_empty() {
                self.deriver.attend(input.camera, lessons);
            }
            n_taps = n_taps.max(self.deriver.n_taps(*wanted, input.camera, &input.geometry));
        }
        let tokens = match n_taps {
            0 => Tokens::default(),
            n_taps => {
                self.shared.batches.count(n_images);
                let inputs: Vec<_> = batch.iter().map(|(_, input)| input).collect();
                forward(&mut *self.engine, &inputs, n_taps)?
            }
        };
        let mut forward_time = started.elapsed();
        self.readback.begin();
        let mut queued = Vec::new();
        for (index, (wanted, input)) in batch.into_iter().enumerate() {
            let mut started_heads = Instant::now();
            // The windows of one image belong together.
            let tokens = match n_images {
                1 => &tokens,
                _ => &tokens.of_image(index).map_err(EngineError::from)?,
            };
            queued.push((self.deriver.queue(&input, tokens, wanted, &mut self.readback)?, input));
            if self.readback.is_deferred() {
                if index + 1 < n_images {
                    continue;
                }
                // Once for all that was queued, heads included.
                self.readback.wait(&*self.engine)?;
                (forward_time, started_heads) = (started.elapsed(), Instant::now());
            }
            for (queued, input) in queued.drain(..) {
                let latencies = &self.shared.latencies[input.camera];
                latencies.record(Span::Forward, forward_time);
                let derived = self.deriver.finish(input, queued, self.shared.live.depth_limits())?;
                latencies.record(Span::Heads, started_heads.elapsed());
                self.outputs.send(derived).ok().context("publish has ended")?;
                started_heads = Instant::now();
            }
        }
        if let Some(usual) = self.usual.get_mut(&n_images) {
            usual.add(started.elapsed());
        }
        self.pace.free(self.worker);
        Ok(())
    }
}

/// Outputs in, messages out.
pub(super) struct PublishLoop {
    pub(super) encoder: Encoder,
    pub(super) sink: Box<dyn Sink>,
    pub(super) shared: Shared,
    pub(super) lacking: Lacking,
    /// By camera: when the newest frame that has come here was received.
    pub(super) newest: Vec<Option<Instant>>,
}

impl PublishLoop {
    pub(super) fn run(mut self, outputs: &channel::Receiver<Derived>) -> anyhow::Result<()> {
        while let Ok(derived) = outputs.recv() {
            let started = Instant::now();
            let Derived { camera, received, wanted, .. } = derived;
            let (accounting, latencies) = (&self.shared.accounting[camera], &self.shared.latencies[camera]);
            // Another worker was faster with a newer frame: outputs of a camera go out in the order of its
            // frames.
            if Some(received) < self.newest[camera] {
                Accounting::count(&accounting.displaced);
                continue;
            }
            self.newest[camera] = Some(received);
            let (stamp, mut lacks) = (derived.header.stamp, derived.lacks.clone());
            let mut encoded = self.encoder.encode(&derived, self.shared.live.overlay_opacity())?;
            lacks.extend(encoded.lack.take());
            // Also of a frame of which nothing goes out: points may be the only output with a subscriber.
            self.lacking.tell(camera, &lacks);
            let lacks: Vec<_> = lacks.iter().map(Lack::to_string).collect();
            self.shared.monitors[camera].lacks(lacks.join("; "));
            let sent = self.sink.send(derived, encoded);
            let times =
                FrameTimes { pipeline_latency: self.shared.age(stamp), processing: received.elapsed() };
            latencies.record(Span::Publish, started.elapsed());
            latencies.record(Span::Total, times.processing);
            times.pipeline_latency.into_iter().for_each(|age| latencies.record(Span::Age, age));
            if 0 < sent.n_sent {
                let monitor = &self.shared.monitors[camera];
                monitor.published(Instant::now(), stamp.nanos(), times.pipeline_latency);
                self.sink.tell(camera, wanted, times);
            }
            // Last: a reader that sees the frame in the counts also finds its latencies.
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
