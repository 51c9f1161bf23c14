//! Every structure of JPEG is served with the pixels of libjpeg-turbo (by its `djpeg`, whose integer DCT and
//! interpolated chroma are the node's as well: equal, bit for bit) or refused by name.

use super::jpeg_writer::{Jpeg, Scan};
use super::*;
use pixio_node::runtime::input_pixels::InputPixels;

const SAMPLINGS: [(&str, [(usize, usize); 3]); 8] = [
    ("4:4:4", [(1, 1), (1, 1), (1, 1)]),
    ("4:2:2", [(2, 1), (1, 1), (1, 1)]),
    ("4:2:0", [(2, 2), (1, 1), (1, 1)]),
    ("4:4:0", [(1, 2), (1, 1), (1, 1)]),
    ("4:1:1", [(4, 1), (1, 1), (1, 1)]),
    ("4:1:0", [(4, 2), (1, 1), (1, 1)]),
    ("4:2:0 with Cr in full width", [(2, 2), (1, 1), (2, 1)]),
    ("4:4:4 in blocks of two", [(2, 1), (2, 1), (2, 1)]),
];
const SIZES: [(usize, usize); 8] = [(1, 1), (7, 5), (8, 8), (17, 33), (33, 17), (3, 70), (65, 2), (96, 64)];
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Ways to send three components.
fn arrangements() -> Vec<(String, u8, Vec<Scan>)> {
    let mut all = vec![("interleaved".to_owned(), 0xc0, vec![Scan::whole(&[0, 1, 2])])];
    all.push(("extended".to_owned(), 0xc1, vec![Scan::whole(&[0, 1, 2])]));
    for order in ORDERS {
        let each = order.iter().map(|&c| Scan::whole(&[c])).collect();
        all.push((format!("scans {order:?}"), 0xc0, each));
        let bands = order.iter().flat_map(|&c| [Scan::band(c, 1, 5), Scan::band(c, 6, 63)]);
        let means = Scan::means(&[0, 1, 2], 0, 0);
        all.push((format!("progressive {order:?}"), 0xc2, std::iter::once(means).chain(bands).collect()));
    }
    let pair = vec![Scan::whole(&[0]), Scan::whole(&[1, 2])];
    all.push(("luma, then chroma".to_owned(), 0xc0, pair));
    let means = [Scan::means(&[0, 1, 2], 0, 2), Scan::means(&[0, 1, 2], 2, 1), Scan::means(&[0, 1, 2], 1, 0)];
    let bands = (0..3).map(|c| Scan::band(c, 1, 63));
    all.push(("means bit by bit".to_owned(), 0xc2, means.into_iter().chain(bands).collect()));
    let means = [2, 0, 1].map(|c| Scan::means(&[c], 0, 0));
    let bands = (0..3).map(|c| Scan::band(c, 1, 63));
    all.push(("means one by one".to_owned(), 0xc2, means.into_iter().chain(bands).collect()));
    all
}

/// Every file of the matrix with its name and size, from our own writer.
pub(super) fn written(sizes: &[(usize, usize)]) -> Vec<(String, (usize, usize), Vec<u8>)> {
    let mut all = Vec::new();
    for &(width, height) in sizes {
        for (sampling, factors) in SAMPLINGS {
            for (arrangement, frame, scans) in arrangements() {
                for restart in [0, 1, 3] {
                    // Four blocks of four of a component do not fit into one interleaved unit.
                    let jpeg =
                        Jpeg { frame, scans: scans.clone(), restart, ..Jpeg::new(width, height, &factors) };
                    let name = format!("{width}x{height}, {sampling}, {arrangement}, restart {restart}");
                    all.push((name, (width, height), jpeg.write(sample)));
                }
            }
        }
        for factors in [(1, 1), (2, 2), (4, 1)] {
            let grey = Jpeg { restart: 2, ..Jpeg::new(width, height, &[factors]) };
            all.push((format!("{width}x{height}, grey {factors:?}"), (width, height), grey.write(sample)));
        }
    }
    all
}

