//! The one integration binary: each test binary would link libtorch and OpenCV again.

#[cfg(test)]
mod pixels;
