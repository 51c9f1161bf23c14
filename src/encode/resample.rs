//! A map over the model input, brought to the camera's pixels.

use nalgebra::Point2;

use crate::geometry::Geometry;

/// `map` `[model.height, model.width]` at every pixel of the camera's image, between its four neighbours;
/// NaN where the model has seen nothing. Beyond the outermost pixels of the image in the model input they
/// go on as they are.
pub fn at_camera(map: &[f32], geometry: &Geometry) -> Vec<f32> {
    let Geometry { camera, model, model_from_camera, .. } = geometry;
    let seen = geometry.image_in_model();
    // Every fit moves and scales each axis on its own.
    let columns: Vec<_> = (0..camera.width)
        .map(|x| (model_from_camera * Point2::new(f64::from(x), 0.0)).x)
        .map(|x| Between::find(x, model.width, seen.left, seen.size.width))
        .collect();
    let rows = (0..camera.height)
        .map(|y| (model_from_camera * Point2::new(0.0, f64::from(y))).y)
        .map(|y| Between::find(y, model.height, seen.top, seen.size.height));
    let mut resampled = Vec::with_capacity(columns.len() * camera.height as usize);
    for row in rows {
        let Some(row) = row else {
            resampled.resize(resampled.len() + columns.len(), f32::NAN);
            continue;
        };
        let [upper, lower] = row.pair.map(|y| &map[y * model.width as usize..][..model.width as usize]);
        resampled.extend(columns.iter().map(|column| {
            let Some(column) = column else { return f32::NAN };
            row.mix(
                column.mix(upper[column.pair[0]], upper[column.pair[1]]),
                column.mix(lower[column.pair[0]], lower[column.pair[1]]),
            )
        }));
    }
    resampled
}

/// Two neighbours on one axis, and how far the second counts.
struct Between {
    pair: [usize; 2],
    share: f32,
}

impl Between {
    /// Of the place `at` on an axis of `n_model` pixels, `n_seen` of which from `first` on show the camera's
    /// image.
    fn find(at: f64, n_model: u32, first: u32, n_seen: u32) -> Option<Self> {
        let last = (first + n_seen).checked_sub(1).filter(|_| 0 < n_seen)?;
        if !(-0.5..=f64::from(n_model) - 0.5).contains(&at) {
            return None;
        }
        let at = at.clamp(f64::from(first), f64::from(last));
        let low = at.floor() as u32;
        Some(Self { pair: [low as usize, (low + 1).min(last) as usize], share: (at - at.floor()) as f32 })
    }

    fn mix(&self, one: f32, other: f32) -> f32 {
        // Not 1 - share: a constant stays what it is.
        one + (other - one) * self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    const CAMERA: Size = Size { width: 64, height: 48 };
    const MODEL: Size = Size { width: 32, height: 32 };

    /// A plane over the camera's image, as the model would see it, comes back at the camera's pixels.
    fn check(geometry: &Geometry, is_seen: impl Fn(u32, u32) -> bool) {
        let plane = |x: f64, y: f64| (1.0 + 0.1 * x + 0.01 * y) as f32;
        let back = geometry.camera_from_model();
        let seen = geometry.image_in_model();
        let mut map = vec![f32::NAN; (MODEL.width * MODEL.height) as usize];
        for y in seen.top..seen.top + seen.size.height {
            for x in seen.left..seen.left + seen.size.width {
                let at = back * Point2::new(f64::from(x), f64::from(y));
                map[(y * MODEL.width + x) as usize] = plane(at.x, at.y);
            }
        }
        let resampled = at_camera(&map, geometry);
        assert_eq!(resampled.len(), (CAMERA.width * CAMERA.height) as usize);
        for (i, resampled) in (0..).zip(resampled) {
            let (x, y) = (i % CAMERA.width, i / CAMERA.width);
            let at = geometry.model_from_camera * Point2::new(f64::from(x), f64::from(y));
            // The outermost half pixel repeats.
            let within =
                |at: f64, first: u32, n: u32| (f64::from(first)..=f64::from(first + n - 1)).contains(&at);
            let is_inner =
                within(at.x, seen.left, seen.size.width) && within(at.y, seen.top, seen.size.height);
            let tolerance = if is_inner { 1e-4 } else { 0.2 };
            let is_right = (resampled - plane(f64::from(x), f64::from(y))).abs() < tolerance;
            assert_eq!(
                (resampled.is_nan(), is_right),
                (!is_seen(x, y), is_seen(x, y)),
                "{x} {y}: {resampled}"
            );
        }
    }

    #[test]
    fn every_camera_pixel_that_the_model_sees_gets_its_depth() {
        check(&Geometry::stretch(CAMERA, MODEL), |_, _| true);
        check(&Geometry::letterbox(CAMERA, MODEL), |_, _| true);
        check(&Geometry::crop(CAMERA, MODEL), |x, _| (8..56).contains(&x));
    }
}
