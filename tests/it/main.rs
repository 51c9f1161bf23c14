//! Integration tests: one binary, because every test binary links libtorch and OpenCV.
#![cfg(test)]

#[path = "../../build_cuda.rs"]
mod build_cuda;
mod engines;
mod gpu;
mod heads;
#[expect(clippy::disallowed_methods, reason = "tests block no signals")]
mod images;
mod layers;
mod lenses;
mod parity;
mod pipeline;
mod pixels;
mod refusals;

use std::io::Write;

/// Says that a test does not run. Written past the capture of the test harness, so that it is seen; in one
/// piece, because tests write at the same time.
fn skipped(what: &str) {
    std::io::stderr().write_all(format!("\nskipped: {what}\n").as_bytes()).unwrap();
}

/// Largest difference over the largest value.
fn error(found: &tch::Tensor, expect: &tch::Tensor) -> f64 {
    assert_eq!(found.size(), expect.size());
    let difference = (found - expect).abs().max().double_value(&[]);
    difference / expect.abs().max().double_value(&[])
}
