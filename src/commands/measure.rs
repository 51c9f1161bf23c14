//! How long forward passes take: several engines, in turn.

use std::time::{Duration, Instant};

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::console::stdout::Stdout;
use crate::engine::device;
use crate::engine::proof::{BatchShape, test_images};
use crate::engine::readback::Readback;
use crate::engine::timing::ProcessorTime;
use crate::engine::{Engine, EngineError};
use crate::ffi::memory::HostMemory;
use crate::ffi::{ShimError, cuda};
use crate::runtime::statistics::Percentiles;
use crate::runtime::tensor;

/// An engine that is measured.
pub struct Contender {
    /// As it was asked for: `eager` or a folder.
    pub name: String,
    /// The engine.
    pub engine: Box<dyn Engine>,
    /// What libtorch holds on the GPU with only this engine loaded, megabytes.
    pub gpu_memory_mb: Option<f64>,
}

impl Contender {
    /// Loads an engine and lets it run once on `images`, so that all its memory is taken. `weights_mb` is
    /// what only the model holds on the GPU.
    ///
    /// # Errors
    /// The errors of `load`, or those of the engine.
    pub fn load(
        name: &str,
        device: Device,
        weights_mb: Option<f64>,
        images: &[Tensor],
        load: impl FnOnce() -> anyhow::Result<Box<dyn Engine>>,
    ) -> anyhow::Result<Self> {
        let before = settled_mb(device);
        let mut engine = load()?;
        engine.run(images, usize::MAX)?;
        engine.wait()?;
        let added = settled_mb(device).zip(before).map(|(after, before)| after - before);
        let gpu_memory_mb = weights_mb.zip(added).map(|(weights, added)| weights + added);
        Ok(Self { name: name.to_owned(), engine, gpu_memory_mb })
    }
}

/// What libtorch holds on the GPU once it has given back what it does not use, megabytes; `None` on the CPU.
/// What is given back has to be taken anew, which no node that serves can afford.
pub fn settled_mb(device: Device) -> Option<f64> {
    if device.is_cuda() {
        cuda::load().ok()?.empty_cache().ok()?;
    }
    device::reserved_mb(device)
}

/// The figures of one engine, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// [`Engine::kind`].
    pub kind: String,
    /// A forward pass as the host sees it, from images in host memory until the tokens are there.
    pub forward: Percentiles,
    /// CPU time of the process, all threads together, per forward pass.
    pub forward_cpu_ms: f64,
    /// A forward pass by the GPU's clock, images on the GPU.
    pub device_ms: Option<Percentiles>,
    /// [`Contender::gpu_memory_mb`].
    pub gpu_memory_mb: Option<f64>,
    /// From images in host memory to float16 patch features in host memory.
    pub host_ms: Percentiles,
    /// Of that, until everything was queued.
    pub queue_ms: Percentiles,
    /// Waits for the GPU on that way.
    pub waits: Option<f64>,
}

/// How long each engine keeps a GPU busy before it is measured.
const WARM: Duration = Duration::from_millis(500);

/// Passes of one engine before the next has its turn.
const TURN: usize = 5;

/// Measures `n_runs` forward passes of each contender on images of `shape`, in turn, so that what disturbs
/// the machine disturbs all.
///
/// # Errors
/// An engine's own.
pub fn measure(
    contenders: &mut [Contender],
    device: Device,
    n_cls_tokens: usize,
    shape: BatchShape,
    n_runs: usize,
) -> Result<Vec<Figures>, EngineError> {
    let images = test_images(shape)?;
    let (images, there) = ([on_host(&images, contenders)?], [images.f_to_device(device)?]);
    if device.is_cuda() {
        warm_gpu(contenders, &images)?;
    }
    let samples = |one: &Contender| PassSamples {
        readback: Readback::new(one.engine.host_memory()),
        ..PassSamples::default()
    };
    let mut samples: Vec<PassSamples> = contenders.iter().map(samples).collect();
    for turn in 0..n_runs.div_ceil(TURN) {
        for (contender, samples) in contenders.iter_mut().zip(&mut samples) {
            let engine = &mut *contender.engine;
            // Brings its weights back into the caches, and its stream to this thread.
            engine.run(&images, usize::MAX)?;
            for _ in 0..TURN.min(n_runs - turn * TURN) {
                samples.host(engine, &images, n_cls_tokens)?;
                samples.forward(engine, &images)?;
                if let Device::Cuda(index) = device {
                    samples.device(engine, &there, index)?;
                }
            }
        }
    }
    Ok(contenders.iter().zip(samples).map(|(contender, samples)| samples.figures(contender)).collect())
}

