//! Publish: the last stage hands one frame's outputs to whoever carries them away.

use crate::stages::heads::Output;

/// Carries outputs away: the ROS edge in the node, a folder in `infer`.
pub trait Sink: Send {
    /// Hands every part of `output` that is there to its topic, in one go and under one header.
    /// Returns how many messages went out; a part that could not is logged, throttled, by the sink.
    fn send(&mut self, output: Output) -> usize;
}
