//! Files built to be expensive take no more memory than in proportion to their pixels, and give it back.
//! Measured in a process of its own, where no other test's memory counts.

use super::jpeg_writer::{Jpeg, Scan};
use super::png_writer::{SIGNATURE, chunk, file, header, packed, packed_zeros, rows};
use super::*;
use pixio_node::runtime::input_pixels::InputPixels;

const IN_CHILD: &str = "PIXIO_TEST_MEASURES_MEMORY";
const MB: usize = 1 << 20;

/// A file, and the bytes of its pixels at 8 bits a channel; 0 where it has to be refused by what it claims.
struct Costly {
    name: &'static str,
    file: Vec<u8>,
    decoded: usize,
}

fn pngs() -> Vec<Costly> {
    let bomb = packed_zeros(300 * MB);
    let small = (20, 10);
    let stored = || packed(&rows(small, 8, false, |x, y| vec![(x * y % 251) as u16]));
    let carrying = |name, content: Vec<u8>| {
        file(&header(small, 8, 0, false), &[chunk(name, &content)], &[stored()], &[chunk(name, &content)])
    };
    let zeros = |size: (usize, usize), depth, color, row_bytes: usize| {
        file(&header(size, depth, color, false), &[], &[packed_zeros((row_bytes + 1) * size.1)], &[])
    };
    let interlaced = |size: (usize, usize)| {
        let stored = rows(size, 16, true, |_, _| vec![0; 4]);
        file(&header(size, 16, 6, true), &[], &[packed(&stored)], &[])
    };
    let tiny = |n: usize| {
        let one_by_one: Vec<Vec<u8>> = stored().into_iter().map(|byte| vec![byte]).collect();
        let empty = vec![vec![]; n];
        file(&header(small, 8, 0, false), &vec![chunk(b"tEXt", b""); n], &[empty, one_by_one].concat(), &[])
    };
    let all = [
        ("a profile of 300 MB", carrying(b"iCCP", [&b"bomb\0\0"[..], &bomb].concat()), 200),
        ("texts of 300 MB", carrying(b"zTXt", [&b"bomb\0\0"[..], &bomb].concat()), 200),
        ("words of 300 MB", carrying(b"iTXt", [&b"bomb\0\x01\0\0\0"[..], &bomb].concat()), 200),
        (
            "300 MB behind the pixels",
            file(&header(small, 8, 0, false), &[], &[stored(), bomb.clone()], &[]),
            200,
        ),
        ("300 MB in 200 pixels", file(&header(small, 8, 0, false), &[], &[bomb], &[]), 200),
        ("a million chunks", tiny(500_000), 200),
        ("16 bits, four channels", zeros((4000, 3000), 16, 6, 32_000), 4000 * 3000 * 3),
        ("16 bits, four channels, interlaced", interlaced((2000, 1500)), 2000 * 1500 * 3),
        ("1 bit", zeros((5000, 5000), 1, 0, 625), 5000 * 5000),
        ("one column", zeros((1, 65_535), 16, 6, 8), 65_535 * 3),
        ("one row", zeros((65_535, 1), 16, 6, 65_535 * 8), 65_535 * 3),
        ("more than 25 megapixels", zeros((5001, 5000), 1, 0, 626), 0),
        ("a claim of 25 megapixels", file(&header((5000, 5000), 16, 6, false), &[], &[stored()], &[]), 0),
        ("no chunk", SIGNATURE.to_vec(), 0),
    ];
    all.into_iter().map(|(name, file, decoded)| Costly { name, file, decoded }).collect()
}

