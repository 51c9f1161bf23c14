//! An engine that gives way to a better one between two frames.

use crossbeam_channel::Receiver;
use tch::Tensor;

use super::{Engine, EngineError, Tokens};
use crate::ffi::memory::HostMemory;

/// Runs the engine that came last.
pub struct Swap {
    current: Box<dyn Engine>,
    better: Receiver<Box<dyn Engine>>,
    announce: Box<dyn FnMut(&str) + Send>,
}

impl Swap {
    /// Begins with `first`; what comes by `better` must have the same taps and takes over with the next
    /// frame. `announce` hears of its kind.
    pub fn new(
        first: Box<dyn Engine>,
        better: Receiver<Box<dyn Engine>>,
        announce: impl FnMut(&str) + Send + 'static,
    ) -> Self {
        Self { current: first, better, announce: Box::new(announce) }
    }
}

impl Engine for Swap {
    fn kind(&self) -> String {
        self.current.kind()
    }

    fn taps(&self) -> &[usize] {
        self.current.taps()
    }

    fn stops_early(&self) -> bool {
        self.current.stops_early()
    }

    fn host_memory(&self) -> HostMemory {
        self.current.host_memory()
    }

    fn run(&mut self, images: &[Tensor], n_taps: usize) -> Result<Tokens, EngineError> {
        if let Ok(better) = self.better.try_recv() {
            tracing::info!("the {} engine takes over from the {} one", better.kind(), self.current.kind());
            self.current = better;
            (self.announce)(&self.current.kind());
        }
        self.current.run(images, n_taps)
    }

    fn wait(&self) -> Result<(), EngineError> {
        self.current.wait()
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// Returns its number.
    struct Numbered(i64);

    impl Engine for Numbered {
        fn kind(&self) -> String {
            self.0.to_string()
        }

        fn taps(&self) -> &[usize] {
            &[1]
        }

        fn stops_early(&self) -> bool {
            false
        }

        fn run(&mut self, _images: &[Tensor], _n_taps: usize) -> Result<Tokens, EngineError> {
            Ok(Tokens { taps: vec![Tensor::from(self.0)], ..Tokens::default() })
        }
    }

    #[test]
    fn the_better_engine_serves_from_the_next_frame_on() {
        let (send, better) = crossbeam_channel::bounded::<Box<dyn Engine>>(1);
        let (hear, heard) = std::sync::mpsc::channel();
        let mut engine =
            Swap::new(Box::new(Numbered(1)), better, move |kind| hear.send(kind.to_owned()).unwrap());
        let frame = [Tensor::zeros([1], (Kind::Uint8, Device::Cpu))];
        let mut serve = || engine.run(&frame, 1).unwrap().taps[0].int64_value(&[]);
        assert_eq!(serve(), 1);
        send.send(Box::new(Numbered(2))).unwrap();
        assert_eq!(serve(), 2);
        drop(send);
        assert_eq!(serve(), 2);
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["2"]);
    }
}
