//! Thousands of damaged files. Whatever comes out, nothing may panic, and work stays in proportion to the
//! file.

use super::*;
use pixio_node::runtime::input_pixels::InputPixels;

/// A linear congruential generator, so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }

    fn damage(&mut self, file: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(file.len());
        match self.below(8) {
            // Headers stand first, where damage goes deepest.
            0 => file[at % 700 % at.max(1)] = self.below(256) as u8,
            1 => file[at] ^= 1 << self.below(8),
            2 => file.truncate(at.max(4)),
            3 => file[at] = 0xff,
            4 => drop(file.splice(at..at, std::iter::repeat_n(self.below(256) as u8, self.below(40)))),
            5 => drop(file.drain(at..(at + self.below(60)).min(file.len()))),
            6 => {
                let from = self.below(other.len());
                let piece = other[from..].iter().take(self.below(300)).copied();
                drop(file.splice(at..at, piece.collect::<Vec<_>>()));
            }
            _ => {
                let markers = [
                    0xc0, 0xc1, 0xc2, 0xc4, 0xd0, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xe0, 0xee, 0x01, 0x00,
                ];
                let marker = [0xff, markers[self.below(markers.len())]];
                drop(file.splice(at..at, marker));
            }
        }
    }
}

#[test]
fn no_damage_to_a_file_panics() {
    let mut files: Vec<Vec<u8>> = jpegs::written(&[(33, 17)]).into_iter().map(|(_, _, file)| file).collect();
    files.extend(pngs::kinds().into_iter().map(|kind| kind.file));
    files.extend(jpegs::encoded().into_iter().map(|(_, file)| file));
    let (mut random, mut pixels) = (Random(11), InputPixels::default());
    let mut fitter = fitter(Size { width: 32, height: 48 });
    let mut n_served = 0;
    for _ in 0..30_000 {
        let mut file = files[random.below(files.len())].clone();
        let other = files[random.below(files.len())].clone();
        for _ in 0..random.below(5) {
            if file.is_empty() {
                break;
            }
            random.damage(&mut file, &other);
        }
        // A checksum would keep most damage from the decoder.
        if random.below(2) == 0 {
            file = png_writer::sealed(&file);
        }
        n_served += usize::from(fitter.fit(&frame(file), &mut pixels).is_ok());
    }
    assert!(n_served > 1000, "only {n_served} files were whole");
}
