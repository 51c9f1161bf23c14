//! The two resampling filters.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{self as fir, FilterType, PixelType, ResizeAlg, ResizeOptions};
use opencv::core::{self, Mat, VecN};
use opencv::imgproc;

use super::encoding::Pixels;
use super::error::FitError;
use crate::config::ResizeFilter;
use crate::geometry::{Rect, Size};
use crate::runtime::scratch::Scratch;

/// Thinner images are resized rows first: with columns first their strip would be many times as large as
/// they are.
const MOST_ROWS_PER_COLUMN: u32 = 16;

/// Resizes packed 8-bit images on the calling thread.
pub(super) struct Resizer {
    filter: ResizeFilter,
    bicubic: fir::Resizer,
    strip: Scratch,
}

impl Resizer {
    pub(super) fn new(filter: ResizeFilter) -> Self {
        Self { filter, bicubic: fir::Resizer::new(), strip: Scratch::default() }
    }

    /// Makes `into` the image's part `source` at `target` size, its channels in the same order.
    pub(super) fn resize(
        &mut self,
        image: &Pixels<'_>,
        source: Rect,
        target: Size,
        into: &mut Scratch,
    ) -> Result<(), FitError> {
        let n_channels = image.channels.count();
        let into = into.take(target.width as usize * target.height as usize * n_channels)?;
        match self.filter {
            ResizeFilter::Exact => self.exact(image, source, target, into),
            ResizeFilter::Linear => linear(image, source, target, into),
        }
    }

    /// Antialiased bicubic with a = -0.5, which this library calls Catmull-Rom. Columns go first, as in
    /// torchvision: samples are rounded and clamped between the two passes, so that on hard edges the
    /// other order, which this library prefers, is off by several levels.
    fn exact(
        &mut self,
        image: &Pixels<'_>,
        source: Rect,
        target: Size,
        into: &mut [u8],
    ) -> Result<(), FitError> {
        let n_channels = image.channels.count();
        let Passes { first, strip, second } = passes(source, image.size, target);
        let half_done = self.strip.take(strip.width as usize * strip.height as usize * n_channels)?;
        let bicubic = &mut self.bicubic;
        bicubic_pass(bicubic, n_channels, (image.bytes, image.size), first, (half_done, strip))?;
        bicubic_pass(bicubic, n_channels, (half_done, strip), second, (into, target))
    }

    /// What lies between the two passes.
    pub(super) fn strip(&mut self) -> &mut Scratch {
        &mut self.strip
    }
}

/// Parts of the image and of the strip that the two passes read.
struct Passes {
    first: Rect,
    strip: Size,
    second: Rect,
}

fn passes(source: Rect, image: Size, target: Size) -> Passes {
    if image.height / MOST_ROWS_PER_COLUMN > image.width {
        let strip = Size { width: image.width, height: target.height };
        let size = Size { width: image.width, ..source.size };
        let first = Rect { top: source.top, left: 0, size };
        let size = Size { height: target.height, ..source.size };
        return Passes { first, strip, second: Rect { top: 0, left: source.left, size } };
    }
    let first = rows_within_reach(source, image.height, target.height);
    let strip = Size { width: target.width, height: first.size.height };
    let size = Size { width: target.width, ..source.size };
    Passes { first, strip, second: Rect { top: source.top - first.top, left: 0, size } }
}

/// `source` with the rows above and below it on which those at its edge depend.
fn rows_within_reach(source: Rect, n_rows: u32, n_target_rows: u32) -> Rect {
    // The filter reaches two pixels, of the target's when it shrinks.
    let reach = 2 * source.size.height.div_ceil(n_target_rows) + 2;
    let top = source.top.saturating_sub(reach);
    let bottom = (source.top + source.size.height + reach).min(n_rows);
    Rect { top, size: Size { height: bottom - top, ..source.size }, ..source }
}

/// Resizes the part `source` of the first image to the whole second one.
fn bicubic_pass(
    resizer: &mut fir::Resizer,
    n_channels: usize,
    (from, from_size): (&[u8], Size),
    source: Rect,
    (to, to_size): (&mut [u8], Size),
) -> Result<(), FitError> {
    let kind = match n_channels {
        1 => PixelType::U8,
        3 => PixelType::U8x3,
        _ => PixelType::U8x4,
    };
    let (left, top) = (f64::from(source.left), f64::from(source.top));
    // The fourth channel is dropped later, so it must not weigh the others.
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
        .use_alpha(false)
        .crop(left, top, f64::from(source.size.width), f64::from(source.size.height));
    let from = ImageRef::new(from_size.width, from_size.height, from, kind).map_err(FitError::conversion)?;
    let mut to =
        Image::from_slice_u8(to_size.width, to_size.height, to, kind).map_err(FitError::conversion)?;
    resizer.resize(&from, &mut to, &options).map_err(FitError::conversion)
}

fn linear(image: &Pixels<'_>, source: Rect, target: Size, into: &mut [u8]) -> Result<(), FitError> {
    match image.channels.count() {
        1 => linear_of::<u8>(image, source, target, into),
        3 => linear_of::<VecN<u8, 3>>(image, source, target, into),
        _ => linear_of::<VecN<u8, 4>>(image, source, target, into),
    }
    .map_err(FitError::conversion)
}

/// No side is over 65535, so every cast is exact.
fn linear_of<Pixel: core::DataType>(
    image: &Pixels<'_>,
    source: Rect,
    target: Size,
    into: &mut [u8],
) -> opencv::Result<()> {
    let Size { width, height } = image.size;
    let from = Mat::new_rows_cols_with_bytes::<Pixel>(height as i32, width as i32, image.bytes)?;
    let Size { width, height } = source.size;
    let kept = core::Rect::new(source.left as i32, source.top as i32, width as i32, height as i32);
    let from = Mat::roi(&from, kept)?;
    let size = core::Size::new(target.width as i32, target.height as i32);
    let mut to = Mat::new_rows_cols_with_bytes_mut::<Pixel>(size.height, size.width, into)?;
    imgproc::resize(&from, &mut to, size, 0.0, 0.0, imgproc::INTER_LINEAR)
}
