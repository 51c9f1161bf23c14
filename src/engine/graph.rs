//! An engine on a GPU: on a stream of its own, its work recorded once per shape as a CUDA graph and replayed.

use std::collections::HashMap;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::lane::{Lane, Recording};
use super::{Engine, EngineError, Place, Tokens};
use crate::ffi::memory::HostMemory;

/// How the work reaches the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchMode {
    /// As one CUDA graph per shape.
    Graph,
    /// Kernel by kernel.
    Plain,
}

/// Runs `inner` on a lane of its own.
pub struct OnGpu {
    // Recorded graphs go before what they refer to.
    passes: HashMap<PassKey, Pass>,
    inner: Box<dyn Engine>,
    lane: Arc<Lane>,
    launch: LaunchMode,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PassKey {
    /// `[B, H, W, 3]`
    shape: Vec<i64>,
    n_taps: usize,
}

/// The work for one shape: it reads `input`.
struct Pass {
    /// And leaves its results in the tensors beside it; `None` for what cannot be recorded, which would not
    /// be possible the next time either.
    recorded: Option<Recording<Vec<Tensor>>>,
    input: Tensor,
}

impl OnGpu {
    /// `inner` must run on the GPU of `lane`.
    pub fn new(inner: Box<dyn Engine>, lane: Lane, launch: LaunchMode) -> Self {
        Self { passes: HashMap::new(), inner, lane: Arc::new(lane), launch }
    }

    fn prepare(&mut self, PassKey { shape, n_taps }: &PassKey) -> Result<Pass, EngineError> {
        let input = Tensor::f_zeros(shape.as_slice(), (Kind::Uint8, self.lane.device))?;
        if self.launch == LaunchMode::Plain {
            return Ok(Pass { recorded: None, input });
        }
        let (inner, images) = (&mut self.inner, [input.shallow_clone()]);
        let what = format!("the model on {shape:?}");
        let recorded = self.lane.record(what, || Ok(inner.run(&images, *n_taps)?.taps))?;
        Ok(Pass { recorded, input })
    }
}

impl Engine for OnGpu {
    fn kind(&self) -> String {
        match self.launch {
            LaunchMode::Graph => format!("{} + graph", self.inner.kind()),
            LaunchMode::Plain => self.inner.kind(),
        }
    }

    fn taps(&self) -> &[usize] {
        self.inner.taps()
    }

    fn stops_early(&self) -> bool {
        self.inner.stops_early()
    }

    fn host_memory(&self) -> HostMemory {
        HostMemory::Pinned(self.lane.cuda)
    }

    fn run(&mut self, images: &[Tensor], n_taps: usize) -> Result<Tokens, EngineError> {
        let _no_grad = tch::no_grad_guard();
        // It stays this thread's current stream: what heads and outputs do with the tokens is queued behind
        // them.
        self.lane.stream.use_here()?;
        let n_wanted = n_taps.min(self.taps().len());
        let n_taps = if self.stops_early() { n_wanted } else { self.taps().len() };
        let key = PassKey { shape: joined_shape(images)?, n_taps };
        if !self.passes.contains_key(&key) {
            let pass = self.prepare(&key)?;
            self.passes.insert(key.clone(), pass);
        }
        let Some(Pass { recorded, input }) = self.passes.get(&key) else {
            return Err(EngineError { message: "nothing was prepared".into() });
        };
        fill(&self.lane, input, images)?;
        let mut tokens = match recorded {
            Some(Recording { graph, made, id }) => {
                graph.replay()?;
                let taps = made.iter().map(Tensor::shallow_clone).collect();
                Tokens { taps, lane: Some(Arc::clone(&self.lane)), place: Place::Results(*id) }
            }
            None => {
                let lane = (self.launch == LaunchMode::Graph).then(|| Arc::clone(&self.lane));
                Tokens { lane, ..self.inner.run(&[input.shallow_clone()], n_taps)? }
            }
        };
        tokens.taps.truncate(n_wanted);
        Ok(tokens)
    }

