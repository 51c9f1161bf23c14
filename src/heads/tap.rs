//! What a head reads of one block.

use tch::{Kind, TchError, Tensor};

use super::error::HeadError;
use super::file::HeadTensors;

/// Tokens of one block after the final norm.
#[derive(Debug)]
pub(super) struct Tap {
    /// `[B, P, D]`, row by row.
    patches: Tensor,
    /// Mean of the class tokens, `[B, 1, D]`.
    cls: Tensor,
    /// Rows and columns of patches.
    grid: [i64; 2],
}

impl Tap {
    /// From `[B, n_cls + P, D]`, class tokens first.
    pub(super) fn of(tokens: &Tensor, n_cls: i64, grid: [i64; 2]) -> Result<Self, TchError> {
        let patches = tokens.f_narrow(1, n_cls, grid[0] * grid[1])?;
        let cls = tokens.f_narrow(1, 0, n_cls)?.f_mean_dim([1i64].as_slice(), true, None::<Kind>)?;
        Ok(Self { patches, cls, grid })
    }
}

/// A 1x1 convolution over a tap's 2 D channels, patch tokens first, as two linear maps: the second is the
/// same for all patches of an image.
#[derive(Debug)]
pub(super) struct TapProjection {
    /// `[out, D]`.
    of_patches: Tensor,
    /// `[out, D]`.
    of_cls: Tensor,
    /// `[out]`; none where another projection is added that has one.
    bias: Option<Tensor>,
}

impl TapProjection {
    /// Reads `NAME.weight` `[out, 2 D, 1, 1]` and `NAME.bias` `[out]`.
    pub(super) fn load(
        parameters: &mut HeadTensors,
        name: &str,
        hidden: i64,
        outputs: i64,
    ) -> Result<Self, HeadError> {
        let weight = parameters.float(&format!("{name}.weight"), &[outputs, 2 * hidden, 1, 1])?;
        let bias = parameters.float(&format!("{name}.bias"), &[outputs])?;
        Self::new(parameters, &weight.f_flatten(1, -1)?, Some(&bias))
    }

    /// From `weight` `[out, 2 D]` and `bias` `[out]` in float32 on the CPU.
    pub(super) fn new(
        parameters: &HeadTensors,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Self, HeadError> {
        let hidden = weight.size2()?.1 / 2;
        let half = |start| parameters.place(&weight.f_narrow(1, start, hidden)?);
        let bias = bias.map(|bias| parameters.place(bias)).transpose()?;
        Ok(Self { of_patches: half(0)?, of_cls: half(hidden)?, bias })
    }

    /// The same projection on the same memory.
    pub(super) fn shallow_clone(&self) -> Self {
        let Self { of_patches, of_cls, bias } = self;
        Self {
            of_patches: of_patches.shallow_clone(),
            of_cls: of_cls.shallow_clone(),
            bias: bias.as_ref().map(Tensor::shallow_clone),
        }
    }

    /// Tells every parameter with its name.
    pub(super) fn tell(&self, name: &str, add: &mut impl FnMut(String, &Tensor)) {
        add(format!("{name}.of_patches"), &self.of_patches);
        add(format!("{name}.of_cls"), &self.of_cls);
        if let Some(bias) = &self.bias {
            add(format!("{name}.bias"), bias);
        }
    }

    /// `[B, out, rows, columns]`.
    pub(super) fn forward(&self, tap: &Tap) -> Result<Tensor, TchError> {
        let same = tap.cls.f_linear(&self.of_cls, self.bias.as_ref())?;
        let mapped = tap.patches.f_linear::<Tensor>(&self.of_patches, None)?.f_add(&same)?;
        let [rows, columns] = tap.grid;
        let (batch, _, outputs) = mapped.size3()?;
        mapped.f_transpose(1, 2)?.f_reshape([batch, outputs, rows, columns])
    }
}
