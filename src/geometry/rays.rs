//! The direction of every pixel: a camera model inverted.

use super::lens::Seen;
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

/// The pixels that a stride takes of `n` in one direction: the middle one of every `stride`, the last one at the border.
pub fn strided(n: u32, stride: u32) -> impl Iterator<Item = u32> {
    (0..n.div_ceil(stride)).map(move |i| (i * stride + stride / 2).min(n - 1))
}

impl Optics {
    /// x/z and y/z of what `pixel` shows, which need not be a whole one, without distortion; `None` where the lens shows
    /// nothing that is in front of the camera.
    pub fn ray(&self, pixel: [f64; 2]) -> Option<[f64; 2]> {
        let seen = self.lens.seen(Seen::default(), self.pinhole.normalized(pixel))?;
        self.lens.ray(seen)
    }

    /// The rays of the pixels that `stride` takes, row by row; NaN where there is none. `None` when no pixel has one.
    pub fn rays(&self, stride: u32) -> Option<Vec<[f32; 2]>> {
        let stride = stride.max(1);
        let columns: Vec<u32> = strided(self.size.width, stride).collect();
        let rows: Vec<u32> = strided(self.size.height, stride).collect();
        let mut rays = vec![[f32::NAN; 2]; columns.len() * rows.len()];
        // Outwards from the pixel that is nearest to the axis, first along its column, then along every row, each search
        // begins at the pixel before. Beyond the first pixel without a ray there is only more of a fold.
        let [middle_column, middle_row] =
            [(&columns, self.pinhole.centre[0]), (&rows, self.pinhole.centre[1])]
                .map(|(pixels, centre)| pixels.partition_point(|pixel| f64::from(*pixel) < centre));
        let middle_column = middle_column.min(columns.len() - 1);
        let step = |near: &mut Seen, column: usize, row: usize| {
            let pixel = [columns[column], rows[row]].map(f64::from);
            let seen = self.lens.seen(*near, self.pinhole.normalized(pixel))?;
            *near = seen;
            Some(self.lens.ray(seen)?.map(|side| side as f32))
        };
        for rows_outwards in outwards(middle_row, rows.len()) {
            let mut start = Seen::default();
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