/// The images where the engines' inputs lie.
fn on_host(images: &Tensor, contenders: &[Contender]) -> Result<Tensor, EngineError> {
    let memory = contenders.first().map_or(HostMemory::Pageable, |one| one.engine.host_memory());
    let mut there = memory.take(images.numel())?.view(0, Kind::Uint8, &images.size())?;
    there.f_copy_(images)?;
    Ok(there)
}

/// GPUs lower their clocks when idle.
fn warm_gpu(contenders: &mut [Contender], images: &[Tensor]) -> Result<(), EngineError> {
    for Contender { engine, .. } in contenders {
        let started = Instant::now();
        while started.elapsed() < WARM {
            engine.run(images, usize::MAX)?;
            engine.wait()?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct PassSamples {
    forward: Vec<f64>,
    cpu: Vec<f64>,
    device: Vec<f64>,
    host: Vec<f64>,
    queue: Vec<f64>,
    n_waits: u64,
    readback: Readback,
}

impl PassSamples {
    fn forward(&mut self, engine: &mut dyn Engine, images: &[Tensor]) -> Result<(), EngineError> {
        let (started, cpu) = (Instant::now(), ProcessorTime::now());
        engine.run(images, usize::MAX)?;
        engine.wait()?;
        self.forward.push(millis(started));
        self.cpu.push((ProcessorTime::now() - cpu).as_secs_f64() * 1e3);
        Ok(())
    }

    fn device(
        &mut self,
        engine: &mut dyn Engine,
        images: &[Tensor],
        index: usize,
    ) -> Result<(), EngineError> {
        let cuda = cuda::load().map_err(ShimError::from)?;
        let start = cuda.event(index)?;
        engine.run(images, usize::MAX)?;
        self.device.push(start.millis_until(&cuda.event(index)?)?);
        Ok(())
    }

    fn host(&mut self, engine: &mut dyn Engine, images: &[Tensor], n_cls: usize) -> Result<(), EngineError> {
        let (started, n_waits) = (Instant::now(), cuda::n_waits());
        let tokens = engine.run(images, usize::MAX)?;
        let last = tokens.taps.last().ok_or_else(|| EngineError { message: "no tokens".into() })?;
        let n_cls = i64::try_from(n_cls).unwrap_or_default();
        let patches = last.f_narrow(1, n_cls, last.size3()?.1 - n_cls)?;
        self.readback.begin();
        let features = self.readback.bring(&patches, Kind::Half)?;
        self.queue.push(millis(started));
        self.readback.wait(engine)?;
        tensor::bytes(&features, Kind::Half)?;
        self.host.push(millis(started));
        self.n_waits += cuda::n_waits() - n_waits;
        Ok(())
    }

    fn figures(self, contender: &Contender) -> Figures {
        let Self { forward, cpu, device, host, queue, n_waits, readback } = self;
        let waits = n_waits as f64 / host.len().max(1) as f64;
        Figures {
            kind: contender.engine.kind(),
            gpu_memory_mb: contender.gpu_memory_mb,
            forward: Percentiles::of(forward),
            forward_cpu_ms: Percentiles::of(cpu).p50,
            device_ms: (!device.is_empty()).then(|| Percentiles::of(device)),
            host_ms: Percentiles::of(host),
            queue_ms: Percentiles::of(queue),
            waits: readback.is_deferred().then_some(waits),
        }
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Prints the figures as a table; ratios of a forward pass are to the first.
pub fn print(out: &mut Stdout, figures: &[Figures]) {
    out.line(format_args!(
        "{:<18}{:>9}{:>9}{:>9}{:>10}{:>8}{:>10}",
        "forward, ms", "p50", "p95", "CPU", "on GPU", "ratio", "to host"
    ));
    for one in figures {
        let shown = |figures: &Figures| figures.device_ms.map_or(figures.forward.p50, |device| device.p50);
        let ratio = figures.first().map_or(1.0, |first| shown(one) / shown(first));
        let device = one.device_ms.map_or_else(|| "-".to_owned(), |device| format!("{:.3}", device.p50));
        out.line(format_args!(
            "{:<18}{:>9.2}{:>9.2}{:>9.2}{device:>10}{:>8}{:>10.2}",
            one.kind,
            one.forward.p50,
            one.forward.p95,
            one.forward_cpu_ms,
            format!("{ratio:.2}x"),
            one.host_ms.p50
        ));
    }
}
