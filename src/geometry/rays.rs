//! The direction of every pixel: a camera model inverted.

use super::lens::Sighting;
use super::{Lens, Size};

/// Focal lengths, principal point and skew, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pinhole {
    pub(super) focal: [f64; 2],
    pub(super) centre: [f64; 2],
    pub(super) skew: f64,
}

impl Pinhole {
    /// Where `pixel` is in focal lengths from the principal point.
    fn normalized(&self, [column, row]: [f64; 2]) -> [f64; 2] {
        let y = (row - self.centre[1]) / self.focal[1];
        let x = (column - self.centre[0] - self.skew * y) / self.focal[0];
        [x, y]
    }
}

/// All that decides where the pixels of an image look.
#[derive(Clone, Debug, PartialEq)]
pub struct Optics {
    pub(super) size: Size,
    pub(super) pinhole: Pinhole,
    pub(super) lens: Lens,
}

/// The pixels that a stride takes of `n` in one direction: the middle one of every `stride`, the last one at
/// the border.
pub fn strided(n: u32, stride: u32) -> impl Iterator<Item = u32> {
    (0..n.div_ceil(stride)).map(move |i| (i * stride + stride / 2).min(n - 1))
}

impl Optics {
    /// x/z and y/z of what `pixel` shows, which need not be a whole one, without distortion; `None` where the
    /// lens shows nothing that is in front of the camera.
    pub fn ray(&self, pixel: [f64; 2]) -> Option<[f64; 2]> {
        let seen = self.lens.seen(Sighting::default(), self.pinhole.normalized(pixel))?;
        self.lens.ray(seen)
    }

    /// The rays of the pixels that `stride` takes, row by row; NaN where there is none. `None` when no pixel
    /// has one.
    pub fn rays(&self, stride: u32) -> Option<Vec<[f32; 2]>> {
        let stride = stride.max(1);
        let columns: Vec<u32> = strided(self.size.width, stride).collect();
        let rows: Vec<u32> = strided(self.size.height, stride).collect();
        let mut rays = vec![[f32::NAN; 2]; columns.len() * rows.len()];
        // Outwards from the pixel that is nearest to the axis, first along its column, then along every row,
        // each search begins at the pixel before. Beyond the first pixel without a ray there is only more of
        // a fold.
        let [middle_column, middle_row] =
            [(&columns, self.pinhole.centre[0]), (&rows, self.pinhole.centre[1])]
                .map(|(pixels, centre)| pixels.partition_point(|pixel| f64::from(*pixel) < centre));
        let middle_column = middle_column.min(columns.len() - 1);
        let step = |near: &mut Sighting, column: usize, row: usize| {
            let pixel = [columns[column], rows[row]].map(f64::from);
            let seen = self.lens.seen(*near, self.pinhole.normalized(pixel))?;
            *near = seen;
            Some(self.lens.ray(seen)?.map(|side| side as f32))
        };
        for rows_outwards in outwards(middle_row, rows.len()) {
            let mut start = Sighting::default();
            for row in rows_outwards {
                let Some(ray) = step(&mut start, middle_column, row) else { break };
                rays[row * columns.len() + middle_column] = ray;
                for columns_outwards in outwards(middle_column, columns.len()) {
                    let mut near = start;
                    for column in columns_outwards {
                        let Some(ray) = step(&mut near, column, row) else { break };
                        rays[row * columns.len() + column] = ray;
                    }
                }
            }
        }
        rays.iter().any(|[x, y]| (x * y).is_finite()).then_some(rays)
    }
}

