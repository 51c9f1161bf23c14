//! The parameters of the encoder by meaning, wherever they come from and whatever they are called there.

use tch::{Device, Kind, Tensor};

use super::error::ModelError;
use super::linear::Product;

/// One parameter of the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// Class tokens `[1, n_cls, D]`.
    ClsToken,
    /// Position embedding `[1, n_cls + P, D]`.
    Position,
    /// Patch embedding, `[D, 3, 16, 16]`.
    Patch(TensorRole),
    /// Norm after the last block, `[D]`.
    FinalNorm(TensorRole),
    /// Norm that transformers' `PixioBackbone` keeps beside the model for its stages, `[D]`.
    StageNorm(TensorRole),
    /// A part of the block of this index (from 0).
    Block(usize, BlockPart, TensorRole),
}

/// Weight or bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TensorRole {
    /// Weight.
    Weight,
    /// Bias.
    Bias,
}

/// A layer of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum BlockPart {
    /// Norm before attention, `[D]`.
    Norm1,
    /// Query, key and value as one matrix, in this order, `[3 D, D]`.
    Qkv,
    /// Projection after attention, `[D, D]`.
    Projection,
    /// Norm before the MLP, `[D]`.
    Norm2,
    /// First layer of the MLP, `[M, D]`.
    Fc1,
    /// Second layer of the MLP, `[D, M]`.
    Fc2,
}

/// A source of parameters.
pub(super) trait Weights {
    /// Whether there is such a parameter.
    fn has(&self, part: Part) -> bool;

    /// One parameter, contiguous on the CPU, finite in `kind`.
    ///
    /// # Errors
    /// The tensor is missing, has another shape or is not finite.
    fn read(&mut self, part: Part, shape: &[i64], kind: Kind) -> Result<Tensor, ModelError>;
}

/// Puts parameters where the model runs.
pub(super) struct Loader<'a> {
    /// Where they come from.
    pub(super) weights: &'a mut dyn Weights,
    /// Where they go.
    pub(super) device: Device,
    /// Arithmetic of the model.
    pub(super) kind: Kind,
    /// What its linear maps multiply with.
    pub(super) product: Product,
}

impl<'a> Loader<'a> {
    /// Loads from `weights` to `device` as `kind`.
    pub(super) fn new(weights: &'a mut dyn Weights, device: Device, kind: Kind) -> Self {
        Self { weights, device, kind, product: Product::fastest(device, kind) }
    }

    /// One parameter on the model's device in the model's precision.
    pub(super) fn tensor(&mut self, part: Part, shape: &[i64]) -> Result<Tensor, ModelError> {
        let tensor = self.weights.read(part, shape, self.kind)?;
        Ok(tensor.f_to_device(self.device)?)
    }

    /// One parameter on the CPU in float32, to compute with before [`Loader::place`].
    pub(super) fn float(&mut self, part: Part, shape: &[i64]) -> Result<Tensor, ModelError> {
        self.weights.read(part, shape, Kind::Float)
    }

    /// Something computed, contiguous on the model's device in the model's precision.
    pub(super) fn place(&self, tensor: &Tensor) -> Result<Tensor, ModelError> {
        Ok(tensor.f_to_kind(self.kind)?.f_contiguous()?.f_to_device(self.device)?)
    }
}
