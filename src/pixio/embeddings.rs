//! From pixels to the first tokens: patch embedding, class tokens, position embedding.

use std::cell::RefCell;
use std::collections::HashMap;

use tch::{Kind, Tensor};

use super::config::PixioConfig;
use super::error::ModelError;
use super::linear::Linear;
use super::processor::Processor;
use super::weights::{Loader, Part, TensorRole};
use crate::geometry::PATCH;

const SIDE: i64 = PATCH as i64;
/// Sizes whose position embedding is kept. A camera has one, `fit: auto` a handful.
const KEPT_SIZES: usize = 16;

/// Turns images into the tokens before the first block.
#[derive(Debug)]
pub(super) struct Embeddings {
    /// Acts on bytes: what the processor does with values is folded in.
    from_bytes: Linear,
    /// Acts on normalised values.
    from_values: Linear,
    /// Class tokens with their positions added, `[1, n_cls, D]`.
    class_tokens: Tensor,
    /// Position embedding of the patches as trained, `[1, D, side, side]`, float32.
    trained: Tensor,
    /// Rows and columns of that grid.
    trained_grid: [i64; 2],
    /// The same per rows and columns, `[1, P, D]`, in the model's precision.
    positions: RefCell<HashMap<[i64; 2], Tensor>>,
    kind: Kind,
}

impl Embeddings {
    /// Reads the patch embedding, class tokens and position embedding.
    pub(super) fn load(
        config: &PixioConfig,
        processor: &Processor,
        loader: &mut Loader<'_>,
    ) -> Result<Self, ModelError> {
        let (hidden, n_cls) = (config.hidden_size as i64, config.n_cls_tokens as i64);
        let side = config.trained_grid() as i64;

        let weight = loader.float(Part::Patch(TensorRole::Weight), &[hidden, 3, SIDE, SIDE])?;
        let bias = loader.float(Part::Patch(TensorRole::Bias), &[hidden])?;
        // Rows, columns, channels: the order of bytes in an image, so that a patch is 16 runs of 48 bytes.
        let weight = weight.f_permute([0, 2, 3, 1])?;
        let deviation = Tensor::f_from_slice(&processor.deviation)?;
        let per_byte = weight.f_div(&(deviation.f_div_scalar(f64::from(processor.scale))?))?;
        let offset = Tensor::f_from_slice(&processor.mean)?.f_div(&deviation)?;
        let folded = weight.f_mul(&offset)?.f_sum_dim_intlist([1, 2, 3].as_slice(), false, Kind::Float)?;
        let linear = |weight: &Tensor, bias: &Tensor| {
            let weight = weight.f_reshape([hidden, 3 * SIDE * SIDE])?;
            Ok::<_, ModelError>(Linear::new(
                loader.place(&weight)?,
                Some(loader.place(bias)?),
                loader.product,
            ))
        };
        let from_bytes = linear(&per_byte, &bias.f_sub(&folded)?)?;
        let from_values = linear(&weight, &bias)?;

        let position = loader.float(Part::Position, &[1, n_cls + side * side, hidden])?;
        let class_tokens =
            loader.float(Part::ClsToken, &[1, n_cls, hidden])?.f_add(&position.f_narrow(1, 0, n_cls)?)?;
        let trained = position.f_narrow(1, n_cls, side * side)?;
        let trained = trained.f_reshape([1, side, side, hidden])?.f_permute([0, 3, 1, 2])?.f_contiguous()?;
        Ok(Self {
            from_bytes,
            from_values,
            class_tokens: loader.place(&class_tokens)?,
            trained: trained.f_to_device(loader.device)?,
            trained_grid: [side, side],
            positions: RefCell::default(),
            kind: loader.kind,
        })
    }

    /// The same on the same memory.
    pub(super) fn shallow_clone(&self) -> Self {
        Self {
            from_bytes: self.from_bytes.shallow_clone(),
            from_values: self.from_values.shallow_clone(),
            class_tokens: self.class_tokens.shallow_clone(),
            trained: self.trained.shallow_clone(),
            trained_grid: self.trained_grid,
            positions: RefCell::default(),
            kind: self.kind,
        }
    }

