//! Images of any bytes, for the fuzzers.

use std::cell::RefCell;
use std::time::Instant;

use super::Fitter;
use crate::config::{Fit, ResizeFilter};
use crate::geometry::Size;
use crate::runtime::input_pixels::InputPixels;
use crate::stages::camera::{CameraImage, Frame, Header, Raster};

/// Small, so that a run is short.
const MAX_PIXELS: u64 = 1 << 18;
const MODEL: Size = Size { width: 48, height: 32 };

thread_local! {
    static FITTERS: RefCell<[Fitter; 4]> = RefCell::new(
        [
            (Fit::Stretch, ResizeFilter::Exact),
            (Fit::Letterbox, ResizeFilter::Linear),
            (Fit::Crop, ResizeFilter::Exact),
            (Fit::Auto, ResizeFilter::Linear),
        ]
        .map(|(fit, filter)| Fitter::new(fit, MODEL, filter, MAX_PIXELS)),
    );
}

fn fit(image: CameraImage, which: u8) {
    let (header, received) = (Header::default(), Instant::now());
    let frame = Frame { header, camera: 0, received, image, intrinsics: None };
    FITTERS.with_borrow_mut(|fitters| {
        let mut pixels = InputPixels::default();
        match fitters[usize::from(which) % fitters.len()].fit(&frame, &mut pixels) {
            Ok(geometry) => {
                let Size { width, height } = geometry.model;
                assert_eq!(pixels.len(), width as usize * height as usize * 3);
            }
            Err(err) => assert!(err.to_string().len() < 4096, "a message without bound"),
        }
    });
}

/// A file as a compressed image.
///
/// # Panics
/// On a fault of ours.
pub fn image_file(data: &[u8]) {
    fit(CameraImage::Compressed(data.to_vec().into()), 0);
}

/// A raw image: a header of any claims, then a name and bytes.
///
/// # Panics
/// On a fault of ours.
pub fn raw_frame(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<15>() else { return };
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (name, bytes) = rest.split_at(rest.len().min(usize::from(head[0])));
    let raster = Raster {
        encoding: String::from_utf8_lossy(name).into_owned(),
        width: number(1),
        height: number(5),
        step: number(9),
        big_endian: head[13] & 1 == 1,
        bytes: bytes.to_vec().into(),
    };
    fit(CameraImage::Raw(raster), head[14]);
}