fn jpegs() -> Vec<Costly> {
    let each = |jpeg: Jpeg| Jpeg { scans: (0..3).map(|c| Scan::whole(&[c])).collect(), ..jpeg };
    let flat = |jpeg: Jpeg| jpeg.write(|component, _, _| 90 + component as u8);
    let bands = |n: u8, step: u8| {
        let one = move |c| {
            (0..n).map(move |i| Scan::band(c, 1 + i * step, if i + 1 == n { 63 } else { (i + 1) * step }))
        };
        std::iter::once(Scan::means(&[0, 1, 2], 0, 0)).chain((0..3).flat_map(one)).collect::<Vec<_>>()
    };
    let progressive = |jpeg: Jpeg, scans| Jpeg { frame: 0xc2, scans, ..jpeg };
    let full = |width, height| Jpeg::new(width, height, &[(1, 1); 3]);
    let oversampled = |width, height| Jpeg::new(width, height, &[(4, 4); 3]);
    let with = |segment: &[u8], n: usize| {
        let file = flat(full(64, 64));
        [&file[..2], &segment.repeat(n), &file[2..]].concat()
    };
    let claiming = |width: u16, height: u16| {
        let mut file = flat(full(16, 16));
        let at = file.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap() + 5;
        file[at..at + 4].copy_from_slice(&[height.to_be_bytes(), width.to_be_bytes()].concat());
        file
    };
    let table = [&[0xff, 0xc4, 0, 19, 0x11, 0, 0][..], &[0; 14]].concat();
    let all = [
        ("a claim of 8000x8000", claiming(8000, 8000), 0),
        ("a claim of 4900x4900", claiming(4900, 4900), 0),
        ("a claim of 1x65535", claiming(1, 65_500), 0),
        ("progressive, 24 megapixels", flat(progressive(full(4900, 4900), bands(1, 63))), 4900 * 4900 * 3),
        ("a scan a component, 24 megapixels", flat(each(full(4900, 4900))), 4900 * 4900 * 3),
        ("94 scans", flat(progressive(full(2000, 2000), bands(31, 2))), 2000 * 2000 * 3),
        ("190 scans", flat(progressive(full(2000, 2000), bands(63, 1))), 0),
        ("a restart a block", flat(Jpeg { restart: 1, ..full(2000, 1000) }), 2000 * 1000 * 3),
        ("one column", flat(full(1, 65_500)), 65_500 * 3),
        ("one row", flat(full(65_500, 1)), 65_500 * 3),
        ("one column, scan by scan", flat(each(oversampled(1, 65_500))), 65_500 * 3),
        ("one row, scan by scan", flat(each(oversampled(65_500, 1))), 65_500 * 3),
        ("a million comments", with(&[0xff, 0xfe, 0, 2], 1_000_000), 64 * 64 * 3),
        ("a million restarts", with(&[0xff, 0xd0], 1_000_000), 64 * 64 * 3),
        ("a million fill bytes", with(&[0xff], 4_000_000), 64 * 64 * 3),
        ("a hundred thousand tables", with(&table, 100_000), 64 * 64 * 3),
    ];
    all.into_iter().map(|(name, file, decoded)| Costly { name, file, decoded }).collect()
}

/// A line of `/proc/self/status`, in bytes.
fn status(key: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

fn measure() {
    let model = Size { width: 256, height: 256 };
    let ordinary =
        || frame(Jpeg::new(640, 480, &[(2, 2), (1, 1), (1, 1)]).write(|_, x, y| (x / 8 + y / 8) as u8));
    let (mut fitter, mut pixels) = (fitter(model), InputPixels::default());
    let mut serve = |frame: &Frame| {
        let started = Instant::now();
        let served = fitter.fit(frame, &mut pixels).map(drop);
        (served, started.elapsed())
    };
    let usual = ordinary();
    let mut failures = Vec::new();
    for Costly { name, file, decoded } in pngs().into_iter().chain(jpegs()) {
        let n_bytes = file.len();
        let costly = frame(file);
        (0..3).for_each(|_| assert!(serve(&usual).0.is_ok()));
        let before = status("VmRSS");
        // Makes the high-water mark the memory of now.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let (served, time) = serve(&costly);
        let peak = status("VmHWM").saturating_sub(before);
        (0..2).for_each(|_| assert!(serve(&usual).0.is_ok()));
        let kept = status("VmRSS").saturating_sub(before);
        let verdict = served.as_ref().map_or_else(FitError::to_string, |()| "served".to_owned());
        let line = format!(
            "{name}: {n_bytes} bytes, {decoded} decoded, peak {peak}, kept {kept}, {time:.0?}, {verdict}"
        );
        eprintln!("{line}");
        let is_refusal_right = decoded > 0 || served.is_err();
        if peak > 3 * decoded + 16 * MB || kept > 4 * MB || !is_refusal_right {
            failures.push(line);
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn memory_is_in_proportion_to_the_pixels_and_is_given_back() {
    if std::env::var_os(IN_CHILD).is_some() {
        return measure();
    }
    let name = "images::expensive::memory_is_in_proportion_to_the_pixels_and_is_given_back";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(IN_CHILD, "yes")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("a million fill bytes"), "{said}");
    eprintln!("{said}");
}
