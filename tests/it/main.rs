//! Integration tests: one binary, because every test binary links libtorch and OpenCV.
#![cfg(test)]

mod parity;
mod pipeline;
mod pixels;
mod refusals;
