//! Files that break off, and files with something missing or added that leaves every pixel as it was.

use super::jpeg_writer::{Jpeg, Scan};
use super::*;

/// Cuts `file` at many places, with and without an end marker behind: what is served is the whole image.
#[track_caller]
fn check_cuts(name: &str, size: (usize, usize), file: &[u8], step: usize) {
    let whole = decoded(size, file).unwrap_or_else(|err| panic!("{name}: {err}"));
    let mut n_served = 0;
    for n_bytes in (2..file.len()).step_by(step).chain(file.len() - 3..file.len()) {
        for tail in [&[][..], &[0xff, 0xd9], &[0xff], &[0xff, 0xd0, 0xff, 0xd9], &file[..200]] {
            let Ok(served) = decoded(size, &[&file[..n_bytes], tail].concat()) else { continue };
            assert!(served == whole, "{name}: cut at {n_bytes} of {} and {tail:?} behind", file.len());
            n_served += 1;
        }
    }
    assert!(n_served > 0, "{name}: the end marker must not be needed");
}

#[test]
fn a_cut_file_is_served_whole_or_not_at_all() {
    let (size, color) = ((52, 37), [(2, 2), (1, 1), (1, 1)]);
    let base = || Jpeg::new(size.0, size.1, &color);
    let each = || (0..3).map(|c| Scan::whole(&[c])).collect();
    let bands = (0..3).flat_map(|c| [Scan::band(c, 1, 9), Scan::band(c, 10, 63)]);
    let means = [Scan::means(&[0, 1, 2], 0, 1), Scan::means(&[0, 1, 2], 1, 0)];
    let progressive: Vec<Scan> = means.into_iter().chain(bands).collect();
    for (name, jpeg) in [
        ("baseline", base()),
        ("baseline with restarts", Jpeg { restart: 2, ..base() }),
        ("a scan a component", Jpeg { scans: each(), ..base() }),
        ("a scan a component with restarts", Jpeg { scans: each(), restart: 3, ..base() }),
        ("progressive", Jpeg { frame: 0xc2, scans: progressive.clone(), ..base() }),
        ("progressive with restarts", Jpeg { frame: 0xc2, scans: progressive, restart: 4, ..base() }),
        ("grey", Jpeg::new(size.0, size.1, &[(1, 1)])),
    ] {
        check_cuts(name, size, &jpeg.write(sample), 1);
        // Runs of empty blocks hide what is missing best.
        check_cuts(&format!("{name}, flat"), size, &jpeg.write(|component, _, _| 90 + component as u8), 1);
    }
}

#[test]
fn what_libjpeg_turbo_writes_is_served_whole_or_not_at_all() {
    for (name, file) in super::jpegs::encoded() {
        check_cuts(&name, (320, 240), &file, 997);
    }
}

#[test]
fn zeros_in_place_of_lost_data_are_seen_by_what_they_leave_over() {
    let size = (52, 37);
    let file = Jpeg::new(size.0, size.1, &[(2, 2), (1, 1), (1, 1)]).write(sample);
    for n_bytes in (file.len() / 2..file.len() - 20).step_by(7) {
        assert!(decoded(size, &[&file[..n_bytes], &[0; 5000]].concat()).is_err(), "cut at {n_bytes}");
    }
}

/// Offsets of the segments of a file, up to its first scan.
fn segments(file: &[u8]) -> Vec<usize> {
    let mut all = vec![2];
    while file[all[all.len() - 1] + 1] != 0xda {
        let at = all[all.len() - 1];
        all.push(at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]])));
    }
    all
}

#[test]
fn what_leaves_the_pixels_alone_is_taken() {
    let size = (52, 37);
    let each: Vec<Scan> = (0..3).map(|c| Scan::whole(&[c])).collect();
    for (kind, scans) in [("one scan", vec![Scan::whole(&[0, 1, 2])]), ("three scans", each)] {
        let file = Jpeg { scans, ..Jpeg::new(size.0, size.1, &[(2, 1), (1, 1), (1, 1)]) }.write(sample);
        let whole = decoded(size, &file).unwrap();
        let end = file.len() - 2;
        let behind = |tail: &[u8]| [&file, tail].concat();
        let mut variants = vec![
            ("no end marker".to_owned(), file[..end].to_vec()),
            ("padding".to_owned(), behind(&[0; 5000])),
            ("a second image".to_owned(), behind(&file)),
            ("half a second image".to_owned(), behind(&file[..file.len() / 2])),
            ("no end marker and a second image".to_owned(), [&file[..end], &file].concat()),
            ("no end marker and half a comment".to_owned(), [&file[..end], &[0xff, 0xfe, 0, 99, 1]].concat()),
            ("fill bytes before the end".to_owned(), [&file[..end], &[0xff; 9], &file[end..]].concat()),
            ("junk before the end".to_owned(), [&file[..end], &[1, 2, 3, 0, 4], &file[end..]].concat()),
        ];
        // Behind the first: the first three bytes tell that it is a JPEG.
        for at in segments(&file).into_iter().skip(1) {
            for junk in [&[0][..], &[0; 400], &[1, 2, 3], &[0xff; 5], &[0xff, 0, 7], &[0xff, 0xfe, 0, 2]] {
                variants.push((format!("{junk:?} at {at}"), [&file[..at], junk, &file[at..]].concat()));
            }
        }
        for (name, variant) in variants {
            match decoded(size, &variant) {
                Ok(found) => assert!(found == whole, "{kind}, {name}"),
                Err(err) => panic!("{kind}, {name}: {err}"),
            }
        }
    }
}
