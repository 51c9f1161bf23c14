//! The whole stage as a function: images in, model inputs and refusals out.

mod encodings;
mod files;
mod hostile;
mod refusals;

use crate::runtime::input_pixels::InputPixels;
use std::time::Instant;

use super::{FitError, Fitter};
use crate::config::{Fit, ResizeFilter};
use crate::geometry::{Geometry, Size};
use crate::stages::camera::{CameraImage, Frame, Header, Raster};

/// As `max_image_pixels` is by default.
const MAX_PIXELS: u64 = 25_000_000;

fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

fn frame(image: CameraImage) -> Frame {
    Frame { header: Header::default(), camera: 0, received: Instant::now(), image, intrinsics: None }
}

fn raw(encoding: &str, size: Size, step: u32, bytes: Vec<u8>) -> Frame {
    let (encoding, bytes) = (encoding.to_owned(), bytes.into());
    let Size { width, height } = size;
    frame(CameraImage::Raw(Raster { encoding, width, height, step, big_endian: false, bytes }))
}

fn file(bytes: Vec<u8>) -> Frame {
    frame(CameraImage::Compressed(bytes.into()))
}

/// Fits with a fresh fitter; on success the pixels are of the geometry's size.
fn fit(how: Fit, model: Size, frame: &Frame) -> Result<(Geometry, Vec<u8>), FitError> {
    let mut pixels = InputPixels::default();
    pixels.take(3).unwrap().copy_from_slice(&[1, 2, 3]);
    let geometry = Fitter::new(how, model, ResizeFilter::Exact, MAX_PIXELS).fit(frame, &mut pixels)?;
    assert_eq!(pixels.len(), (geometry.model.width * geometry.model.height * 3) as usize);
    Ok((geometry, pixels.to_vec()))
}

/// An image with a gradient, RGB; no two channels are alike.
fn gradient(size: Size) -> Vec<u8> {
    let pixel = |x: u32, y: u32| [(x * 255 / size.width) as u8, (y * 255 / size.height) as u8, (x ^ y) as u8];
    (0..size.height).flat_map(|y| (0..size.width).flat_map(move |x| pixel(x, y))).collect()
}

#[test]
fn letterbox_pads_and_crop_keeps_the_middle() {
    // Columns of one colour each: 64x32, left half red, right half blue.
    let row: Vec<u8> = (0..64).flat_map(|x| if x < 32 { [250, 0, 0] } else { [0, 0, 250] }).collect();
    let wide = raw("rgb8", size(64, 32), 192, row.repeat(32));
    let at = |pixels: &[u8], x: usize, y: usize| [0, 1, 2].map(|c| pixels[(y * 32 + x) * 3 + c]);

    let (_, boxed) = fit(Fit::Letterbox, size(32, 32), &wide).unwrap();
    for y in [0, 7, 24, 31] {
        assert_eq!(at(&boxed, 16, y), [124, 116, 104], "row {y}");
    }
    for y in [8, 23] {
        assert_eq!((at(&boxed, 0, y), at(&boxed, 31, y)), ([250, 0, 0], [0, 0, 250]), "row {y}");
    }
    let (_, cropped) = fit(Fit::Crop, size(32, 32), &wide).unwrap();
    assert_eq!((at(&cropped, 15, 0), at(&cropped, 16, 31)), ([250, 0, 0], [0, 0, 250]));
}

#[test]
fn auto_chooses_the_size_and_says_so() {
    let image = size(128, 72);
    let (geometry, _) = fit(Fit::Auto, size(256, 256), &raw("rgb8", image, 384, gradient(image))).unwrap();
    assert_eq!((geometry.camera, geometry.model), (image, size(336, 192)));
}

#[test]
fn linear_is_near_exact_where_nothing_aliases() {
    let (image, model) = (size(96, 64), size(192, 128));
    let smooth: Vec<u8> = gradient(image).chunks_exact(3).flat_map(|p| [p[0], p[1], 77]).collect();
    let frame = raw("bgr8", image, 288, smooth);
    let mut linear = InputPixels::default();
    for how in [Fit::Stretch, Fit::Crop, Fit::Letterbox] {
        let (_, exact) = fit(how, model, &frame).unwrap();
        Fitter::new(how, model, ResizeFilter::Linear, MAX_PIXELS).fit(&frame, &mut linear).unwrap();
        let worst = exact.iter().zip(&*linear).map(|(one, other)| one.abs_diff(*other)).max();
        assert!(worst <= Some(2), "{how:?}: {worst:?}");
    }
}

#[test]
fn buffers_are_kept_from_image_to_image() {
    let (image, model) = (size(64, 48), size(32, 32));
    let mut fitter = Fitter::new(Fit::Stretch, model, ResizeFilter::Exact, MAX_PIXELS);
    let mut pixels = InputPixels::default();
    let mut addresses = Vec::new();
    for _ in 0..3 {
        fitter.fit(&raw("uyvy", image, 130, vec![128; 130 * 48]), &mut pixels).unwrap();
        let buffers = fitter.buffers().map(|buffer| buffer.place());
        addresses.push(((pixels.as_ptr(), pixels.len()), buffers));
    }
    assert!(addresses.windows(2).all(|pair| pair[0] == pair[1]));
}
