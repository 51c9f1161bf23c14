//! The linear head: batch norm and a 1x1 convolution on one tap.

use tch::{TchError, Tensor};

use super::error::HeadError;
use super::file::HeadTensors;
use super::tap::{Tap, TapProjection};

/// torch's default for batch norm.
const EPSILON: f64 = 1e-5;

#[derive(Debug)]
pub(super) struct LinearHead(TapProjection);

impl LinearHead {
    /// Reads the head and folds the norm into the convolution.
    pub(super) fn load(parameters: &mut HeadTensors, hidden: i64, outputs: i64) -> Result<Self, HeadError> {
        let mut of_norm = |name: &str| parameters.float(&format!("norm.{name}"), &[2 * hidden]);
        let (gain, offset) = (of_norm("weight")?, of_norm("bias")?);
        let (mean, variance) = (of_norm("running_mean")?, of_norm("running_var")?);
        let scale = gain.f_div(&variance.f_add_scalar(EPSILON)?.f_sqrt()?)?;
        let shift = offset.f_sub(&mean.f_mul(&scale)?)?;
        let weight = parameters.float("conv.weight", &[outputs, 2 * hidden, 1, 1])?.f_flatten(1, -1)?;
        let bias = parameters.float("conv.bias", &[outputs])?.f_add(&weight.f_mv(&shift)?)?;
        Ok(Self(TapProjection::new(parameters, &weight.f_mul(&scale)?, &bias)?))
    }

    /// The same head on the same memory.
    pub(super) fn shallow_clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }

    pub(super) fn tell(&self, add: &mut impl FnMut(String, &Tensor)) {
        self.0.tell("projection", add);
    }

    /// `[B, n, rows, columns]`.
    pub(super) fn forward(&self, tap: &Tap) -> Result<Tensor, TchError> {
        self.0.forward(tap)
    }
}
