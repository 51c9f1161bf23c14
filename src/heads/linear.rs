//! The linear head: batch norm and a 1x1 convolution on one to four taps, and on the position of the patch if
//! the card says so.

use tch::{Kind, TchError, Tensor};

use super::card::Card;
use super::error::HeadError;
use super::file::HeadTensors;
use super::tap::{Tap, TapProjection};

/// torch's default for batch norm.
const EPSILON: f64 = 1e-5;

#[derive(Debug)]
pub(super) struct LinearHead {
    /// By tap; the first has the bias.
    projections: Vec<TapProjection>,
    /// `[n, 2]`.
    of_position: Option<Tensor>,
}

impl LinearHead {
    /// Reads the head of `card` and folds the norm into the convolution.
    pub(super) fn load(parameters: &mut HeadTensors, card: &Card) -> Result<Self, HeadError> {
        let (n_inputs, n_outputs) = (card.n_inputs(), card.n_outputs());
        let mut of_norm = |name: &str| parameters.float(&format!("norm.{name}"), &[n_inputs]);
        let (gain, offset) = (of_norm("weight")?, of_norm("bias")?);
        let (mean, variance) = (of_norm("running_mean")?, of_norm("running_var")?);
        let scale = gain.f_div(&variance.f_add_scalar(EPSILON)?.f_sqrt()?)?;
        let shift = offset.f_sub(&mean.f_mul(&scale)?)?;
        let weight = parameters.float("conv.weight", &[n_outputs, n_inputs, 1, 1])?.f_flatten(1, -1)?;
        let bias = parameters.float("conv.bias", &[n_outputs])?.f_add(&weight.f_mv(&shift)?)?;
        let weight = weight.f_mul(&scale)?;

        let (n_taps, of_tap) = (card.taps.len() as i64, 2 * card.backbone.hidden_size as i64);
        let projection = |tap: i64| {
            let weight = weight.f_narrow(1, tap * of_tap, of_tap)?;
            TapProjection::new(parameters, &weight, (tap == 0).then_some(&bias))
        };
        let projections = (0..n_taps).map(projection).collect::<Result<_, _>>()?;
        let of_position =
            card.reads_position().then(|| parameters.place(&weight.f_narrow(1, n_taps * of_tap, 2)?));
        Ok(Self { projections, of_position: of_position.transpose()? })
    }

    /// The same head on the same memory.
    pub(super) fn shallow_clone(&self) -> Self {
        Self {
            projections: self.projections.iter().map(TapProjection::shallow_clone).collect(),
            of_position: self.of_position.as_ref().map(Tensor::shallow_clone),
        }
    }

    pub(super) fn tell(&self, add: &mut impl FnMut(String, &Tensor)) {
        match self.projections.as_slice() {
            [projection] if self.of_position.is_none() => projection.tell("projection", add),
            projections => {
                for (tap, projection) in projections.iter().enumerate() {
                    projection.tell(&format!("projections.{tap}"), add);
                }
            }
        }
        if let Some(of_position) = &self.of_position {
            add("of_position".to_owned(), of_position);
        }
    }

    /// `[B, n, rows, columns]`.
    pub(super) fn forward(&self, taps: &[Tap], grid: [i64; 2]) -> Result<Tensor, TchError> {
        let mut maps = self.projections.iter().zip(taps).map(|(projection, tap)| projection.forward(tap));
        let first = maps.next().unwrap_or_else(|| Err(TchError::Kind("a head without taps".to_owned())))?;
        let sum = maps.try_fold(first, |sum, map| sum.f_add(&map?))?;
        let Some(of_position) = &self.of_position else { return Ok(sum) };
        // [n, 1, columns] of x and [n, rows, 1] of y add up to [n, rows, columns].
        let [rows, columns] = grid;
        let along = |axis: i64, n: i64| of_position.f_narrow(1, axis, 1)?.f_mul(&centres(n, of_position)?);
        let (of_x, of_y) = (along(0, columns)?.f_unsqueeze(1)?, along(1, rows)?.f_unsqueeze(2)?);
        sum.f_add(&of_x.f_add(&of_y)?)
    }
}

/// Where the centres of `n` patches lie between -1 and 1, like `like`.
fn centres(n: i64, like: &Tensor) -> Result<Tensor, TchError> {
    let halves = Tensor::f_arange(n, (Kind::Float, like.device()))?.f_add_scalar(0.5)?;
    halves.f_mul_scalar(2.0 / n as f64)?.f_sub_scalar(1.0)?.f_to_kind(like.f_kind()?)
}
