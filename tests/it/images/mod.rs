//! Image files of every structure, whole, cut, damaged and built to be expensive.

mod cuts;
mod damage;
mod expensive;
mod jpeg_writer;
mod jpegs;
mod png_writer;
mod pngs;

use pixio_node::runtime::input_pixels::InputPixels;
use std::process::{Command, Stdio};
use std::time::Instant;

use pixio_node::config::{Fit, ResizeFilter};
use pixio_node::geometry::Size;
use pixio_node::stages::camera::{CameraImage, Frame, Header};
use pixio_node::stages::fit::{FitError, Fitter};

const MAX_PIXELS: u64 = 25_000_000;

fn fitter(size: Size) -> Fitter {
    Fitter::new(Fit::Stretch, size, ResizeFilter::Exact, MAX_PIXELS)
}

fn frame(file: Vec<u8>) -> Frame {
    let image = CameraImage::Compressed(file.into());
    Frame { header: Header::default(), camera: 0, received: Instant::now(), image, intrinsics: None }
}

/// The pixels of a file of that size, RGB.
fn decoded((width, height): (usize, usize), file: &[u8]) -> Result<Vec<u8>, FitError> {
    let size = Size { width: width as u32, height: height as u32 };
    let mut pixels = InputPixels::default();
    let geometry = fitter(size).fit(&frame(file.to_vec()), &mut pixels)?;
    assert_eq!(geometry.camera, size);
    Ok(pixels.to_vec())
}

/// A pixel of a made-up image with slopes, edges and some noise: component 0 is grey or red, 1 and 2 are
/// colours.
fn sample(component: usize, x: usize, y: usize) -> u8 {
    let noise = (x * 7919 + y * 104_729 + component * 31) % 23;
    match component {
        0 => (x * 3 + y + noise + (x / 9 + y / 5) % 2 * 60) as u8,
        1 => (100 + x % 64 + noise / 4) as u8,
        _ => (180 - (y % 64) as i32 - (x / 16 % 4) as i32 * 9) as u8,
    }
}

/// What a program makes of `input`; `None`, said once, where it is not installed.
fn piped(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    std::fs::write(&path, input).unwrap();
    let output = Command::new(program).args(arguments).arg(&path).stderr(Stdio::null()).output();
    let Ok(output) = output else {
        crate::skipped(&format!("{program} is not installed (libjpeg-turbo-progs)"));
        return None;
    };
    // 2: with warnings.
    assert!(matches!(output.status.code(), Some(0 | 2)), "{program} {arguments:?}: {}", output.status);
    Some(output.stdout)
}

/// Width, height and RGB pixels of a binary PPM or PGM file.
fn from_pnm(file: &[u8]) -> ((usize, usize), Vec<u8>) {
    let mut fields = file.splitn(5, |byte| byte.is_ascii_whitespace());
    let kind = fields.next().unwrap();
    let mut number = || std::str::from_utf8(fields.next().unwrap()).unwrap().parse::<usize>().unwrap();
    let (width, height, _) = (number(), number(), number());
    let pixels = fields.next().unwrap();
    match kind {
        b"P6" => ((width, height), pixels.to_vec()),
        _ => ((width, height), pixels.iter().flat_map(|&grey| [grey; 3]).collect()),
    }
}
