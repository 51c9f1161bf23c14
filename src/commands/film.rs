//! The images that `bench` feeds to the pipeline, as a camera would.

use crate::runtime::input_pixels::InputPixels;
use std::fmt;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;

use crate::files;
use crate::geometry::Size;
use crate::runtime::pool::Pool;
use crate::stages::camera::{CameraImage, Frame, Header, Raster, Stamp};
use crate::stages::fit::Fitter;

/// Most bytes of an image file.
const MOST_BYTES: u64 = 1 << 30;

/// What the camera of `bench` sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Images {
    /// Synthetic raw images (bgr8) of this size, each one different.
    Synthetic(Size),
    /// One JPEG or PNG file, as a compressed image.
    File(PathBuf),
}

/// Images that are ready to be sent.
pub(super) struct Film {
    images: FilmSource,
    /// Size of every image, pixels.
    pub(super) size: Size,
}

enum FilmSource {
    Synthetic(Gradient),
    File { bytes: Vec<u8>, pool: Pool },
}

impl Film {
    /// `fitter` reads a file once, to learn its size.
    ///
    /// # Errors
    /// A file that cannot be read or decoded.
    pub(super) fn open(images: &Images, mut fitter: Fitter) -> anyhow::Result<Self> {
        let file = match images {
            Images::Synthetic(size) => {
                return Ok(Self { images: FilmSource::Synthetic(Gradient::new(*size)), size: *size });
            }
            Images::File(file) => file,
        };
        let reason = || format!("cannot read the image {}", file.display());
        let bytes = files::read(file, MOST_BYTES).with_context(reason)?;
        let first = frame(CameraImage::Compressed(bytes.clone().into()));
        let geometry = fitter.fit(&first, &mut InputPixels::default()).with_context(reason)?;
        Ok(Self { images: FilmSource::File { bytes, pool: Pool::default() }, size: geometry.camera })
    }

    /// The next frame of camera 0, received now.
    pub(super) fn next(&mut self) -> Frame {
        frame(match &mut self.images {
            FilmSource::Synthetic(gradient) => gradient.next(),
            FilmSource::File { bytes, pool } => {
                let mut copy = pool.lease();
                copy.clear();
                copy.extend_from_slice(bytes);
                CameraImage::Compressed(copy)
            }
        })
    }

    /// `bgr8` or `compressed`.
    pub(super) fn encoding(&self) -> &'static str {
        match self.images {
            FilmSource::Synthetic(_) => "bgr8",
            FilmSource::File { .. } => "compressed",
        }
    }
}

impl fmt::Display for Film {
    /// Size and encoding, such as `1280x720 bgr8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.size, self.encoding())
    }
}

/// A moving gradient with fine detail, so that no cache sees the same image twice.
struct Gradient {
    size: Size,
    texture: Vec<u8>,
    shift: u32,
    pool: Pool,
}

impl Gradient {
    fn new(size: Size) -> Self {
        let texture = (0..size.width * 6).map(|x| (x.wrapping_mul(2654435761) >> 24) as u8 / 2).collect();
        Self { size, texture, shift: 0, pool: Pool::default() }
    }

    fn next(&mut self) -> CameraImage {
        let row_bytes = self.size.width * 3;
        self.shift = (self.shift + 3) % row_bytes;
        let mut bytes = self.pool.lease();
        bytes.clear();
        for y in 0..self.size.height {
            let start = ((self.shift + y * 5) % row_bytes) as usize;
            bytes.extend_from_slice(&self.texture[start..start + row_bytes as usize]);
        }
        CameraImage::Raw(Raster {
            encoding: "bgr8".into(),
            width: self.size.width,
            height: self.size.height,
            step: row_bytes,
            big_endian: false,
            bytes,
        })
    }
}

fn frame(image: CameraImage) -> Frame {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamp = Stamp { sec: now.as_secs() as i32, nanosec: now.subsec_nanos() };
    Frame {
        header: Header { stamp, frame_id: "bench".into() },
        camera: 0,
        received: Instant::now(),
        image,
        intrinsics: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Fit, ResizeFilter};

    const SIZE: Size = Size { width: 48, height: 32 };

    fn fitter() -> Fitter {
        Fitter::new(Fit::Stretch, Size { width: 16, height: 16 }, ResizeFilter::Linear, 1_000_000)
    }

    #[test]
    fn synthetic_images_differ_and_have_their_size() {
        let mut film = Film::open(&Images::Synthetic(SIZE), fitter()).unwrap();
        let [one, other] = [film.next(), film.next()];
        let (CameraImage::Raw(a), CameraImage::Raw(b)) = (&one.image, &other.image) else {
            panic!("not raw")
        };
        assert!(*a.bytes != *b.bytes && a.bytes.len() == 48 * 32 * 3);
        assert_eq!(film.to_string(), "48x32 bgr8");
    }

    #[test]
    fn a_file_is_sent_as_it_is_or_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("room.png");
        let bytes = crate::encode::gray8(&[7; 48 * 32], SIZE).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let mut film = Film::open(&Images::File(path.clone()), fitter()).unwrap();
        assert!(matches!(film.next().image, CameraImage::Compressed(file) if *file == bytes));
        assert_eq!(film.to_string(), "48x32 compressed");
        std::fs::write(&path, &bytes[..20]).unwrap();
        let refused = Film::open(&Images::File(path), fitter()).err().unwrap();
        assert!(format!("{refused:#}").contains("room.png: "), "{refused:#}");
    }
}