    /// Element type of the parameters.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// What turns uint8 images of `grid` (rows and columns of patches) into tokens, by name.
    pub(super) fn constants(&self, grid: [i64; 2]) -> Result<Vec<(String, Tensor)>, ModelError> {
        let mut constants = self.from_bytes.constants("patch");
        constants.push(("class_tokens".into(), self.class_tokens.shallow_clone()));
        constants.push(("position".into(), self.position(grid)?));
        Ok(constants)
    }

    /// Tokens `[B, n_cls + P, D]` of uint8 images `[B, H, W, 3]`.
    pub(super) fn of_bytes(&self, images: &Tensor) -> Result<Tensor, ModelError> {
        let (kind, shape) = (images.f_kind()?, images.size());
        let (batch, grid) = match *shape.as_slice() {
            [batch, height, width, 3] if kind == Kind::Uint8 && is_patched(batch, height, width) => {
                (batch, [height / SIDE, width / SIDE])
            }
            _ => return Err(refused(kind, &shape, "Uint8 [B, H, W, 3]")),
        };
        let images = images.f_to_device(self.trained.device())?;
        let patches =
            images.f_reshape([batch, grid[0], SIDE, grid[1], SIDE, 3])?.f_permute([0, 1, 3, 2, 4, 5])?;
        self.tokens(&patches, &self.from_bytes, batch, grid)
    }

    /// Tokens `[B, n_cls + P, D]` of normalised images `[B, 3, H, W]` of any float type.
    pub(super) fn of_values(&self, pixel_values: &Tensor) -> Result<Tensor, ModelError> {
        let (kind, shape) = (pixel_values.f_kind()?, pixel_values.size());
        let is_float = matches!(kind, Kind::Float | Kind::Double | Kind::BFloat16 | Kind::Half);
        let (batch, grid) = match *shape.as_slice() {
            [batch, 3, height, width] if is_float && is_patched(batch, height, width) => {
                (batch, [height / SIDE, width / SIDE])
            }
            _ => return Err(refused(kind, &shape, "floats [B, 3, H, W]")),
        };
        let values = pixel_values.f_to_device(self.trained.device())?;
        let patches =
            values.f_reshape([batch, 3, grid[0], SIDE, grid[1], SIDE])?.f_permute([0, 2, 4, 3, 5, 1])?;
        self.tokens(&patches, &self.from_values, batch, grid)
    }

    /// `patches` is `[B, rows, columns, 16, 16, 3]`, `grid` rows and columns.
    fn tokens(
        &self,
        patches: &Tensor,
        projection: &Linear,
        batch: i64,
        grid: [i64; 2],
    ) -> Result<Tensor, ModelError> {
        // Gathered as bytes, converted after: a quarter of the traffic.
        let patches = patches.f_reshape([batch, grid[0] * grid[1], 3 * SIDE * SIDE])?.f_to_kind(self.kind)?;
        let mut patches = projection.forward(&patches)?;
        let patches = patches.f_add_(&self.position(grid)?)?;
        let class_tokens = self.class_tokens.f_expand([batch, -1, -1], false)?;
        Ok(Tensor::f_cat(&[class_tokens, patches], 1)?)
    }

    /// Position embedding `[1, rows * columns, D]`, interpolated when the size is first seen.
    fn position(&self, grid: [i64; 2]) -> Result<Tensor, ModelError> {
        let mut positions = self.positions.borrow_mut();
        if let Some(position) = positions.get(&grid) {
            return Ok(position.shallow_clone());
        }
        let resized = match grid == self.trained_grid {
            true => self.trained.shallow_clone(),
            // Plain bicubic in float32, as in transformers: no antialiasing, corners not aligned.
            false => self.trained.f_upsample_bicubic2d(grid, false, None, None)?,
        };
        let position = resized.f_flatten(2, 3)?.f_transpose(1, 2)?.f_to_kind(self.kind)?.f_contiguous()?;
        // None ever goes: a recorded graph may read it. What is not kept is computed within the recording.
        if positions.len() < KEPT_SIZES {
            positions.insert(grid, position.shallow_clone());
        }
        Ok(position)
    }
}

fn is_patched(batch: i64, height: i64, width: i64) -> bool {
    batch > 0 && height > 0 && width > 0 && height % SIDE == 0 && width % SIDE == 0
}

fn refused(kind: Kind, shape: &[i64], expected: &str) -> ModelError {
    ModelError::Input {
        found: format!("{kind:?} {shape:?}"),
        expected: format!("{expected}, H and W divisible by {PATCH}"),
    }
}
