//! Every encoding on images whose colours are known.

use super::*;
use crate::stages::camera::CameraImage;

const SIZE: Size = Size { width: 16, height: 16 };

/// Fits a 16x16 image to 16x16: only the colours remain.
fn colours(encoding: &str, step: u32, big_endian: bool, bytes: Vec<u8>) -> Vec<u8> {
    let mut frame = raw(encoding, SIZE, step, bytes);
    if let CameraImage::Raw(raster) = &mut frame.image {
        raster.big_endian = big_endian;
    }
    fit(Fit::Stretch, SIZE, &frame).unwrap().1
}

/// An image that repeats `unit` in every row comes out in one colour, `expect`, to `tolerance`;
/// then the same again with padded rows.
#[track_caller]
fn check(encoding: &str, unit: &[u8], n_bytes: usize, expect: [u8; 3], tolerance: u8) {
    let row: Vec<u8> = unit.iter().copied().cycle().take(n_bytes).collect();
    let found = colours(encoding, n_bytes as u32, false, row.repeat(16));
    for pixel in found.chunks_exact(3) {
        let is_near = pixel.iter().zip(expect).all(|(found, expect)| found.abs_diff(expect) <= tolerance);
        assert!(is_near, "{encoding}: {pixel:?} is not {expect:?}");
    }
    let mut padded: Vec<u8> = [row.as_slice(), &[0xee; 5]].concat().repeat(16);
    assert_eq!(colours(encoding, n_bytes as u32 + 5, false, padded.clone()), found, "{encoding}, padded");
    padded.truncate(padded.len() - 5);
    assert_eq!(colours(encoding, n_bytes as u32 + 5, false, padded), found, "{encoding}, last row unpadded");
}

#[test]
fn interleaved_channels_of_eight_bits() {
    check("rgb8", &[200, 100, 50], 48, [200, 100, 50], 0);
    check("bgr8", &[50, 100, 200], 48, [200, 100, 50], 0);
    check("8UC3", &[50, 100, 200], 48, [200, 100, 50], 0);
    check("rgba8", &[200, 100, 50, 0], 64, [200, 100, 50], 0);
    check("bgra8", &[50, 100, 200, 0], 64, [200, 100, 50], 0);
    check("8UC4", &[50, 100, 200, 0], 64, [200, 100, 50], 0);
    check("mono8", &[77], 16, [77; 3], 0);
    check("8UC1", &[77], 16, [77; 3], 0);
}

#[test]
fn sixteen_bits_in_both_byte_orders() {
    // 51400 is 200 * 257, 25700 is 100 * 257, 12850 is 50 * 257.
    let le = |samples: &[u16]| samples.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<u8>>();
    check("mono16", &le(&[51_400]), 32, [200; 3], 0);
    check("16UC1", &le(&[51_400 + 128]), 32, [200; 3], 0);
    check("16UC1", &le(&[51_400 + 129]), 32, [201; 3], 0);
    check("rgb16", &le(&[51_400, 25_700, 12_850]), 96, [200, 100, 50], 0);
    for encoding in ["bgr16", "16UC3"] {
        check(encoding, &le(&[12_850, 25_700, 51_400]), 96, [200, 100, 50], 0);
    }
    check("rgba16", &le(&[51_400, 25_700, 12_850, 9]), 128, [200, 100, 50], 0);
    for encoding in ["bgra16", "16UC4"] {
        check(encoding, &le(&[12_850, 25_700, 51_400, 9]), 128, [200, 100, 50], 0);
    }

    let be: Vec<u8> = [51_400_u16, 25_700, 12_850].iter().flat_map(|s| s.to_be_bytes()).collect();
    assert_eq!(colours("rgb16", 96, true, be.repeat(256)), [200, 100, 50].repeat(256));
    assert_eq!(colours("rgb8", 48, true, [200, 100, 50].repeat(256)), [200, 100, 50].repeat(256));
}

#[test]
fn luma_and_chroma() {
    // BT.601: (200, 100, 50) is Y 122.7, U 91.2, V 175.5.
    for encoding in ["uyvy", "yuv422"] {
        check(encoding, &[91, 123, 175, 123], 32, [200, 100, 50], 2);
    }
    for encoding in ["yuyv", "yuv422_yuy2"] {
        check(encoding, &[123, 91, 123, 175], 32, [200, 100, 50], 2);
    }
}

#[test]
fn planes_of_luma_and_chroma() {
    let (luma, pair) = (123, [91, 175]);
    let near = |found: Vec<u8>| {
        let expect = [200_u8, 100, 50];
        assert!(
            found.chunks_exact(3).all(|p| p.iter().zip(expect).all(|(a, b)| a.abs_diff(b) <= 2)),
            "{found:?}"
        );
    };
    // Rows are padded with what would show as a strong colour; the last row's padding is not there.
    let plane = |row: Vec<u8>, rows: usize, padding: usize| [row, vec![255; padding]].concat().repeat(rows);
    for padding in [0, 6] {
        let step = 16 + padding as u32;
        let reversed = [pair[1], pair[0]];
        for (encoding, pair) in [("nv12", pair), ("nv21", reversed)] {
            let planes = [plane(vec![luma; 16], 16, padding), plane(pair.repeat(8), 8, padding)].concat();
            near(colours(encoding, step, false, planes[..planes.len() - padding].to_vec()));
        }
        let nv24 = [plane(vec![luma; 16], 16, padding), plane(pair.repeat(16), 16, 2 * padding)].concat();
        near(colours("nv24", step, false, nv24[..nv24.len() - 2 * padding].to_vec()));
    }
}

#[test]
fn mosaics_start_with_the_colours_of_their_names() {
    for letters in ["rggb", "bggr", "gbrg", "grbg"] {
        let value = |letter: u8| match letter {
            b'r' => 200,
            b'g' => 100,
            _ => 50,
        };
        let cell: Vec<u8> = letters.bytes().map(value).collect();
        let rows = [cell[..2].repeat(8), cell[2..].repeat(8)].concat();
        let found = colours(&format!("bayer_{letters}8"), 16, false, rows.repeat(8));
        assert_eq!(found, [200, 100, 50].repeat(256), "{letters}");
        for (big_endian, bytes) in [(false, u16::to_le_bytes as fn(u16) -> [u8; 2]), (true, u16::to_be_bytes)]
        {
            let wide = |byte: &u8| bytes(u16::from(*byte) * 257);
            let rows: Vec<u8> = rows.iter().flat_map(wide).collect();
            let found = colours(&format!("bayer_{letters}16"), 32, big_endian, rows.repeat(8));
            assert_eq!(found, [200, 100, 50].repeat(256), "{letters}, 16 bits, big endian {big_endian}");
        }
    }
}
