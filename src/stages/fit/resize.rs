//! The two resampling filters.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{self as fir, FilterType, PixelType, ResizeAlg, ResizeOptions};
use opencv::core::{self, Mat, VecN};
use opencv::imgproc;

use super::decode::Pixels;
use super::error::FitError;
use crate::config::ResizeFilter;
use crate::geometry::{Rect, Size};

/// Resizes packed 8-bit pictures on the calling thread.
pub(super) struct Resizer {
    filter: ResizeFilter,
    bicubic: fir::Resizer,
}

impl Resizer {
    pub(super) fn new(filter: ResizeFilter) -> Self {
        Self {
            filter,
            bicubic: fir::Resizer::new(),
        }
    }

    /// Makes `into` the picture's part `source` at `target` size, its channels in the same order.
    pub(super) fn resize(
        &mut self,
        picture: &Pixels<'_>,
        source: Rect,
        target: Size,
        into: &mut Vec<u8>,
    ) -> Result<(), FitError> {
        let n_channels = picture.channels.count();
        into.resize(target.width as usize * target.height as usize * n_channels, 0);
        match self.filter {
            ResizeFilter::Exact => self.exact(picture, source, target, into),
            ResizeFilter::Linear => linear(picture, source, target, into),
        }
    }

    /// Antialiased bicubic with a = -0.5, which this library calls Catmull-Rom: that of Pillow and torchvision.
    fn exact(
        &mut self,
        picture: &Pixels<'_>,
        source: Rect,
        target: Size,
        into: &mut [u8],
    ) -> Result<(), FitError> {
        let kind = match picture.channels.count() {
            1 => PixelType::U8,
            3 => PixelType::U8x3,
            _ => PixelType::U8x4,
        };
        let (left, top) = (f64::from(source.left), f64::from(source.top));
        // The fourth channel is dropped later, so it must not weigh the others.
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
            .use_alpha(false)
            .crop(
                left,
                top,
                f64::from(source.size.width),
                f64::from(source.size.height),
            );
        let from = ImageRef::new(picture.size.width, picture.size.height, picture.bytes, kind)
            .map_err(FitError::conversion)?;
        let mut to =
            Image::from_slice_u8(target.width, target.height, into, kind).map_err(FitError::conversion)?;
        self.bicubic
            .resize(&from, &mut to, &options)
            .map_err(FitError::conversion)
    }
}

fn linear(picture: &Pixels<'_>, source: Rect, target: Size, into: &mut [u8]) -> Result<(), FitError> {
    match picture.channels.count() {
        1 => linear_of::<u8>(picture, source, target, into),
        3 => linear_of::<VecN<u8, 3>>(picture, source, target, into),
        _ => linear_of::<VecN<u8, 4>>(picture, source, target, into),
    }
    .map_err(FitError::conversion)
}

/// No side is over 65535, so every cast is exact.
fn linear_of<Pixel: core::DataType>(
    picture: &Pixels<'_>,
    source: Rect,
    target: Size,
    into: &mut [u8],
) -> opencv::Result<()> {
    let Size { width, height } = picture.size;
    let from = Mat::new_rows_cols_with_bytes::<Pixel>(height as i32, width as i32, picture.bytes)?;
    let Size { width, height } = source.size;
    let kept = core::Rect::new(source.left as i32, source.top as i32, width as i32, height as i32);
    let from = Mat::roi(&from, kept)?;
    let size = core::Size::new(target.width as i32, target.height as i32);
    let mut to = Mat::new_rows_cols_with_bytes_mut::<Pixel>(size.height, size.width, into)?;
    imgproc::resize(&from, &mut to, size, 0.0, 0.0, imgproc::INTER_LINEAR)
}
