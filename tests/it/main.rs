//! Integration tests: one binary, because every test binary links libtorch and OpenCV.

mod parity;
mod refusals;
