//! Square windows over an image that is larger than the model's input, as the Pixio paper evaluates depth
//! and segmentation (arXiv 2512.15715): 256 pixels wide, 170 apart.

use super::Size;

/// Side of a window, pixels.
pub const WINDOW: u32 = 256;

/// From one window to the next, pixels: two thirds of a window, rounded down.
pub const STRIDE: u32 = WINDOW * 2 / 3;

/// Columns and rows of windows that cover an image of this size. A window begins wherever the image still
/// has pixels, so that the last ones may be mostly padding.
fn windows_over(image: Size) -> Size {
    Size { width: image.width.div_ceil(STRIDE), height: image.height.div_ceil(STRIDE) }
}

/// The size that the windows cover together, padding included.
pub fn padded(image: Size) -> Size {
    let side = |n: u32| n.saturating_sub(1) * STRIDE + WINDOW;
    let Size { width, height } = windows_over(image);
    Size { width: side(width), height: side(height) }
}

/// Left and top of every window, row by row.
pub fn corners(image: Size) -> impl Iterator<Item = [u32; 2]> {
    let Size { width, height } = windows_over(image);
    (0..height).flat_map(move |row| (0..width).map(move |column| [column * STRIDE, row * STRIDE]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_windows_as_the_paper_runs() {
        let check = |width, height, n, last: [u32; 2], expect: (u32, u32)| {
            let image = Size { width, height };
            let corners: Vec<_> = corners(image).collect();
            let padded = padded(image);
            assert_eq!((corners.len(), corners.last()), (n, Some(&last)), "{image:?}");
            assert_eq!((padded.width, padded.height), expect, "{image:?}");
        };
        check(256, 256, 4, [170, 170], (426, 426));
        check(640, 480, 12, [510, 340], (766, 596));
        check(1280, 720, 40, [1190, 680], (1446, 936));
        check(170, 170, 1, [0, 0], (256, 256));
        check(171, 1, 2, [170, 0], (426, 256));
    }
}
