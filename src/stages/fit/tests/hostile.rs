//! Thousands of random claims and damaged files. Whatever comes out, nothing may panic.

use crate::runtime::input_pixels::InputPixels;
use image::{ColorType, ExtendedColorType};

use super::files::{jpeg, png};
use super::*;

/// A linear congruential generator, so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as u32) % n.max(1)
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u32) as usize]
    }
}

const ENCODINGS: [&str; 30] = [
    "rgb8",
    "bgr8",
    "rgba8",
    "bgra8",
    "mono8",
    "8UC1",
    "8UC3",
    "8UC4",
    "mono16",
    "16UC1",
    "rgb16",
    "bgr16",
    "rgba16",
    "16UC3",
    "16UC4",
    "uyvy",
    "yuv422",
    "yuyv",
    "yuv422_yuy2",
    "nv12",
    "nv21",
    "nv24",
    "bayer_rggb8",
    "bayer_bggr8",
    "bayer_gbrg8",
    "bayer_grbg8",
    "bayer_grbg16",
    "32FC1",
    "",
    "x",
];

fn fitters() -> Vec<Fitter> {
    let fits = [Fit::Stretch, Fit::Letterbox, Fit::Crop, Fit::Auto];
    let filters = [ResizeFilter::Exact, ResizeFilter::Linear];
    let model = size(32, 48);
    fits.iter()
        .flat_map(|&fit| filters.iter().map(move |&filter| Fitter::new(fit, model, filter, MAX_PIXELS)))
        .collect()
}

#[test]
fn no_claim_of_a_raster_panics() {
    let (mut random, mut fitters, mut pixels) = (Random(1), fitters(), InputPixels::default());
    let sides = [0, 1, 2, 3, 4, 5, 7, 8, 17, 64, 65, 300, 65_535, 65_536, 1 << 20, u32::MAX - 1, u32::MAX];
    let mut n_served = 0;
    for _ in 0..9000 {
        // Half of the sizes are small, so that many claims can be true.
        let n_sides = random.one_of(&[11, sides.len()]);
        let (width, height) = (random.one_of(&sides[..n_sides]), random.one_of(&sides[..n_sides]));
        let honest = width.wrapping_mul(random.one_of(&[1, 2, 3, 4, 6]));
        let step = random.one_of(&[honest, honest, honest.wrapping_add(7), 0, 1, u32::MAX]);
        let claimed = u64::from(step) * u64::from(height) * u64::from(random.one_of(&[1_u8, 2, 3])) / 2;
        let n_bytes = random.one_of(&[claimed, claimed * 2, claimed.saturating_sub(1), 0, 10]).min(1 << 18);
        let bytes = (0..n_bytes).map(|i| (i * 37) as u8).collect();
        let mut frame = raw(random.one_of(&ENCODINGS), size(width, height), step, bytes);
        if let CameraImage::Raw(raster) = &mut frame.image {
            raster.big_endian = random.below(2) == 1;
        }
        let which = random.below(fitters.len() as u32) as usize;
        n_served += u32::from(fitters[which].fit(&frame, &mut pixels).is_ok());
    }
    assert!(n_served > 500, "only {n_served} claims were true: the rest was not tried");
}

#[test]
fn no_damage_to_a_file_panics() {
    let image = size(48, 40);
    let rgb = gradient(image);
    let grey: Vec<u8> = rgb.chunks_exact(3).map(|p| p[0]).collect();
    let files = [
        jpeg(image, ExtendedColorType::Rgb8, &rgb),
        jpeg(image, ExtendedColorType::L8, &grey),
        png(image, ColorType::Rgb8, &rgb),
    ];
    let (mut random, mut fitters, mut pixels) = (Random(2), fitters(), InputPixels::default());
    let mut n_served = 0;
    for _ in 0..6000 {
        let mut bytes = files[random.below(3) as usize].clone();
        for _ in 0..random.below(6) {
            let at = random.below(bytes.len() as u32) as usize;
            match random.below(4) {
                // The first bytes hold the headers, where damage goes deepest.
                0 => bytes[at.min(600) % 300] = random.below(256) as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                2 => bytes.truncate(at.max(1)),
                _ => bytes[at] = 0xff,
            }
        }
        let which = random.below(fitters.len() as u32) as usize;
        n_served += u32::from(fitters[which].fit(&file(bytes), &mut pixels).is_ok());
    }
    assert!(n_served > 500, "only {n_served} files were whole");
}
