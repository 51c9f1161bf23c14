//! Model inputs against what Hugging Face, Pillow and arithmetic make of the same images.
//! `PIXIO_PIXELS` names the file that tests/peers/make_pixels.py writes.

use pixio_node::runtime::input_pixels::InputPixels;
use std::time::Instant;

use pixio_node::config::{Fit, ResizeFilter};
use pixio_node::geometry::Size;
use pixio_node::stages::camera::{CameraImage, Frame, Header, Raster};
use pixio_node::stages::fit::Fitter;
use safetensors::SafeTensors;

const MODEL: Size = Size { width: 256, height: 256 };

/// Runs `check` on the file, or says that it does not.
fn with_pixels(check: impl Fn(&SafeTensors<'_>)) {
    let Some(path) = std::env::var_os("PIXIO_PIXELS") else {
        eprintln!("SKIPPED: PIXIO_PIXELS names no file by tests/peers/make_pixels.py");
        return;
    };
    let bytes = std::fs::read(&path).unwrap();
    check(&SafeTensors::deserialize(&bytes).unwrap());
}

/// The middle part of every name `KIND/MIDDLE/PART`.
fn names_of<'a>(file: &'a SafeTensors<'_>, kind: &str, part: &str) -> Vec<&'a str> {
    let middle = |name: &'a str| name.strip_prefix(kind)?.strip_suffix(part);
    let names: Vec<_> = file.names().into_iter().filter_map(middle).collect();
    assert!(!names.is_empty(), "no {kind}*{part}");
    names
}

fn size_of(file: &SafeTensors<'_>, name: &str) -> Size {
    let tensor = file.tensor(name).unwrap();
    let &[height, width, 3] = tensor.shape() else {
        panic!("{name} is {:?}", tensor.shape());
    };
    Size { width: width as u32, height: height as u32 }
}

fn raw(encoding: &str, size: Size, step: u32, bytes: &[u8]) -> CameraImage {
    CameraImage::Raw(Raster {
        encoding: encoding.into(),
        width: size.width,
        height: size.height,
        step,
        big_endian: false,
        bytes: bytes.to_vec().into(),
    })
}

fn fitted(fit: Fit, model: Size, image: CameraImage) -> Vec<u8> {
    let frame =
        Frame { header: Header::default(), camera: 0, received: Instant::now(), image, intrinsics: None };
    let mut pixels = InputPixels::default();
    Fitter::new(fit, model, ResizeFilter::Exact, 25_000_000).fit(&frame, &mut pixels).unwrap();
    pixels.to_vec()
}

/// Largest and mean difference.
#[track_caller]
fn differences(found: &[u8], expect: &[u8]) -> (u8, f64) {
    assert_eq!(found.len(), expect.len());
    let each = || found.iter().zip(expect).map(|(one, other)| one.abs_diff(*other));
    let sum: u64 = each().map(u64::from).sum();
    (each().max().unwrap_or(0), sum as f64 / found.len() as f64)
}

#[test]
fn exact_is_within_one_level_of_hugging_face_and_pillow() {
    with_pixels(|file| {
        for name in names_of(file, "photo/", "/rgb") {
            let source = format!("photo/{name}/rgb");
            let size = size_of(file, &source);
            let tensor = |part: &str| file.tensor(&format!("photo/{name}/{part}")).unwrap().data();
            for (fit, part) in [(Fit::Stretch, "hf"), (Fit::Stretch, "pil"), (Fit::Crop, "crop")] {
                let found = fitted(fit, MODEL, raw("rgb8", size, size.width * 3, tensor("rgb")));
                let (max, mean) = differences(&found, tensor(part));
                eprintln!("{name} {size:?} against {part}: max {max}, mean {mean:.4}");
                assert!(max <= 1, "{name} against {part}: {max}");
            }
        }
    });
}

#[test]
fn channels_may_be_ordered_after_the_resize() {
    with_pixels(|file| {
        let rgb = file.tensor("photo/coffee/rgb").unwrap();
        let size = size_of(file, "photo/coffee/rgb");
        let bgr: Vec<u8> = rgb.data().chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]]).collect();
        let bgra: Vec<u8> = bgr.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 9]).collect();
        let expect = fitted(Fit::Stretch, MODEL, raw("rgb8", size, size.width * 3, rgb.data()));
        assert!(fitted(Fit::Stretch, MODEL, raw("bgr8", size, size.width * 3, &bgr)) == expect);
        assert!(fitted(Fit::Stretch, MODEL, raw("bgra8", size, size.width * 4, &bgra)) == expect);
    });
}

#[test]
fn encodings_have_the_colours_of_arithmetic() {
    with_pixels(|file| {
        let names = names_of(file, "code/", "/rgb");
        assert_eq!(names.len(), 21);
        for name in names {
            let size = size_of(file, &format!("code/{name}/rgb"));
            let tensor = |part: &str| file.tensor(&format!("code/{name}/{part}")).unwrap().data();
            let channels = match name {
                "rgb16" | "bgr16" => 6,
                "rgba8" | "bgra8" => 4,
                "rgb8" | "bgr8" | "8UC3" => 3,
                "mono16" | "16UC1" | "uyvy" | "yuv422" | "yuyv" | "yuv422_yuy2" => 2,
                _ => 1,
            };
            let found = fitted(Fit::Stretch, size, raw(name, size, size.width * channels, tensor("raw")));
            let is_inner = |i: usize| {
                let (x, y) = (i / 3 % size.width as usize, i / 3 / size.width as usize);
                x > 0 && y > 0 && x + 1 < size.width as usize && y + 1 < size.height as usize
            };
            // A demosaicing has to invent the colours of the border.
            let kept = |pixels: &[u8]| -> Vec<u8> {
                let all = pixels.iter().copied().enumerate();
                all.filter(|(i, _)| !name.starts_with("bayer") || is_inner(*i))
                    .map(|(_, value)| value)
                    .collect()
            };
            let (max, mean) = differences(&kept(&found), &kept(tensor("rgb")));
            eprintln!("{name}: max {max}, mean {mean:.4}");
            let is_rounded = name.starts_with(['y', 'u', 'n']) || name.starts_with("bayer");
            assert!(max <= u8::from(is_rounded), "{name}: {max}");
        }
    });
}

#[test]
fn jpegs_decode_as_by_libjpeg() {
    with_pixels(|file| {
        for name in names_of(file, "photo/", "/rgb") {
            let size = size_of(file, &format!("photo/{name}/rgb"));
            for kind in ["jpeg", "progressive", "webcam", "fine"] {
                let bytes = file.tensor(&format!("photo/{name}/{kind}")).unwrap().data().to_vec();
                let expect = file.tensor(&format!("photo/{name}/{kind}_rgb")).unwrap();
                let decoded = fitted(Fit::Stretch, size, CameraImage::Compressed(bytes.into()));
                let (max, mean) = differences(&decoded, expect.data());
                eprintln!("{name} {kind}: max {max}, mean {mean:.4}");
                assert_eq!(max, 0, "{name} {kind}: mean {mean}");
            }
        }
    });
}
