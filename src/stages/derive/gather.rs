//! The patches under pixels, and their tokens as exemplars.

use tch::{TchError, Tensor};

use crate::exemplars::Exemplar;
use crate::geometry::{Geometry, Size};
use crate::runtime::tensor;

/// Column and row of the patches under `pixels`, x and y in the camera's image, each patch once.
///
/// # Errors
/// A pixel of which the model sees nothing.
pub(super) fn patches_under(pixels: &[[f64; 2]], geometry: &Geometry) -> Result<Vec<[u32; 2]>, String> {
    let mut patches = Vec::new();
    for &pixel @ [x, y] in pixels {
        let patch = geometry.patch_under(pixel).ok_or_else(|| {
            format!("the model sees nothing at ({x}, {y}) of an image of {}", geometry.camera)
        })?;
        if !patches.contains(&patch) {
            patches.push(patch);
        }
    }
    Ok(patches)
}

/// `[patches, taps * D]` of the `taps`, `[1, n_cls + P, D]` each, of an image of `grid`.
pub(super) fn gathered<'a>(
    taps: impl Iterator<Item = &'a Tensor>,
    patches: &[[u32; 2]],
    n_cls: usize,
    grid: Size,
) -> Result<Tensor, TchError> {
    let index =
        |&[column, row]: &[u32; 2]| n_cls as i64 + i64::from(row) * i64::from(grid.width) + i64::from(column);
    let rows = Tensor::f_from_slice(&patches.iter().map(index).collect::<Vec<_>>())?;
    let of_tap = |tap: &Tensor| tap.f_get(0)?.f_index_select(0, &rows.f_to_device(tap.device())?);
    Tensor::f_cat(&taps.map(of_tap).collect::<Result<Vec<_>, _>>()?, 1)
}

/// The exemplars that `tokens` `[patches, C]` on the host are.
pub(super) fn exemplars(tokens: &Tensor) -> Result<Vec<Exemplar>, TchError> {
    let values = tensor::floats(tokens)?;
    let n_channels = values.len() / usize::try_from(tokens.size()[0]).unwrap_or_default().max(1);
    Ok(values.chunks_exact(n_channels.max(1)).map(|tokens| Exemplar { tokens: tokens.to_vec() }).collect())
}

/// What every patch of a frame would be as an exemplar.
#[derive(Debug)]
pub struct PatchExemplars {
    /// `[P, D]` of each tap, row by row.
    taps: Vec<Vec<f32>>,
    /// D.
    n_channels: usize,
}

impl PatchExemplars {
    /// Of the patch tokens `[P, D]` of each tap, on the host.
    pub(super) fn of(taps: &[Tensor]) -> Result<Self, TchError> {
        let n_channels = taps.first().map_or(0, |tap| usize::try_from(tap.size()[1]).unwrap_or_default());
        Ok(Self { taps: taps.iter().map(tensor::floats).collect::<Result<_, _>>()?, n_channels })
    }

    /// The exemplars under `pixels` of the camera's image.
    ///
    /// # Errors
    /// A pixel of which the model sees nothing.
    pub fn under(&self, pixels: &[[f64; 2]], geometry: &Geometry) -> Result<Vec<Exemplar>, String> {
        let width = geometry.grid().width as usize;
        let tokens = |[column, row]: [u32; 2]| {
            let start = (row as usize * width + column as usize) * self.n_channels;
            let of_taps = self.taps.iter().map(|tap| tap.get(start..start + self.n_channels));
            of_taps.collect::<Option<Vec<_>>>().map(|of_taps| of_taps.concat())
        };
        let patches = patches_under(pixels, geometry)?;
        Ok(patches.into_iter().filter_map(tokens).map(|tokens| Exemplar { tokens }).collect())
    }
}

/// The exemplars under `pixels` of an image whose `taps` are on the host, as those of a lesson.
///
/// # Errors
/// A pixel of which the model sees nothing, or libtorch's own.
pub fn exemplars_under(
    pixels: &[[f64; 2]],
    geometry: &Geometry,
    taps: &[&Tensor],
    n_cls: usize,
) -> anyhow::Result<Vec<Exemplar>> {
    let patches = patches_under(pixels, geometry).map_err(anyhow::Error::msg)?;
    Ok(exemplars(&gathered(taps.iter().copied(), &patches, n_cls, geometry.grid())?)?)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn exemplars_are_the_tokens_under_the_pixels() {
        let geometry = Geometry::stretch(Size { width: 64, height: 32 }, Size { width: 48, height: 32 });
        // Two class tokens, then 3 x 2 patches of two channels.
        let tap = Tensor::arange(16, (Kind::Float, Device::Cpu)).reshape([1, 8, 2]);
        let pixels = [[0.0, 0.0], [2.0, 3.0], [63.0, 31.0]];
        let found = exemplars_under(&pixels, &geometry, &[&tap, &tap], 2).unwrap();
        let tokens: Vec<_> = found.into_iter().map(|exemplar| exemplar.tokens).collect();
        assert_eq!(tokens, [[4.0, 5.0, 4.0, 5.0], [14.0, 15.0, 14.0, 15.0]]);
        let patches = [tap.get(0).narrow(0, 2, 6), tap.get(0).narrow(0, 2, 6)];
        let all = PatchExemplars::of(&patches).unwrap().under(&pixels, &geometry).unwrap();
        assert_eq!(all.into_iter().map(|exemplar| exemplar.tokens).collect::<Vec<_>>(), tokens);
        let outside = exemplars_under(&[[0.0, 0.0], [64.0, 0.0]], &geometry, &[&tap], 2).unwrap_err();
        assert!(outside.to_string().contains("nothing at (64, 0) of an image of 64x32"), "{outside}");
    }
}
