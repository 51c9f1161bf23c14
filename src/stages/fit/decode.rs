//! Whatever arrived becomes 8-bit pixels in rows without padding, at the camera's size.

use super::colour;
use super::compressed;
use super::encoding::{Channels, Encoding, Pixels};
use super::error::FitError;
use super::raster::{self, MaxPixels};
use crate::runtime::scratch::Scratch;
use crate::stages::camera::CameraImage;

/// Decodes images into buffers of its own, or leaves them where they are when they need nothing.
pub(super) struct Decoder {
    max_pixels: MaxPixels,
    rows: Scratch,
    /// 8-bit samples of a mosaic of 16 bits.
    samples: Scratch,
    pixels: Scratch,
}

impl Decoder {
    pub(super) fn new(max_pixels: MaxPixels) -> Self {
        Self { max_pixels, rows: Scratch::default(), samples: Scratch::default(), pixels: Scratch::default() }
    }

    pub(super) fn decode<'a>(&'a mut self, image: &'a CameraImage) -> Result<Pixels<'a>, FitError> {
        let raster = match image {
            CameraImage::Compressed(file) => {
                return compressed::decode(file, self.max_pixels, &mut self.pixels);
            }
            CameraImage::Raw(raster) => raster,
        };
        let (encoding, size) = raster::check(raster, self.max_pixels)?;
        let rows = raster::rows(raster, encoding, size, &mut self.rows)?;
        let pixels = &mut self.pixels;
        let channels = match encoding {
            Encoding::Bits8(channels) => {
                return Ok(Pixels { size, channels, bytes: rows });
            }
            Encoding::Bits16(channels) => {
                colour::narrow(rows, raster.big_endian, pixels)?;
                channels
            }
            Encoding::Nv24 => {
                colour::rgb_from_nv24(rows, size, pixels)?;
                Channels::Rgb
            }
            Encoding::Bayer16(_) => {
                colour::narrow(rows, raster.big_endian, &mut self.samples)?;
                colour::rgb_by_opencv(self.samples.bytes(), encoding, size, pixels)?;
                Channels::Rgb
            }
            Encoding::Uyvy | Encoding::Yuyv | Encoding::Nv12 | Encoding::Nv21 | Encoding::Bayer8(_) => {
                colour::rgb_by_opencv(rows, encoding, size, pixels)?;
                Channels::Rgb
            }
        };
        Ok(Pixels { size, channels, bytes: pixels.bytes() })
    }

    pub(super) fn buffers(&mut self) -> [&mut Scratch; 3] {
        [&mut self.rows, &mut self.samples, &mut self.pixels]
    }
}
