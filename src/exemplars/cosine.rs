//! How alike patch tokens are.

use tch::{Kind, TchError, Tensor};

/// `tokens` `[P, D]` in float32, each of length one.
///
/// # Errors
/// libtorch's own.
pub fn direction(tokens: &Tensor) -> Result<Tensor, TchError> {
    let tokens = tokens.f_to_kind(Kind::Float)?;
    let lengths =
        tokens.f_norm_scalaropt_dim(2, &[1i64][..], true)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?;
    tokens.f_div(&lengths)
}

/// The cosine of each of `directions` `[P, D]` with `exemplar` `[D]`, all of length one: `[P, 1]`.
///
/// # Errors
/// libtorch's own.
pub fn cosines(directions: &Tensor, exemplar: &Tensor) -> Result<Tensor, TchError> {
    directions.f_matmul(&exemplar.f_unsqueeze(1)?)
}
