//! The encodings of `sensor_msgs/Image` that can become RGB, and how their bytes lie.

use crate::geometry::Size;

/// Order of the 8-bit channels of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    Rgb,
    Bgr,
    Rgba,
    Bgra,
    Mono,
}

impl Channels {
    /// Bytes per pixel.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Mono => 1,
            Self::Rgb | Self::Bgr => 3,
            Self::Rgba | Self::Bgra => 4,
        }
    }
}

/// An 8-bit image in rows without padding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pixels<'a> {
    pub(super) size: Size,
    pub(super) channels: Channels,
    /// `size.height * size.width * channels.count()` bytes.
    pub(super) bytes: &'a [u8],
}

/// Colours of the first two pixels of the first two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mosaic {
    Rggb,
    Bggr,
    Gbrg,
    Grbg,
}

/// How pixels are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// 8 bits a channel.
    Bits8(Channels),
    /// 16 bits a channel, in the byte order that the message names.
    Bits16(Channels),
    /// 4:2:2, bytes U Y V Y.
    Uyvy,
    /// 4:2:2, bytes Y U Y V.
    Yuyv,
    /// 4:2:0: a plane of Y, a plane of U V pairs.
    Nv12,
    /// 4:2:0: a plane of Y, a plane of V U pairs.
    Nv21,
    /// 4:4:4: a plane of Y, a plane of U V pairs whose rows are twice as long.
    Nv24,
    /// One 8-bit sample a pixel, behind colour filters.
    Bayer8(Mosaic),
    /// One 16-bit sample a pixel, behind colour filters, in the byte order that the message names.
    Bayer16(Mosaic),
}

/// Rows of equal length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plane {
    pub(super) rows: u64,
    pub(super) row_bytes: u64,
    /// Distance between the beginnings of two rows, in steps of the raster.
    pub(super) steps: u64,
}

impl Encoding {
    /// The encoding of that name. The types of OpenCV, such as `8UC3`, are taken as cv_bridge and OpenCV
    /// order their channels; two channels, signed numbers and floats have no meaning as colours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Some(mosaic) = name.strip_prefix("bayer_") {
            return Self::mosaic(mosaic);
        }
        Some(match name {
            "rgb8" => Self::Bits8(Channels::Rgb),
            "bgr8" | "8UC3" => Self::Bits8(Channels::Bgr),
            "rgba8" => Self::Bits8(Channels::Rgba),
            "bgra8" | "8UC4" => Self::Bits8(Channels::Bgra),
            "mono8" | "8UC1" => Self::Bits8(Channels::Mono),
            "mono16" | "16UC1" => Self::Bits16(Channels::Mono),
            "rgb16" => Self::Bits16(Channels::Rgb),
            "bgr16" | "16UC3" => Self::Bits16(Channels::Bgr),
            "rgba16" => Self::Bits16(Channels::Rgba),
            "bgra16" | "16UC4" => Self::Bits16(Channels::Bgra),
            "uyvy" | "yuv422" => Self::Uyvy,
            "yuyv" | "yuv422_yuy2" => Self::Yuyv,
            "nv12" => Self::Nv12,
            "nv21" => Self::Nv21,
            "nv24" => Self::Nv24,
            _ => return None,
        })
    }

    fn mosaic(name: &str) -> Option<Self> {
        let (letters, bits) = name.split_at_checked(4)?;
        let mosaic = match letters {
            "rggb" => Mosaic::Rggb,
            "bggr" => Mosaic::Bggr,
            "gbrg" => Mosaic::Gbrg,
            "grbg" => Mosaic::Grbg,
            _ => return None,
        };
        match bits {
            "8" => Some(Self::Bayer8(mosaic)),
            "16" => Some(Self::Bayer16(mosaic)),
            _ => None,
        }
    }

    /// Whether an image of this size can be coded so.
    pub(super) fn takes(self, size: Size) -> bool {
        let Size { width, height } = size;
        match self {
            Self::Bits8(_) | Self::Bits16(_) | Self::Nv24 => true,
            Self::Uyvy | Self::Yuyv => width % 2 == 0,
            Self::Nv12 | Self::Nv21 => width % 2 == 0 && height % 2 == 0,
            // Every colour has to occur beside every pixel.
            Self::Bayer8(_) | Self::Bayer16(_) => width >= 4 && height >= 4,
        }
    }

    /// The planes in the order in which they lie; the second has no rows where there is only one.
    pub(super) fn planes(self, size: Size) -> [Plane; 2] {
        let (width, height) = (u64::from(size.width), u64::from(size.height));
        let plane = |rows, row_bytes, steps| Plane { rows, row_bytes, steps };
        let none = plane(0, 0, 0);
        match self {
            Self::Bits8(channels) => [plane(height, width * channels.count() as u64, 1), none],
            Self::Bits16(channels) => [plane(height, width * 2 * channels.count() as u64, 1), none],
            Self::Uyvy | Self::Yuyv => [plane(height, width * 2, 1), none],
            Self::Nv12 | Self::Nv21 => [plane(height, width, 1), plane(height / 2, width, 1)],
            Self::Nv24 => [plane(height, width, 1), plane(height, width * 2, 2)],
            Self::Bayer8(_) => [plane(height, width, 1), none],
            Self::Bayer16(_) => [plane(height, width * 2, 1), none],
        }
    }
}
