//! Rows of a PNG image in the order in which they are stored, and their samples as 8-bit colours.

use crate::geometry::Size;
use crate::stages::fit::colour::narrow_sample;

/// Where the pixels of a stored row belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Of the image, counted row by row.
    pub(super) first_pixel: usize,
    /// From one to the next.
    pub(super) step: usize,
    pub(super) n_pixels: usize,
}

/// First column and row, and the steps between columns and rows, of each pass of Adam7 (ISO/IEC 15948, 8.2).
const ADAM7: [[u32; 4]; 7] =
    [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
const IN_ORDER: [[u32; 4]; 1] = [[0, 0, 1, 1]];

pub(super) fn in_order(size: Size) -> Rows {
    Rows::new(size, &IN_ORDER)
}

pub(super) fn interlaced(size: Size) -> Rows {
    Rows::new(size, &ADAM7)
}

/// See [`in_order`] and [`interlaced`].
pub(super) struct Rows {
    size: Size,
    passes: std::slice::Iter<'static, [u32; 4]>,
    pass: [u32; 4],
    y: u32,
}

impl Rows {
    fn new(size: Size, passes: &'static [[u32; 4]]) -> Self {
        Self { size, passes: passes.iter(), pass: [0; 4], y: u32::MAX }
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let Size { width, height } = self.size;
        while self.y >= height || self.pass[0] >= width {
            self.pass = *self.passes.next()?;
            self.y = self.pass[1];
        }
        let [left, _, across, down] = self.pass;
        let first_pixel = self.y as usize * width as usize + left as usize;
        self.y += down;
        Some(Row { first_pixel, step: across as usize, n_pixels: (width - left).div_ceil(across) as usize })
    }
}

/// How a stored row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowKind {
    /// 1 or 3.
    pub(super) n_colors: usize,
    /// Whether one more sample a pixel follows the colours.
    pub(super) has_alpha: bool,
    /// Whether samples have 16 bits, the high ones first.
    pub(super) is_wide: bool,
}

impl RowKind {
    pub(super) fn bytes_per_pixel(self) -> usize {
        (self.n_colors + usize::from(self.has_alpha)) << usize::from(self.is_wide)
    }

    /// Writes the colours of `row` into every `step`-th pixel of `into`, from the first one on.
    pub(super) fn put(self, row: &[u8], step: usize, into: &mut [u8]) {
        let n_colors = self.n_colors;
        if step == 1 && !self.has_alpha && !self.is_wide {
            return into[..row.len()].copy_from_slice(row);
        }
        let pixels = row.chunks_exact(self.bytes_per_pixel()).zip(into.chunks_mut(n_colors * step));
        if self.is_wide {
            for (samples, pixel) in pixels {
                let samples =
                    samples.as_chunks().0.iter().map(|&sample| narrow_sample(u16::from_be_bytes(sample)));
                pixel[..n_colors].iter_mut().zip(samples).for_each(|(color, sample)| *color = sample);
            }
        } else {
            pixels.for_each(|(samples, pixel)| pixel[..n_colors].copy_from_slice(&samples[..n_colors]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_comes_once_whatever_the_size() {
        for (width, height) in [(1, 1), (1, 9), (2, 3), (4, 1), (5, 5), (7, 5), (8, 8), (17, 33), (3, 64)] {
            for rows in [in_order(Size { width, height }), interlaced(Size { width, height })] {
                let mut pixels: Vec<_> = rows
                    .flat_map(|row| (0..row.n_pixels).map(move |i| row.first_pixel + i * row.step))
                    .collect();
                pixels.sort_unstable();
                assert!(pixels.into_iter().eq(0..(width * height) as usize), "{width}x{height}");
            }
        }
    }
}