/// Against `djpeg`, or without it against nothing.
#[track_caller]
fn check(name: &str, size: (usize, usize), file: &[u8]) {
    let found = decoded(size, file).unwrap_or_else(|err| panic!("{name}: {err}"));
    let Some(expect) = piped("djpeg", &["-pnm", "-dct", "int"], file) else { return };
    let (expect_size, expect) = from_pnm(&expect);
    assert_eq!(expect_size, size, "{name}");
    let differ = found.iter().zip(&expect).filter(|(one, other)| one != other).count();
    assert!(differ == 0 && found.len() == expect.len(), "{name}: {differ} of {} samples differ", found.len());
}

#[test]
fn every_arrangement_of_samples_and_scans_is_as_libjpeg_has_it() {
    for (name, size, file) in written(&SIZES) {
        check(&name, size, &file);
    }
}

#[test]
fn every_order_of_scans_has_the_same_pixels() {
    for (sampling, factors) in SAMPLINGS {
        let of = |frame, scans| {
            let file = Jpeg { frame, scans, ..Jpeg::new(37, 29, &factors) }.write(sample);
            decoded((37, 29), &file).unwrap()
        };
        let expect = of(0xc0, vec![Scan::whole(&[0, 1, 2])]);
        for (arrangement, frame, scans) in arrangements() {
            assert!(of(frame, scans) == expect, "{sampling}, {arrangement}");
        }
    }
}

fn adobe(transform: u8) -> (u8, Vec<u8>) {
    (0xee, [&b"Adobe"[..], &[0, 100, 0, 0, 0, 0, transform]].concat())
}