/// From `middle` down to 0, and up to `n`.
fn outwards(middle: usize, n: usize) -> [Box<dyn Iterator<Item = usize>>; 2] {
    [Box::new((0..middle).rev()), Box::new(middle..n)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn optics(model: &str, d: &[f64]) -> Optics {
        Optics {
            size: Size { width: 64, height: 48 },
            pinhole: Pinhole { focal: [50.0, 52.0], centre: [31.0, 24.5], skew: 0.0 },
            lens: Lens::new(model, d).unwrap(),
        }
    }

    #[test]
    fn rays_of_a_pinhole_computed_by_hand() {
        let mut of = optics("", &[]);
        let rays = of.rays(1).unwrap();
        assert_eq!((rays.len(), rays[0]), (64 * 48, [-31.0 / 50.0, -24.5 / 52.0]));
        assert_eq!(rays[64 * 2 + 5], [-26.0 / 50.0, -22.5 / 52.0]);
        of.pinhole.skew = 2.0;
        assert_eq!(of.ray([31.0, 24.5 + 52.0]), Some([-2.0 / 50.0, 1.0]));
    }

    #[test]
    fn a_stride_takes_the_middle_of_each_and_the_border_at_last() {
        assert_eq!(strided(16, 4).collect::<Vec<_>>(), [2, 6, 10, 14]);
        assert_eq!(strided(9, 4).collect::<Vec<_>>(), [2, 6, 8]);
        assert_eq!(strided(3, 1).collect::<Vec<_>>(), [0, 1, 2]);
        let of = optics("", &[]);
        let (all, some) = (of.rays(1).unwrap(), of.rays(4).unwrap());
        assert_eq!((some.len(), some[17]), (16 * 12, all[64 * 6 + 6]));
    }

    #[test]
    fn an_image_has_the_rays_of_its_pixels_wherever_the_axis_is() {
        let lenses = [
            optics("plumb_bob", &[0.1, -0.2, 0.001, 0.002, 0.05]),
            optics(
                "rational_polynomial",
                &[0.4, 0.1, 0.0, 0.0, 0.0, 0.5, 0.1, 0.0, 0.01, 0.0, 0.01, 0.0, 0.1, -0.1],
            ),
            optics("equidistant", &[0.05, -0.01, 0.002, 0.0]),
        ];
        for lens in lenses {
            for centre in [[31.0, 24.5], [-20.0, 24.5], [31.0, 70.0], [90.0, -30.0], [0.0, 47.0]] {
                let of = Optics { pinhole: Pinhole { centre, ..lens.pinhole }, ..lens.clone() };
                let rays = of.rays(1).unwrap();
                for (index, ray) in (0u32..).zip(rays) {
                    let pixel = [f64::from(index % 64), f64::from(index / 64)];
                    let Some([x, y]) = of.ray(pixel) else {
                        assert!(ray[0].is_nan(), "{of:?}: {pixel:?} has {ray:?}");
                        continue;
                    };
                    let off = (x - f64::from(ray[0])).hypot(y - f64::from(ray[1]));
                    assert!(off < 1e-6 * (1.0 + x * x + y * y), "{of:?}: {pixel:?} is off by {off}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_seen_beyond_a_fold() {
        // r - r^3 / 2 + r^5 / 10 rises to 0.6 at r = 1, falls, and rises again far outside.
        let mut of = optics("plumb_bob", &[-0.5, 0.1, 0.0, 0.0]);
        for centre in [[31.0, 24.0], [0.0, 0.0], [40.0, 50.0]] {
            of.pinhole = Pinhole { focal: [20.0, 20.0], centre, skew: 0.0 };
            for (index, ray) in of.rays(1).unwrap().iter().enumerate() {
                let (x, y) = ((index % 64) as f64 - centre[0], (index / 64) as f64 - centre[1]);
                let radius = x.hypot(y) / 20.0;
                // At the fold itself rounding decides.
                if 1e-3 < (radius - 0.6).abs() {
                    assert_eq!(ray[0].is_nan(), 0.6 < radius, "{x} {y}: {ray:?}");
                }
            }
        }
    }

    #[test]
    fn an_image_that_the_lens_does_not_show_has_no_rays() {
        let mut of = optics("plumb_bob", &[-0.5, 0.1, 0.0, 0.0]);
        of.pinhole.centre = [-500.0, 24.0];
        assert_eq!(of.rays(1), None);
    }
}
