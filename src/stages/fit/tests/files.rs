//! JPEG and PNG files, whole and broken.

use image::{ColorType, ExtendedColorType, ImageEncoder};

use super::*;

const SIZE: Size = Size { width: 96, height: 64 };

pub(super) fn jpeg(size: Size, kind: ExtendedColorType, pixels: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 95);
    encoder.write_image(pixels, size.width, size.height, kind).unwrap();
    file
}

pub(super) fn png(size: Size, kind: ColorType, pixels: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut file);
    encoder.write_image(pixels, size.width, size.height, kind.into()).unwrap();
    file
}

fn pixels_len() -> usize {
    (SIZE.width * SIZE.height * 3) as usize
}

fn pixels_of(bytes: Vec<u8>) -> Vec<u8> {
    fit(Fit::Stretch, SIZE, &file(bytes)).unwrap().1
}

#[track_caller]
fn check_refused(bytes: Vec<u8>, reason: &str) {
    let n_bytes = bytes.len();
    let found = fit(Fit::Stretch, SIZE, &file(bytes)).err().map_or("accepted", |err| err.reason());
    assert_eq!(found, reason, "{n_bytes} bytes");
}

/// Slow slopes: what JPEG keeps to a few levels.
fn smooth() -> Vec<u8> {
    gradient(SIZE).chunks_exact(3).flat_map(|p| [p[0], p[1], 255 - p[0]]).collect()
}

#[test]
fn jpegs_in_colour_and_in_grey() {
    let near = |one: &[u8], other: &[u8]| one.iter().zip(other).all(|(one, other)| one.abs_diff(*other) <= 8);
    assert!(near(&pixels_of(jpeg(SIZE, ExtendedColorType::Rgb8, &smooth())), &smooth()));
    let grey: Vec<u8> = smooth().chunks_exact(3).map(|p| p[0]).collect();
    let expect: Vec<u8> = grey.iter().flat_map(|&grey| [grey; 3]).collect();
    assert!(near(&pixels_of(jpeg(SIZE, ExtendedColorType::L8, &grey)), &expect));
}

#[test]
fn jpegs_of_webcams_come_without_huffman_tables() {
    let whole = jpeg(SIZE, ExtendedColorType::Rgb8, &smooth());
    let mut bare = whole[..2].to_vec();
    let mut at = 2;
    // Segments up to the start of scan: marker, then a length that counts itself.
    while whole[at + 1] != 0xda {
        let next = at + 2 + usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
        if whole[at + 1] != 0xc4 {
            bare.extend(&whole[at..next]);
        }
        at = next;
    }
    bare.extend(&whole[at..]);
    assert!(bare.len() < whole.len());
    assert_eq!(pixels_of(bare), pixels_of(whole));
}

#[test]
fn a_jpeg_that_breaks_off_is_refused_wherever_it_does() {
    let whole = jpeg(SIZE, ExtendedColorType::Rgb8, &gradient(SIZE));
    for n_bytes in 3..whole.len() - 2 {
        check_refused(whole[..n_bytes].to_vec(), "jpeg");
    }
    // The end marker alone may be missing, or half of it.
    for n_bytes in [whole.len() - 2, whole.len() - 1] {
        assert_eq!(pixels_of(whole[..n_bytes].to_vec()), pixels_of(whole.clone()));
    }
    // Cameras may pad what they send.
    let padded = [whole.as_slice(), &[0; 100]].concat();
    assert_eq!(pixels_of(padded), pixels_of(whole));
}

#[test]
fn a_jpeg_that_ends_too_early_is_refused() {
    // What a webcam makes of lost packets: data is missing, the end is there.
    let camera = size(320, 240);
    let whole = jpeg(camera, ExtendedColorType::Rgb8, &gradient(camera));
    for percent in (10..100).chain([99]) {
        let cut = &whole[..whole.len() * percent / 100];
        check_refused([cut, &[0xff, 0xd9]].concat(), "jpeg");
        check_refused(cut.to_vec(), "jpeg");
    }
}

#[test]
fn flat_jpegs_are_not_taken_for_short_ones() {
    for (width, height) in [(16, 16), (255, 16), (256, 256), (257, 9), (640, 480), (3000, 8)] {
        let camera = size(width, height);
        let n_pixels = (width * height) as usize;
        for file in [
            jpeg(camera, ExtendedColorType::L8, &vec![200; n_pixels]),
            jpeg(camera, ExtendedColorType::Rgb8, &vec![200; n_pixels * 3]),
        ] {
            assert_eq!(pixels_of(file), vec![200; pixels_len()], "{width}x{height}");
        }
    }
}

#[test]
fn a_jpeg_that_claims_too_much_is_refused() {
    let mut huge = jpeg(SIZE, ExtendedColorType::Rgb8, &gradient(SIZE));
    let frame_header = huge.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    huge[frame_header + 5..frame_header + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    check_refused(huge, "too large");
}

#[test]
fn pngs_of_every_kind() {
    let rgb = gradient(SIZE);
    let pixels = || rgb.chunks_exact(3);
    let grey: Vec<u8> = pixels().map(|p| p[0]).collect();
    let grey_as_rgb: Vec<u8> = grey.iter().flat_map(|&grey| [grey; 3]).collect();
    let wide =
        |bytes: &[u8]| bytes.iter().flat_map(|&b| (u16::from(b) * 257).to_ne_bytes()).collect::<Vec<_>>();
    let rgba: Vec<u8> = pixels().flat_map(|p| [p[0], p[1], p[2], 0]).collect();
    let grey_alpha: Vec<u8> = grey.iter().flat_map(|&grey| [grey, 128]).collect();
    let check =
        |kind, bytes: &[u8], expect: &[u8]| assert!(pixels_of(png(SIZE, kind, bytes)) == expect, "{kind:?}");
    check(ColorType::Rgb8, &rgb, &rgb);
    check(ColorType::Rgba8, &rgba, &rgb);
    check(ColorType::L8, &grey, &grey_as_rgb);
    check(ColorType::La8, &grey_alpha, &grey_as_rgb);
    check(ColorType::Rgb16, &wide(&rgb), &rgb);
    check(ColorType::Rgba16, &wide(&rgba), &rgb);
    check(ColorType::L16, &wide(&grey), &grey_as_rgb);
    check(ColorType::La16, &wide(&grey_alpha), &grey_as_rgb);
}

#[test]
fn broken_pngs_are_refused() {
    let whole = png(SIZE, ColorType::Rgb8, &gradient(SIZE));
    for n_bytes in [8, 20, 33, 60, whole.len() / 2, whole.len() - 20] {
        check_refused(whole[..n_bytes].to_vec(), "png");
    }
    let mut damaged = whole;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    check_refused(damaged, "png");
}

#[test]
fn a_png_that_claims_too_much_is_refused() {
    // The header with its checksum, of a file that ends before any pixel.
    let claim = |size: Size| {
        let mut file = png(size, ColorType::L8, &vec![0; (size.width * size.height) as usize]);
        file.truncate(60);
        file
    };
    check_refused(claim(size(9000, 8000)), "too large");
    check_refused(claim(size(1000, 1000)), "png");
}

#[test]
fn other_files_are_refused_by_their_first_bytes() {
    check_refused(vec![], "compressed format");
    check_refused(b"GIF89a".to_vec(), "compressed format");
    check_refused(vec![0xff, 0xd8], "compressed format");
    check_refused(vec![0; 1000], "compressed format");
}