#[test]
fn colours_are_what_markers_and_names_say() {
    let jfif = (0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0".to_vec());
    let exif = (0xe1, b"Exif\0\0II*\0\x08\0\0\0\0\0\xff\xd8\xff\xd9".to_vec());
    let base = || Jpeg::new(40, 24, &[(1, 1); 3]);
    let of = |jpeg: &Jpeg| decoded((40, 24), &jpeg.write(sample)).unwrap();
    let plain = of(&base());
    let rgb = of(&Jpeg { ids: b"RGB".to_vec(), ..base() });
    assert!(plain != rgb);
    for (name, ids, segments, is_rgb) in [
        ("JFIF", vec![1, 2, 3], vec![jfif.clone()], false),
        ("JFIF and letters", b"RGB".to_vec(), vec![jfif], false),
        ("Exif", vec![1, 2, 3], vec![exif], false),
        ("Adobe with a transform", b"RGB".to_vec(), vec![adobe(1)], false),
        ("Adobe without", vec![1, 2, 3], vec![adobe(0)], true),
        ("Adobe with an unknown one", vec![1, 2, 3], vec![adobe(9)], false),
        ("equal names", vec![7, 7, 7], vec![], false),
        ("names from nought", vec![0, 1, 2], vec![], false),
        ("a comment", vec![1, 2, 3], vec![(0xfe, b"\xff\xd9".to_vec())], false),
    ] {
        let jpeg = Jpeg { ids, segments, ..base() };
        assert!(of(&jpeg) == if is_rgb { rgb.clone() } else { plain.clone() }, "{name}");
        check(name, (40, 24), &jpeg.write(sample));
    }
    let wide = Jpeg { wide_tables: true, ..base() };
    assert!(of(&wide) == plain);
}

#[track_caller]
fn check_refused(file: &[u8], says: &str) {
    let mut pixels = InputPixels::default();
    let size = Size { width: 32, height: 32 };
    let said = fitter(size).fit(&frame(file.to_vec()), &mut pixels).map(drop);
    let said = said.err().map_or("accepted".to_owned(), |err| err.to_string());
    assert!(said.contains(says), "{said:?} does not contain {says:?}");
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let base = || Jpeg::new(32, 32, &[(1, 1); 3]);
    let of = |frame| Jpeg { frame, ..base() }.write(sample);
    for (frame, says) in [
        (0xc3, "JPEG with lossless coding is not supported"),
        (0xc5, "hierarchical coding"),
        (0xc6, "hierarchical coding"),
        (0xc7, "hierarchical coding"),
        (0xc9, "arithmetic coding"),
        (0xca, "arithmetic coding"),
        (0xcb, "lossless arithmetic coding"),
        (0xcd, "hierarchical coding"),
        (0xcf, "hierarchical coding"),
    ] {
        check_refused(&of(frame), says);
    }
    check_refused(&Jpeg::new(32, 32, &[(1, 1); 4]).write(sample), "four components (CMYK or YCCK)");
    check_refused(&Jpeg::new(32, 32, &[(1, 1); 2]).write(sample), "2 components");
    let mut deep = of(0xc1);
    let header = deep.windows(2).position(|marker| marker == [0xff, 0xc1]).unwrap();
    deep[header + 4] = 12;
    check_refused(&deep, "12 bits a sample");
    check_refused(&Jpeg::new(32, 32, &[(3, 1), (2, 1), (1, 1)]).write(sample), "ractional sampling");
    let bits_missing =
        vec![Scan::means(&[0, 1, 2], 0, 1), Scan::band(0, 1, 63), Scan::band(1, 1, 63), Scan::band(2, 1, 63)];
    check_refused(&Jpeg { frame: 0xc2, scans: bits_missing, ..base() }.write(sample), "scans are missing");
    let twice = vec![Scan::whole(&[0, 1, 2]), Scan::whole(&[0, 1, 2])];
    check_refused(&Jpeg { scans: twice, ..base() }.write(sample), "do not follow from each other");
}

/// A frame of data/room-walk, as PPM.
fn rendered() -> Option<Vec<u8>> {
    let file = std::fs::read("data/room-walk/rgb/scene0000_frame0000.jpg").unwrap();
    piped("djpeg", &["-pnm"], &file)
}

/// What libjpeg-turbo's own encoder makes of a rendered image, with the names of the options.
pub(super) fn encoded() -> Vec<(String, Vec<u8>)> {
    let Some(image) = rendered() else { return Vec::new() };
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("scans");
    // Every kind of scan: means, bands, and their bits one by one.
    let scans = "0,1,2: 0-0, 0, 1;\n0: 1-5, 0, 2;\n2: 1-63, 0, 1;\n1: 1-63, 0, 1;\n0: 6-63, 0, 2;\n\
                 0: 1-63, 2, 1;\n0,1,2: 0-0, 1, 0;\n2: 1-63, 1, 0;\n1: 1-63, 1, 0;\n0: 1-63, 1, 0;\n";
    std::fs::write(&script, scans).unwrap();
    let script = script.to_str().unwrap().to_owned();
    let mut all = Vec::new();
    for sample in ["1x1", "2x1", "2x2", "1x2", "4x1", "4x2", "2x4"] {
        for options in [
            "",
            "-optimize",
            "-progressive",
            "-restart 1",
            "-restart 5B",
            "-progressive -restart 3B",
            "-quality 3",
        ] {
            let words = format!("-quality 90 {options} -sample {sample}");
            let arguments: Vec<&str> = words.split_whitespace().collect();
            all.extend(piped("cjpeg", &arguments, &image).map(|file| (words.clone(), file)));
        }
        let arguments = ["-sample", sample, "-scans", &script];
        all.extend(piped("cjpeg", &arguments, &image).map(|file| (format!("{sample} by script"), file)));
    }
    for options in ["-grayscale", "-grayscale -progressive", "-rgb", "-rgb -progressive", "-quality 100"] {
        let arguments: Vec<&str> = options.split_whitespace().collect();
        all.extend(piped("cjpeg", &arguments, &image).map(|file| (options.to_owned(), file)));
    }
    all
}

#[test]
fn what_libjpeg_turbo_writes_is_as_it_reads_it() {
    for (name, file) in encoded() {
        check(&name, (320, 240), &file);
    }
    let Some(image) = rendered() else { return };
    let Some(arithmetic) = piped("cjpeg", &["-arithmetic"], &image) else { return };
    check_refused(&arithmetic, "arithmetic coding");
}

#[test]
fn files_of_webcams_come_without_huffman_tables() {
    for (name, file) in encoded() {
        if ["optimize", "progressive", "script"].iter().any(|own| name.contains(own)) {
            continue;
        }
        let bare = without_tables(&file);
        assert!(bare.len() < file.len());
        assert!(decoded((320, 240), &bare).unwrap() == decoded((320, 240), &file).unwrap(), "{name}");
    }
}

fn without_tables(file: &[u8]) -> Vec<u8> {
    let (mut bare, mut at) = (file[..2].to_vec(), 2);
    while file[at + 1] != 0xda {
        let next = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        if file[at + 1] != 0xc4 {
            bare.extend(&file[at..next]);
        }
        at = next;
    }
    bare.extend(&file[at..]);
    bare
}
