//! Which rectangle of the camera's image goes into which rectangle of the model input.

use std::fmt;

use super::{Geometry, Size, scale_then_shift};

/// The colour around a letterboxed image, red, green and blue: nearest to zero once the model has normalised
/// it.
pub const PADDING: [u8; 3] = [124, 116, 104];

/// A rectangle of whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns and rows.
    pub size: Size,
}

impl fmt::Display for Rect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at ({}, {})", self.size, self.left, self.top)
    }
}

impl Rect {
    fn whole(size: Size) -> Self {
        Self { left: 0, top: 0, size }
    }

    fn centred(size: Size, within: Size) -> Self {
        Self { left: (within.width - size.width) / 2, top: (within.height - size.height) / 2, size }
    }
}

/// A fit, told as two rectangles. Both have whole sides, so that every resampling filter can obey
/// them; where keeping the aspect would need a fraction of a pixel, the scales of the two axes
/// differ by that much, and the transform says so. No side may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Size of the camera's image.
    pub camera: Size,
    /// Size of the model input.
    pub model: Size,
    /// What is kept of the camera's image.
    pub source: Rect,
    /// Where it goes in the model input.
    pub target: Rect,
}

impl Placement {
    /// Everything into everything.
    pub fn stretch(camera: Size, model: Size) -> Self {
        Self { camera, model, source: Rect::whole(camera), target: Rect::whole(model) }
    }

    /// Everything into the largest centred rectangle of the same aspect.
    pub fn letterbox(camera: Size, model: Size) -> Self {
        let target = Rect::centred(largest_inside(camera, model), model);
        Self { camera, model, source: Rect::whole(camera), target }
    }

    /// The largest centred rectangle of the model's aspect into everything.
    pub fn crop(camera: Size, model: Size) -> Self {
        let source = Rect::centred(largest_inside(model, camera), camera);
        Self { camera, model, source, target: Rect::whole(model) }
    }

    /// The transform that this placement is.
    pub fn geometry(&self) -> Geometry {
        let axis = |from: u32, n_from: u32, to: u32, n_to: u32| {
            let scale = f64::from(n_to) / f64::from(n_from);
            (scale, f64::from(to) - f64::from(from) * scale)
        };
        let (source, target) = (self.source, self.target);
        let x = axis(source.left, source.size.width, target.left, target.size.width);
        let y = axis(source.top, source.size.height, target.top, target.size.height);
        let model_from_camera = scale_then_shift(x, y);
        Geometry { camera: self.camera, model: self.model, model_from_camera, is_windowed: false }
    }
}

/// The largest size of `shape`'s aspect that fits into `bounds`, rounded to whole pixels, no side zero.
fn largest_inside(shape: Size, bounds: Size) -> Size {
    let scaled = |side: u32, by: u32, of: u32, at_most: u32| {
        let (by, of) = (u64::from(by), u64::from(of));
        let rounded = (2 * u64::from(side) * by + of) / (2 * of);
        u32::try_from(rounded).unwrap_or(at_most).clamp(1, at_most)
    };
    let wider = u64::from(shape.width) * u64::from(bounds.height)
        >= u64::from(bounds.width) * u64::from(shape.height);
    if wider {
        Size { width: bounds.width, height: scaled(shape.height, bounds.width, shape.width, bounds.height) }
    } else {
        Size { width: scaled(shape.width, bounds.height, shape.height, bounds.width), height: bounds.height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Place = fn(Size, Size) -> Placement;

    /// Sizes are (width, height), rectangles (left, top, width, height).
    fn check(place: Place, camera: (u32, u32), source: (u32, u32, u32, u32), target: (u32, u32, u32, u32)) {
        let model = Size { width: 256, height: 256 };
        let placement = place(Size { width: camera.0, height: camera.1 }, model);
        let tuple = |rect: Rect| (rect.left, rect.top, rect.size.width, rect.size.height);
        assert_eq!((tuple(placement.source), tuple(placement.target)), (source, target), "{camera:?}");
    }

    #[test]
    fn rectangles_are_centred_and_whole() {
        check(Placement::stretch, (640, 427), (0, 0, 640, 427), (0, 0, 256, 256));
        check(Placement::letterbox, (1280, 720), (0, 0, 1280, 720), (0, 56, 256, 144));
        check(Placement::letterbox, (720, 1280), (0, 0, 720, 1280), (56, 0, 144, 256));
        check(Placement::letterbox, (640, 427), (0, 0, 640, 427), (0, 42, 256, 171));
        check(Placement::letterbox, (64, 64), (0, 0, 64, 64), (0, 0, 256, 256));
        check(Placement::letterbox, (65535, 1), (0, 0, 65535, 1), (0, 127, 256, 1));
        check(Placement::crop, (1280, 720), (280, 0, 720, 720), (0, 0, 256, 256));
        check(Placement::crop, (480, 641), (0, 80, 480, 480), (0, 0, 256, 256));
        check(Placement::crop, (1, 65535), (0, 32767, 1, 1), (0, 0, 256, 256));
    }
}
