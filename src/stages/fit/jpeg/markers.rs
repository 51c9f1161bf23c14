//! Markers of a JPEG file (ITU-T T.81, B.1.1.3) and the segments behind them.

use super::broken;
use crate::stages::fit::error::FitError;

pub(super) const HUFFMAN_TABLES: u8 = 0xc4;
pub(super) const EXTENSION: u8 = 0xc8;
pub(super) const ARITHMETIC_CONDITIONS: u8 = 0xcc;
pub(super) const START: u8 = 0xd8;
pub(super) const END: u8 = 0xd9;
pub(super) const SCAN: u8 = 0xda;

/// A marker, where it stands, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) code: u8,
    /// Of its first byte in the file.
    pub(super) at: usize,
    /// Of the byte behind it.
    pub(super) behind: usize,
}

/// The next marker that means something from `at` on. What stands in between is coded data or junk: a scan
/// ends where this one begins. Restarts belong to coded data.
pub(super) fn next(file: &[u8], mut at: usize) -> Option<Marker> {
    loop {
        at += memchr::memchr(0xff, file.get(at..)?)?;
        let mut behind = at + 1;
        // Any number of fill bytes may stand before a marker.
        while *file.get(behind)? == 0xff {
            behind += 1;
        }
        let code = file[behind];
        at = behind - 1;
        // A stuffed zero, TEM, RST0 to RST7.
        if !matches!(code, 0x00 | 0x01 | 0xd0..=0xd7) {
            return Some(Marker { code, at, behind: behind + 1 });
        }
        at = behind + 1;
    }
}

/// The segment behind a marker, without the length that leads it, and where the file goes on.
pub(super) fn segment(file: &[u8], marker: Marker) -> Result<(&[u8], usize), FitError> {
    let short = || broken("it breaks off inside a segment");
    let rest = file.get(marker.behind..).ok_or_else(short)?;
    let length = usize::from(u16::from_be_bytes(*rest.first_chunk().ok_or_else(short)?));
    if length < 2 {
        return Err(broken(format!("a segment of {length} bytes")));
    }
    Ok((rest.get(2..length).ok_or_else(short)?, marker.behind + length))
}
