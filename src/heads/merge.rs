//! Maps of overlapping windows become one map: every pixel is the mean over the windows that show it.

use tch::{TchError, Tensor};

use crate::geometry::{Size, WINDOW, corners, padded};

/// `[..., height, width]` of `image` from `[n, ..., 256, 256]`, one per window, row by row. Of depth the
/// paper takes the mean; of probabilities it takes the sum, whose largest is that of the mean.
pub(super) fn merged(windows: &Tensor, image: Size) -> Result<Tensor, TchError> {
    let (side, whole) = (i64::from(WINDOW), padded(image));
    let mut shape = windows.size().split_off(1);
    let n_leading = shape.len().saturating_sub(2);
    shape.truncate(n_leading);
    let canvas = |leading: &[i64]| {
        Tensor::f_zeros([leading, &whole.sides()].concat(), (windows.kind(), windows.device()))
    };
    let (total, n_seen) = (canvas(&shape)?, canvas(&[])?);
    let under = |map: &Tensor, [left, top]: [u32; 2]| {
        map.f_narrow(-2, i64::from(top), side)?.f_narrow(-1, i64::from(left), side)
    };
    for (index, corner) in corners(image).enumerate() {
        let _total = under(&total, corner)?.f_add_(&windows.f_get(index as i64)?)?;
        let _n_seen = under(&n_seen, corner)?.f_add_scalar_(1.0)?;
    }
    let mean = total.f_div(&n_seen)?;
    mean.f_narrow(-2, 0, i64::from(image.height))?.f_narrow(-1, 0, i64::from(image.width))
}
