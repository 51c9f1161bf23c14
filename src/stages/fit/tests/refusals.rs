//! Every claim that is not true, and the key under which it is counted.

use super::*;
use crate::runtime::input_pixels::InputPixels;

#[track_caller]
fn check(frame: &Frame, reason: &str, says: &str) {
    let err = fit(Fit::Stretch, size(32, 32), frame).err();
    let found = err.as_ref().map_or("accepted", FitError::reason);
    assert_eq!(found, reason, "{frame:?}");
    let said = err.map(|err| err.to_string()).unwrap_or_default();
    assert!(said.contains(says), "{said:?} does not contain {says:?}");
}

#[test]
fn claims_are_held_against_the_bytes() {
    let rgb = |width, height, step, n_bytes| raw("rgb8", size(width, height), step, vec![9; n_bytes]);
    check(&rgb(8, 4, 24, 96), "accepted", "");
    check(&rgb(8, 4, 30, 3 * 30 + 24), "accepted", "");
    check(&rgb(8, 4, 24, 200), "accepted", "");
    check(&rgb(8, 4, 30, 3 * 30 + 23), "short data", "113 bytes arrived, the message claims 114");
    check(&rgb(8, 4, 24, 95), "short data", "95 bytes arrived, the message claims 96");
    check(&rgb(8, 4, 24, 0), "short data", "0 bytes arrived");
    check(&rgb(8, 4, 23, 96), "step", "step 23 is shorter than a row of 24 bytes");
    check(&rgb(8, 4, 0, 96), "step", "step 0");
    check(&rgb(0, 4, 24, 96), "zero size", "0x4");
    check(&rgb(8, 0, 24, 96), "zero size", "8x0");
    check(&rgb(0, 0, 0, 0), "zero size", "0x0");
    check(
        &rgb(16_384, 16_384, 49_152, 1000),
        "short data",
        "1000 bytes arrived, the message claims 805306368",
    );
    check(&rgb(u32::MAX, u32::MAX, u32::MAX, 1000), "step", "");
    check(&raw("mono8", size(u32::MAX, u32::MAX), u32::MAX, vec![0; 9]), "short data", "");
    check(&raw("nv24", size(u32::MAX, u32::MAX), u32::MAX, vec![0; 9]), "short data", "");
    check(&raw("mono8", size(65_536, 1), 65_536, vec![0; 65_536]), "too large", "65536x1");
    check(&raw("mono8", size(1, 65_536), 1, vec![0; 65_536]), "too large", "1x65536");
    check(&raw("mono8", size(65_535, 1), 65_535, vec![0; 65_535]), "accepted", "");
    check(&raw("mono8", size(5000, 5000), 5000, vec![0; 5000 * 5000]), "accepted", "");
    check(
        &raw("mono8", size(5001, 5000), 5001, vec![0; 5001 * 5000]),
        "too large",
        "25000000 pixels (max_image_pixels)",
    );
}

#[test]
fn encodings_are_known_by_their_exact_names() {
    for unknown in [
        "",
        "RGB8",
        "rgb8 ",
        "32FC1",
        "8UC2",
        "16SC3",
        "jpeg",
        "bayer_",
        "bayer_rgg\u{e9}8",
        "bayer_rggb12",
        "bayer_rggb",
        "\u{1f4f7}",
    ] {
        check(&raw(unknown, size(8, 4), 96, vec![0; 999]), "encoding", &format!("{unknown:?}"));
    }
}

#[test]
fn sizes_that_an_encoding_cannot_have() {
    for encoding in ["uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21"] {
        check(&raw(encoding, size(7, 4), 64, vec![0; 999]), "impossible size", encoding);
    }
    check(&raw("nv12", size(8, 5), 64, vec![0; 999]), "impossible size", "8x5");
    check(&raw("nv21", size(8, 5), 64, vec![0; 999]), "impossible size", "8x5");
    check(&raw("uyvy", size(8, 5), 64, vec![0; 999]), "accepted", "");
    check(&raw("nv24", size(7, 5), 64, vec![0; 999]), "accepted", "");
    check(&raw("bayer_rggb8", size(3, 9), 64, vec![0; 999]), "impossible size", "3x9");
    check(&raw("bayer_rggb16", size(3, 9), 64, vec![0; 999]), "impossible size", "3x9");
    check(&raw("bayer_rggb16", size(9, 5), 64, vec![0; 999]), "accepted", "");
    check(&raw("bayer_rggb8", size(9, 5), 64, vec![0; 999]), "accepted", "");
}

#[test]
fn planes_are_counted_in_full() {
    let nv21 = |step: u32, n_bytes| raw("nv21", size(8, 4), step, vec![0; n_bytes]);
    check(&nv21(8, 48), "accepted", "");
    check(&nv21(8, 47), "short data", "47 bytes arrived, the message claims 48");
    check(&nv21(10, 58), "accepted", "");
    check(&nv21(10, 57), "short data", "57 bytes arrived, the message claims 58");
    let nv12 = |step: u32, n_bytes| raw("nv12", size(8, 4), step, vec![0; n_bytes]);
    check(&nv12(10, 58), "accepted", "");
    check(&nv12(10, 57), "short data", "57 bytes arrived, the message claims 58");
    let nv24 = |step: u32, n_bytes| raw("nv24", size(8, 4), step, vec![0; n_bytes]);
    check(&nv24(8, 96), "accepted", "");
    check(&nv24(8, 95), "short data", "95 bytes arrived, the message claims 96");
    check(&nv24(10, 40 + 60 + 16), "accepted", "");
    check(&nv24(10, 40 + 60 + 15), "short data", "115 bytes arrived, the message claims 116");
}

#[test]
fn the_next_good_frame_is_served() {
    let mut fitter = Fitter::new(Fit::Stretch, size(32, 32), ResizeFilter::Exact, MAX_PIXELS);
    let mut pixels = InputPixels::default();
    let good = raw("rgb8", size(64, 32), 192, vec![9; 192 * 32]);
    for bad in [
        raw("rgb8", size(64, 32), 192, vec![]),
        raw("?", size(1, 1), 3, vec![0; 3]),
        file(vec![0xff, 0xd8, 0xff]),
    ] {
        assert!(fitter.fit(&bad, &mut pixels).is_err());
        fitter.fit(&good, &mut pixels).unwrap();
        assert_eq!(*pixels, [9; 32 * 32 * 3]);
    }
}
