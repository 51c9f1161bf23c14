//! Every kind of PNG is served with the colours that it stores; what else it carries is not read.

use super::png_writer::{chunk, file, header, packed, packed_zeros, rows};
use super::*;

const GREY: u8 = 0;
const RGB: u8 = 2;
const PALETTE: u8 = 3;
const GREY_ALPHA: u8 = 4;
const RGBA: u8 = 6;

fn palette() -> Vec<u8> {
    (0..=255).flat_map(|i: u8| [i, i.wrapping_mul(7), 255 - i]).collect()
}

/// The stored samples of a pixel and its colour.
fn pixel(depth: usize, color: u8, x: usize, y: usize) -> (Vec<u16>, [u8; 3]) {
    let most = (1_u32 << depth) - 1;
    let stored = |c: usize| ((x * 977 + y * 3571 + c * 12_345) as u32 % (most + 1)) as u16;
    let eight = |sample: u16| (f64::from(sample) * 255.0 / f64::from(most)).round() as u8;
    let n_samples = [1, 0, 3, 1, 2, 0, 4][usize::from(color)];
    let samples: Vec<u16> = (0..n_samples).map(stored).collect();
    let color = match color {
        GREY | GREY_ALPHA => [eight(samples[0]); 3],
        PALETTE => [0, 1, 2].map(|c| palette()[usize::from(samples[0]) * 3 + c]),
        _ => [0, 1, 2].map(|c| eight(samples[c])),
    };
    (samples, color)
}

/// A file and what it holds.
pub(super) struct Kind {
    name: String,
    size: (usize, usize),
    pub(super) file: Vec<u8>,
    /// Its pixels, RGB.
    expect: Vec<u8>,
}

/// One file of every kind and several sizes.
pub(super) fn kinds() -> Vec<Kind> {
    let depths: [(u8, &[usize]); 5] = [
        (GREY, &[1, 2, 4, 8, 16]),
        (RGB, &[8, 16]),
        (PALETTE, &[1, 2, 4, 8]),
        (GREY_ALPHA, &[8, 16]),
        (RGBA, &[8, 16]),
    ];
    let mut all = Vec::new();
    for (width, height) in [(1, 1), (2, 9), (5, 3), (17, 33), (64, 1)] {
        for (color, depths) in depths {
            for (&depth, is_interlaced) in depths.iter().flat_map(|depth| [(depth, false), (depth, true)]) {
                let size = (width, height);
                let stored = rows(size, depth, is_interlaced, |x, y| pixel(depth, color, x, y).0);
                let n_colors = (1 << depth.min(8)) * 3;
                let mut before = vec![];
                match color {
                    PALETTE => {
                        before.push(chunk(b"PLTE", &palette()[..n_colors]));
                        before.push(chunk(b"tRNS", &[0, 9, 255][..2]));
                    }
                    GREY => before.push(chunk(b"tRNS", &[0, 1])),
                    RGB => before.push(chunk(b"tRNS", &[0, 1, 0, 2, 0, 3])),
                    _ => (),
                }
                // Pixels may come in any number of pieces.
                let stored = packed(&stored);
                let (one, two) = stored.split_at(stored.len() / 2);
                let header = header(size, depth as u8, color, is_interlaced);
                let file = file(&header, &before, &[one.to_vec(), vec![], two.to_vec()], &[]);
                let colors = (0..width * height).flat_map(|i| pixel(depth, color, i % width, i / width).1);
                let name = format!(
                    "{width}x{height}, colour type {color}, {depth} bits, interlaced: {is_interlaced}"
                );
                all.push(Kind { name, size, file, expect: colors.collect() });
            }
        }
    }
    all
}

#[test]
fn every_kind_has_the_colours_that_it_stores() {
    for Kind { name, size, file, expect } in kinds() {
        let found = decoded(size, &file).unwrap_or_else(|err| panic!("{name}: {err}"));
        assert!(found == expect, "{name}");
    }
}

