//! JPEG files by libjpeg (`jpeg.c`).

use std::ffi::{CStr, c_char, c_int};

/// JMSG_LENGTH_MAX of libjpeg.
const MESSAGE_BYTES: usize = 200;

/// What stands behind coded data.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing: the data must end exactly.
    Cut = 0,
    /// A marker: junk before it is passed over.
    Marker = 1,
}

/// What a file must turn out to be.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Columns in pixels.
    pub width: u32,
    /// Rows in pixels.
    pub height: u32,
    /// 1: grey, 3: red, green, blue.
    pub n_channels: u32,
    /// Most scans that are read.
    pub max_scans: u32,
    /// What stood behind the file's last byte.
    pub ending: Ending,
}

unsafe extern "C" {
    fn pixio_jpeg_read(
        file: *const u8,
        n_bytes: usize,
        shape: *const Shape,
        pixels: *mut u8,
        message: *mut c_char,
    ) -> c_int;
}

/// Decodes `file`, which has no end marker, into `pixels`: `height * width * n_channels` bytes in rows, as
/// libjpeg-turbo does by default (integer DCT, chroma interpolated). Memory beside `pixels` is freed before
/// it returns.
///
/// # Errors
/// libjpeg's reason, or ours. Whatever leaves pixels to guesswork is an error.
pub fn read(file: &[u8], shape: Shape, pixels: &mut [u8]) -> Result<(), String> {
    let n_bytes = [shape.width, shape.height, shape.n_channels].map(|n| n as usize).iter().product::<usize>();
    if pixels.len() != n_bytes {
        return Err(format!("{n_bytes} bytes of pixels do not fit into {}", pixels.len()));
    }
    let mut message: [c_char; MESSAGE_BYTES] = [0; MESSAGE_BYTES];
    // SAFETY: `file` is read within its length. `pixels` has the bytes of `shape`, and C refuses a file of
    // another shape before it writes the first one. `message` has room for the longest message with its end.
    // Nothing is kept.
    let refused = unsafe {
        pixio_jpeg_read(
            file.as_ptr(),
            file.len(),
            &raw const shape,
            pixels.as_mut_ptr(),
            message.as_mut_ptr(),
        )
    };
    if refused == 0 {
        return Ok(());
    }
    message[MESSAGE_BYTES - 1] = 0;
    // SAFETY: the line above sees to the end of the string; the array lives as long as the reference.
    Err(unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned())
}