    fn wait(&self) -> Result<(), EngineError> {
        Ok(self.lane.stream.wait()?)
    }
}

/// Shape of all parts of a batch together.
fn joined_shape(images: &[Tensor]) -> Result<Vec<i64>, EngineError> {
    let first = images.first().ok_or_else(|| EngineError { message: "there are no images".into() })?;
    let mut shape = first.size();
    if let Some(batch) = shape.first_mut() {
        *batch = images.iter().map(|part| part.size().first().copied().unwrap_or_default()).sum();
    }
    Ok(shape)
}

/// Queues copies of the images to where the work reads them.
fn fill(lane: &Lane, input: &Tensor, images: &[Tensor]) -> Result<(), EngineError> {
    let mut n_before = 0;
    for part in images {
        let n_images = part.size()[0];
        let target = match images.len() {
            1 => input.shallow_clone(),
            _ => input.f_narrow(0, n_before, n_images)?,
        };
        if part.device() == Device::Cpu {
            lane.cuda.upload(&target, part)?;
        } else {
            lane.stream.copy(&target, part)?;
        }
        n_before += n_images;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::engine::readback::Readback;
    use crate::ffi::cuda::fake::Fake;

    /// Its tokens are sums over its images; what it computes is not recorded by the fake.
    struct Summing {
        stops_early: bool,
    }

    impl Engine for Summing {
        fn kind(&self) -> String {
            "summing".into()
        }

        fn taps(&self) -> &[usize] {
            &[1, 2]
        }

        fn stops_early(&self) -> bool {
            self.stops_early
        }

        fn run(&mut self, images: &[Tensor], n_taps: usize) -> Result<Tokens, EngineError> {
            let sums = images[0].to_kind(Kind::Float).sum_dim_intlist(&[1i64, 2][..], false, Kind::Float);
            let taps = (0..n_taps).map(|_| sums.unsqueeze(1)).collect();
            Ok(Tokens { taps, ..Tokens::default() })
        }
    }

    fn on_fake(fake: &Fake, launch: LaunchMode, stops_early: bool) -> OnGpu {
        let lane = Lane::new(fake.cuda(), 0, Device::Cpu).unwrap();
        OnGpu::new(Box::new(Summing { stops_early }), lane, launch)
    }

    fn images(batch: i64) -> Tensor {
        Tensor::ones([batch, 16, 16, 3], (Kind::Uint8, Device::Cpu))
    }

    fn check(fake: &Fake, expect: &[&str]) {
        assert_eq!(fake.calls(), expect);
    }

    #[test]
    fn a_shape_is_recorded_once_and_then_copied_to_and_replayed() {
        let fake = Fake::begin();
        let mut engine = on_fake(&fake, LaunchMode::Graph, false);
        check(&fake, &["pool"]);
        engine.run(&[images(1)], 2).unwrap();
        check(&fake, &["wait", "begin", "end", "upload", "replay"]);
        let tokens = engine.run(&[images(1)], 2).unwrap();
        assert!(matches!(tokens.place, Place::Results(_)) && tokens.lane.is_some());
        // The images of three cameras go to one input.
        engine.run(&[images(1), images(1), images(1)], 2).unwrap();
        check(&fake, &["upload", "replay", "wait", "begin", "end", "upload", "upload", "upload", "replay"]);
        engine.wait().unwrap();
        drop(engine);
        // Tokens keep the lane, and so its stream and pool, alive; the graphs are gone.
        check(&fake, &["wait", "free", "free"]);
    }

    #[test]
    fn fewer_taps_are_another_recording_only_where_they_are_less_work() {
        let fake = Fake::begin();
        for (stops_early, expect) in [(false, 1), (true, 2)] {
            let mut engine = on_fake(&fake, LaunchMode::Graph, stops_early);
            assert_eq!(engine.run(&[images(1)], 1).unwrap().taps.len(), 1);
            assert_eq!(engine.run(&[images(1)], 9).unwrap().taps.len(), 2);
            let n_recordings = fake.calls().iter().filter(|call| *call == "begin").count();
            assert_eq!(n_recordings, expect);
        }
    }

    #[test]
    fn what_cannot_be_recorded_runs_kernel_by_kernel_and_is_not_tried_again() {
        let fake = Fake::begin();
        let mut engine = on_fake(&fake, LaunchMode::Graph, false);
        fake.spoil_recording();
        let tokens = engine.run(&[images(2)], 2).unwrap();
        assert_eq!(tokens.place, Place::Anywhere);
        assert_eq!(tokens.taps[0].double_value(&[1, 0, 0]), 256.0);
        check(&fake, &["pool", "wait", "begin", "end, not valid", "free", "upload"]);
        engine.run(&[images(2)], 2).unwrap();
        check(&fake, &["upload"]);
        let mut plain = on_fake(&fake, LaunchMode::Plain, false);
        assert!(plain.run(&[images(1)], 2).unwrap().lane.is_none());
        check(&fake, &["pool", "upload"]);
    }

    #[test]
    fn one_recording_at_a_time_and_no_graph_goes_meanwhile() {
        let fake = Fake::begin();
        let mut old = on_fake(&fake, LaunchMode::Graph, false);
        old.run(&[images(1)], 2).unwrap();
        let lane = Arc::new(Lane::new(fake.cuda(), 0, Device::Cpu).unwrap());
        let (started, waiting) = mpsc::channel();
        let mut n_runs = 0;
        std::thread::scope(|threads| {
            let recorded = lane.record("this", || {
                n_runs += 1;
                // The last run is the one that is recorded.
                if n_runs == 4 {
                    let mut other = on_fake(&fake, LaunchMode::Graph, false);
                    let old = std::mem::replace(&mut old, on_fake(&fake, LaunchMode::Plain, false));
                    let started = started.clone();
                    threads.spawn(move || {
                        started.send(()).unwrap();
                        drop(old);
                        other.run(&[images(1)], 2).unwrap();
                    });
                    waiting.recv().unwrap();
                    // Long enough for what must not happen.
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                Ok(())
            });
            assert!(recorded.unwrap().is_some());
        });
        let calls = fake.calls();
        assert!(!calls.iter().any(|call| call.contains("second") || call.contains("while")), "{calls:?}");
        assert_eq!(calls.iter().filter(|call| *call == "begin").count(), 3);
    }

    #[test]
    fn all_that_a_batch_leaves_is_one_copy_and_one_wait() {
        let fake = Fake::begin();
        let mut engine = on_fake(&fake, LaunchMode::Graph, false);
        let mut readback = Readback::new(engine.host_memory());
        assert!(readback.is_deferred());
        for turn in 0..3 {
            let tokens = engine.run(&[images(1)], 2).unwrap();
            fake.calls();
            readback.begin();
            let bright = Tensor::full([1, 1, 3], 256.0, (Kind::Float, Device::Cpu));
            let half = readback.bring(&bright, Kind::Half).unwrap();
            let wide =
                readback.bring(&Tensor::arange(400_000, (Kind::Float, Device::Cpu)), Kind::Float).unwrap();
            let bytes = readback.bring(&tokens.taps[1], Kind::Uint8).unwrap();
            readback.wait(&engine).unwrap();
            // What is needed is known after the first batch.
            let expect: &[&str] = match turn {
                0 => &["pinned", "pinned", "download", "download", "wait"],
                _ => &["download", "wait"],
            };
            check(&fake, expect);
            assert_eq!(half.double_value(&[0, 0, 2]), 256.0);
            assert_eq!((wide.double_value(&[399_999]), bytes.int64_value(&[0, 0, 0])), (399_999.0, 0));
            assert_eq!((half.kind(), bytes.size()), (Kind::Half, vec![1, 1, 3]));
        }
    }
}