fn animated(size: (usize, usize), behind: &[Vec<u8>]) -> Vec<u8> {
    let header = header(size, 8, GREY, false);
    let stored = packed(&rows(size, 8, false, |x, y| pixel(8, GREY, x, y).0));
    let control = |width: u32| {
        let numbers = [0, width, 1, 0, 0].map(u32::to_be_bytes).concat();
        chunk(b"fcTL", &[&numbers[..], &[0, 1, 0, 1, 0, 0]].concat())
    };
    let before = [chunk(b"acTL", &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), control(3)];
    file(&header, &before, &[stored], behind)
}

#[test]
fn what_is_not_the_image_is_not_read() {
    let size = (20, 10);
    let stored = packed(&rows(size, 8, false, |x, y| pixel(8, GREY, x, y).0));
    let head = header(size, 8, GREY, false);
    let expect: Vec<u8> = (0..200).flat_map(|i| pixel(8, GREY, i % 20, i / 20).1).collect();
    let bomb = packed_zeros(64 << 20);
    let profile = chunk(b"iCCP", &[&b"bomb\0\0"[..], &bomb].concat());
    let text = chunk(b"zTXt", &[&b"bomb\0\0"[..], &bomb].concat());
    let words = chunk(b"iTXt", &[&b"bomb\0\x01\0\0\0"[..], &bomb].concat());
    let mut wrong = chunk(b"gAMA", &[0, 0, 0, 9]);
    *wrong.last_mut().unwrap() ^= 1;
    let half = chunk(b"tEXt", &[b'a'; 99])[..50].to_vec();
    let mut too_much = stored.clone();
    too_much.extend(&bomb);
    let of =
        |before: &[Vec<u8>], behind: &[Vec<u8>]| file(&head, before, std::slice::from_ref(&stored), behind);
    let without_end = of(&[], &[])[..of(&[], &[]).len() - 12].to_vec();
    for (name, bytes) in [
        ("profile", of(&[profile], &[])),
        ("texts", of(&[text.clone(), words.clone()], &[text, words])),
        ("a wrong checksum of what is not read", of(&[wrong.clone()], &[wrong])),
        ("half a chunk at the end", [without_end.clone(), half].concat()),
        ("no end", without_end),
        ("bytes behind the end", [of(&[], &[]), vec![7; 999]].concat()),
        ("more pixels than there are", file(&head, &[], &[too_much, bomb.clone()], &[])),
        ("an animation", animated(size, &[chunk(b"fdAT", &[&[0, 0, 0, 1], &bomb[..]].concat())])),
    ] {
        let found = decoded(size, &bytes).unwrap_or_else(|err| panic!("{name}: {err}"));
        assert!(found == expect, "{name}");
    }
}

#[test]
fn a_cut_png_is_served_whole_or_not_at_all() {
    for Kind { name, size, file, expect } in kinds() {
        for n_bytes in 8..file.len() {
            let Ok(found) = decoded(size, &file[..n_bytes]) else { continue };
            assert!(found == expect, "{name}: cut at {n_bytes} of {}", file.len());
        }
    }
}

#[test]
fn a_damaged_image_is_refused() {
    let is_wanted = |kind: &Kind| kind.name.contains("17x33, colour type 2");
    let Kind { name, size, file, expect } = kinds().into_iter().find(is_wanted).unwrap();
    for at in 8..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 0x10;
        let Ok(found) = decoded(size, &damaged) else { continue };
        // What is not read may be damaged.
        assert!(found == expect, "{name}: damaged at {at} of {}", file.len());
    }
}

#[test]
fn a_palette_that_is_no_list_of_colours_is_refused() {
    for n_bytes in [0, 1, 2, 4, 767, 771] {
        let pixels = vec![packed(&rows((4, 4), 8, false, |_, _| vec![0]))];
        let file =
            file(&header((4, 4), 8, PALETTE, false), &[chunk(b"PLTE", &vec![7; n_bytes])], &pixels, &[]);
        let said = decoded((4, 4), &file).unwrap_err().to_string();
        assert_eq!(said, format!("broken PNG: its palette has {n_bytes} bytes"));
    }
}
