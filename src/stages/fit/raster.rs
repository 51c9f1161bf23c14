//! A raw raster's claims against its bytes; then its rows without padding.

use super::encoding::Encoding;
use super::error::FitError;
use crate::geometry::Size;
use crate::runtime::scratch::{NoMemory, Scratch};
use crate::stages::camera::Raster;

/// Longest side taken; JPEG has no longer ones either.
const MAX_SIDE: u32 = 65_535;
/// Most pixels taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MaxPixels(pub(super) u64);

impl MaxPixels {
    /// Refuses sizes beyond.
    pub(super) fn check(self, size: Size) -> Result<(), FitError> {
        let n_pixels = u64::from(size.width) * u64::from(size.height);
        if n_pixels == 0 {
            return Err(FitError::ZeroSize { size });
        }
        if size.width > MAX_SIDE || size.height > MAX_SIDE || n_pixels > self.0 {
            return Err(FitError::TooLarge { size, max_pixels: self.0 });
        }
        Ok(())
    }
}

/// What a raster is, once every claim has been found true.
pub(super) fn check(raster: &Raster, max_pixels: MaxPixels) -> Result<(Encoding, Size), FitError> {
    let size = Size { width: raster.width, height: raster.height };
    if size.width == 0 || size.height == 0 {
        return Err(FitError::ZeroSize { size });
    }
    let encoding = || raster.encoding.clone();
    let Some(code) = Encoding::parse(&raster.encoding) else {
        return Err(FitError::Encoding { encoding: encoding() });
    };
    if !code.takes(size) {
        return Err(FitError::ImpossibleSize { encoding: encoding(), size });
    }
    let planes = code.planes(size);
    for plane in planes {
        if plane.row_bytes > u64::from(raster.step) * plane.steps {
            return Err(FitError::Step { step: raster.step, row_bytes: plane.row_bytes });
        }
    }
    // The last row may lack its padding. Saturation keeps a claim of 2^64 bytes from looking small.
    let (mut expected, mut plane_start) = (0_u64, 0_u64);
    for plane in planes.into_iter().filter(|plane| plane.rows > 0) {
        let stride = u64::from(raster.step) * plane.steps;
        let last_row = plane_start.saturating_add(stride.saturating_mul(plane.rows - 1));
        expected = last_row.saturating_add(plane.row_bytes);
        plane_start = last_row.saturating_add(stride);
    }
    let found = raster.bytes.len() as u64;
    if found < expected {
        return Err(FitError::ShortData { expected, found });
    }
    max_pixels.check(size)?;
    Ok((code, size))
}

/// The rows of a checked raster, one after the other: the raster's own bytes when it has no
/// padding, else a copy in `scratch`.
pub(super) fn rows<'a>(
    raster: &'a Raster,
    encoding: Encoding,
    size: Size,
    scratch: &'a mut Scratch,
) -> Result<&'a [u8], NoMemory> {
    let planes = encoding.planes(size).map(|plane| {
        let stride = u64::from(raster.step) * plane.steps;
        (plane.rows as usize, plane.row_bytes as usize, stride as usize)
    });
    let n_bytes = planes.iter().map(|(rows, row_bytes, _)| rows * row_bytes).sum();
    if planes.iter().all(|(_, row_bytes, stride)| row_bytes == stride) {
        return Ok(&raster.bytes[..n_bytes]);
    }
    let (mut source, mut target) = (&raster.bytes[..], scratch.take(n_bytes)?);
    for (n_rows, row_bytes, stride) in planes {
        let (rows, rest) = source.split_at(source.len().min(n_rows * stride));
        let (packed, free) = target.split_at_mut(n_rows * row_bytes);
        for (row, packed) in rows.chunks(stride.max(1)).zip(packed.chunks_exact_mut(row_bytes.max(1))) {
            packed.copy_from_slice(&row[..row_bytes]);
        }
        (source, target) = (rest, free);
    }
    Ok(scratch.bytes())
}
