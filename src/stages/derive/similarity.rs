//! Which patches are similar to the one that was queried.

use std::collections::BTreeMap;

use nalgebra::Point2;
use tch::{Kind, TchError, Tensor};

use crate::geometry::{Geometry, Size};
use crate::logging::{BETWEEN_WARNINGS, Throttle};

/// The patch of each camera that the others are compared with.
#[derive(Debug, Default)]
pub(super) struct Similarity(BTreeMap<usize, Pointed>);

#[derive(Debug, Default)]
struct Pointed {
    /// x and y in the camera's image; the next frame says which patch lies there.
    asked: Option<[f64; 2]>,
    /// `[D]`, of length one.
    token: Option<Tensor>,
    outside: Outside,
}

/// Lets warnings through of pixels that show nothing.
#[derive(Debug)]
struct Outside(Throttle);

impl Default for Outside {
    fn default() -> Self {
        Self(Throttle::new(BETWEEN_WARNINGS))
    }
}

impl Similarity {
    /// Compares with the patch under `pixel` of the camera's next frame from then on.
    pub(super) fn ask(&mut self, camera: usize, pixel: [f64; 2]) {
        self.0.entry(camera).or_default().asked = Some(pixel);
    }

    /// Whether there is anything to compare this camera's patches with.
    pub(super) fn is_asked(&self, camera: usize) -> bool {
        self.0.get(&camera).is_some_and(|pointed| pointed.asked.is_some() || pointed.token.is_some())
    }

    /// The cosine of every patch `[P, D]` with the one pointed at, float32 `[P, 1]`; `None` as long as there
    /// is none.
    pub(super) fn of(
        &mut self,
        camera: usize,
        patches: &Tensor,
        geometry: &Geometry,
    ) -> Result<Option<Tensor>, TchError> {
        let Some(pointed) = self.0.get_mut(&camera) else { return Ok(None) };
        let patches = patches.f_to_kind(Kind::Float)?;
        let lengths =
            patches.f_norm_scalaropt_dim(2, &[1i64][..], true)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?;
        let directions = patches.f_div(&lengths)?;
        if let Some([x, y]) = pointed.asked.take() {
            match patch_under(geometry, [x, y]) {
                // A copy: the next frame's tokens will lie where these do.
                Some(index) => pointed.token = Some(directions.f_get(index)?.f_detach_copy()?),
                None if pointed.outside.0.admit().is_none() => (),
                None => tracing::warn!(
                    "query: the model sees nothing at ({x}, {y}) of an image of {}x{}",
                    geometry.camera.width,
                    geometry.camera.height
                ),
            }
        }
        pointed.token.as_ref().map(|token| directions.f_matmul(&token.f_unsqueeze(1)?)).transpose()
    }
}

/// Index of the patch that shows the camera's pixel.
fn patch_under(geometry: &Geometry, pixel: [f64; 2]) -> Option<i64> {
    let inside = |[x, y]: [f64; 2], Size { width, height }: Size| {
        let within = |value: f64, n: u32| (-0.5..f64::from(n) - 0.5).contains(&value);
        within(x, width) && within(y, height)
    };
    let grid = geometry.grid();
    let patch = geometry.grid_from_camera() * Point2::from(pixel);
    let is_seen = inside(pixel, geometry.camera) && inside([patch.x, patch.y], grid);
    is_seen.then(|| patch.y.round() as i64 * i64::from(grid.width) + patch.x.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Size = Size { width: 64, height: 32 };

    #[test]
    fn a_patch_is_found_under_every_pixel_that_the_model_sees() {
        let check = |geometry: &Geometry, pixel, expect| {
            assert_eq!(patch_under(geometry, pixel), expect, "{pixel:?}");
        };
        let stretched = Geometry::stretch(WIDE, Size { width: 32, height: 32 });
        check(&stretched, [0.0, 0.0], Some(0));
        check(&stretched, [31.4, 0.0], Some(0));
        check(&stretched, [32.0, 0.0], Some(1));
        check(&stretched, [63.4, 31.4], Some(3));
        check(&stretched, [64.0, 0.0], None);
        check(&stretched, [0.0, -1.0], None);
        check(&stretched, [f64::NAN, 0.0], None);
        let cropped = Geometry::crop(WIDE, Size { width: 32, height: 32 });
        check(&cropped, [10.0, 5.0], None);
        check(&cropped, [16.0, 5.0], Some(0));
    }

    #[test]
    fn the_patch_that_was_pointed_at_stays_the_one_compared_with() {
        let geometry = Geometry::stretch(WIDE, WIDE);
        let patches = |rows: &[f32]| Tensor::from_slice(rows).reshape([8, 2]);
        let mut first = [1.0f32; 16];
        first[2..4].copy_from_slice(&[0.0, 3.0]);
        let mut similarity = Similarity::default();
        let of = |similarity: &mut Similarity, rows: &[f32]| {
            let cosines = similarity.of(0, &patches(rows), &geometry).unwrap()?;
            Some(Vec::<f32>::try_from(cosines.flatten(0, -1)).unwrap())
        };
        assert!(!similarity.is_asked(0) && of(&mut similarity, &first).is_none());
        similarity.ask(0, [20.0, 3.0]);
        assert!(similarity.is_asked(0) && !similarity.is_asked(1));
        let cosines = of(&mut similarity, &first).unwrap();
        assert!((cosines[1] - 1.0).abs() < 1e-6 && (cosines[0] - 0.5f32.sqrt()).abs() < 1e-6, "{cosines:?}");
        // What no frame shows changes nothing.
        similarity.ask(0, [-9.0, 0.0]);
        let mut later = [2.0f32, 0.0].repeat(8);
        later[14..].copy_from_slice(&[0.0, -5.0]);
        let cosines = of(&mut similarity, &later).unwrap();
        assert!(cosines[0].abs() < 1e-6 && (cosines[7] + 1.0).abs() < 1e-6, "{cosines:?}");
    }
}
