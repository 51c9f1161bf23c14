//! Which patches are similar to the one that was queried.

use std::collections::BTreeMap;

use tch::{TchError, Tensor};

use crate::exemplars::{cosines, direction};
use crate::geometry::Geometry;
use crate::logging::{BETWEEN_WARNINGS, Throttle};

/// The patch of each camera that the others are compared with.
#[derive(Debug, Default)]
pub(super) struct Similarity(BTreeMap<usize, Pointed>);

#[derive(Debug, Default)]
struct Pointed {
    /// x and y in the camera's image; the next frame says which patch lies there.
    asked: Option<[f64; 2]>,
    /// `[D]`, of length one.
    exemplar: Option<Tensor>,
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
        self.0.get(&camera).is_some_and(|pointed| pointed.asked.is_some() || pointed.exemplar.is_some())
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
        let directions = direction(patches)?;
        if let Some([x, y]) = pointed.asked.take() {
            match geometry.patch_under([x, y]) {
                // A copy: the next frame's tokens will lie where these do.
                Some([column, row]) => {
                    let index = i64::from(row) * i64::from(geometry.grid().width) + i64::from(column);
                    pointed.exemplar = Some(directions.f_get(index)?.f_detach_copy()?);
                }
                None if pointed.outside.0.admit().is_none() => (),
                None => tracing::warn!(
                    "query: the model sees nothing at ({x}, {y}) of an image of {}x{}",
                    geometry.camera.width,
                    geometry.camera.height
                ),
            }
        }
        pointed.exemplar.as_ref().map(|exemplar| cosines(&directions, exemplar)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    const WIDE: Size = Size { width: 64, height: 32 };

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
