//! An engine on a GPU: on a stream of its own, its work recorded once per shape as a CUDA graph and replayed.

use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use super::{Engine, EngineError, Tokens};
use crate::ffi::ShimError;
use crate::ffi::cuda::{self, Cuda, Graph, Stream};

/// Runs before a recording: they load kernels, choose algorithms and fill the allocator's cache, none of
/// which can be recorded.
pub(super) const WARM_UP_RUNS: usize = 3;

/// How the work reaches the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchMode {
    /// As one CUDA graph per shape and number of taps.
    Graph,
    /// Kernel by kernel.
    Plain,
}

/// Runs `inner` on a stream of its own.
pub struct OnGpu {
    // RecordedPass graphs go before what they refer to.
    recorded: HashMap<(Vec<i64>, usize), RecordedPass>,
    stream: Stream,
    inner: Box<dyn Engine>,
    launch: LaunchMode,
    cuda: Cuda,
    device: Device,
}

/// The recorded work for one shape: it reads `input` and leaves its results in `taps`.
enum RecordedPass {
    Graph {
        graph: Graph,
        input: Tensor,
        taps: Vec<Tensor>,
        host: Tensor,
    },
    /// What could not be recorded once would not be the next time.
    Plain {
        input: Tensor,
        host: Tensor,
    },
}

impl OnGpu {
    /// `inner` must run on the GPU `index`.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn new(inner: Box<dyn Engine>, index: usize, launch: LaunchMode) -> Result<Self, EngineError> {
        let cuda = cuda::load().map_err(ShimError::from)?;
        let stream = cuda.stream(index)?;
        Ok(Self { recorded: HashMap::new(), stream, inner, launch, cuda, device: Device::Cuda(index) })
    }

    fn record(&mut self, images: &Tensor, n_taps: usize) -> Result<RecordedPass, EngineError> {
        let input = Tensor::f_zeros(images.size(), (Kind::Uint8, self.device))?;
        let n_bytes = i64::try_from(images.numel()).unwrap_or_default();
        let host = self.cuda.pinned(n_bytes)?.f_view(images.size().as_slice())?;
        if self.launch == LaunchMode::Plain {
            return Ok(RecordedPass::Plain { input, host });
        }
        for _ in 0..WARM_UP_RUNS {
            self.inner.run(&input, n_taps)?;
        }
        self.stream.wait()?;
        let inner = &mut self.inner;
        match self.stream.record(|| inner.run(&input, n_taps)) {
            Ok((graph, Tokens { taps })) => Ok(RecordedPass::Graph { graph, input, taps, host }),
            Err(EngineError { message }) => {
                tracing::warn!("no CUDA graph for {:?}, it runs kernel by kernel: {message}", images.size());
                Ok(RecordedPass::Plain { input, host })
            }
        }
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

    fn run(&mut self, images: &Tensor, n_taps: usize) -> Result<Tokens, EngineError> {
        let _no_grad = tch::no_grad_guard();
        // It stays this thread's current stream: what the heads do with the tokens is queued behind them.
        self.stream.use_here()?;
        let n_taps = n_taps.min(self.taps().len());
        let key = (images.size(), n_taps);
        if !self.recorded.contains_key(&key) {
            let recorded = self.record(images, n_taps)?;
            self.recorded.insert(key.clone(), recorded);
        }
        let Self { recorded, stream, inner, .. } = self;
        let Some(recorded) = recorded.get_mut(&key) else {
            return Err(EngineError { message: "nothing was recorded".into() });
        };
        let (RecordedPass::Graph { input, host, .. } | RecordedPass::Plain { input, host }) = recorded;
        if images.device() == Device::Cpu {
            // The copy before this one may still be under way.
            stream.wait()?;
            host.f_copy_(images)?;
            stream.copy(input, host)?;
        } else {
            stream.copy(input, images)?;
        }
        let taps = match recorded {
            RecordedPass::Graph { graph, taps, .. } => {
                graph.replay()?;
                taps.iter().map(Tensor::shallow_clone).collect()
            }
            RecordedPass::Plain { input, .. } => inner.run(input, n_taps)?.taps,
        };
        Ok(Tokens { taps })
    }

    fn wait(&self) -> Result<(), EngineError> {
        Ok(self.stream.wait()?)
    }
}
