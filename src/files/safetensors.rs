//! The beginning of a safetensors file, before anything is made of what it claims.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes at the beginning of a file that [`header_bytes`] wants to see, or all that there are.
pub const START: usize = 64;
/// Most bytes of a header. The parsed one takes fifteen times as many; that of Pixio's largest model has 0.2
/// MB.
pub const MOST_HEADER_BYTES: u64 = 4 << 20;
/// The header's length, little endian.
pub const LENGTH: usize = 8;

/// Bytes of the header of a file of `n_bytes` that begins with `start`.
///
/// # Errors
/// The file is not a safetensors file, and what it is instead, or it is cut short.
pub fn header_bytes(start: &[u8], n_bytes: u64) -> Result<u64, String> {
    let length = start.first_chunk::<LENGTH>().copied().map(u64::from_le_bytes);
    let is_length = length.is_some_and(|length| (2..1 << 40).contains(&length));
    // A header is JSON, an object. Its length may begin with the bytes that mark a file of another kind.
    let is_headed = is_length && start.get(LENGTH) == Some(&b'{');
    if let Some(kind) = other_kind(start).filter(|_| !is_headed) {
        return Err(format!("not a safetensors file but {kind}"));
    }
    let Some(length) = length else {
        return Err(format!("not a safetensors file: only {n_bytes} bytes long"));
    };
    if !is_length || start.get(LENGTH).is_some_and(|&first| first != b'{') {
        return Err("not a safetensors file: its first eight bytes are no header length".into());
    }
    if MOST_HEADER_BYTES < length {
        return Err(format!("its header has {length} bytes, and at most {MOST_HEADER_BYTES} are read"));
    }
    let end = LENGTH as u64 + length;
    if n_bytes < end {
        return Err(format!("cut short: {n_bytes} bytes, the header alone ends at {end}"));
    }
    Ok(length)
}

/// The same for a whole file in memory.
///
/// # Errors
/// As [`header_bytes`].
pub fn check(file: &[u8]) -> Result<(), String> {
    header_bytes(&file[..file.len().min(START)], file.len() as u64).map(drop)
}

/// The metadata `key` of a whole file on disk, of which only the header is read; `None` also for what is no
/// such file.
pub fn metadata(path: &Path, key: &str) -> Option<String> {
    let mut file = super::open(path).ok()?;
    let n_bytes = file.metadata().ok()?.len();
    let header = header(&mut file, n_bytes).ok()?.ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    Some(header["__metadata__"][key].as_str()?.to_owned())
}

/// The header of `file`, which has `n_bytes` and is read from its beginning; or why it has none, as
/// [`header_bytes`] says.
///
/// # Errors
/// The file system's own.
pub fn header(file: &mut File, n_bytes: u64) -> io::Result<Result<Vec<u8>, String>> {
    let mut start = Vec::new();
    Read::by_ref(file).take(START as u64).read_to_end(&mut start)?;
    let n_header = match header_bytes(&start, n_bytes) {
        Ok(n_header) => n_header,
        Err(why) => return Ok(Err(why)),
    };
    file.seek(SeekFrom::Start(LENGTH as u64))?;
    let mut header = vec![0; n_header as usize];
    file.read_exact(&mut header)?;
    Ok(Ok(header))
}

/// What stands in place of weights when they were not downloaded, or were saved otherwise.
fn other_kind(start: &[u8]) -> Option<&'static str> {
    let text: Vec<u8> =
        start.iter().skip_while(|byte| byte.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect();
    if start.starts_with(b"version https://git-lfs") {
        return Some(
            "a Git LFS pointer: the weights were not downloaded with the repository; run `git lfs pull` in \
             it, or use `hf download`",
        );
    }
    if ["<!doctype", "<html", "<?xml", "<head"].iter().any(|tag| text.starts_with(tag.as_bytes())) {
        return Some(
            "a web page: the download led to one, such as a login or an error; download it again with `hf \
             download`",
        );
    }
    match start {
        [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => {
            Some("a pickle of torch.save: convert it with `pixio-convert-checkpoint`")
        }
        [0x1f, 0x8b, ..] => Some("a gzip archive: unpack it"),
        [0x89, b'H', b'D', b'F', ..] => Some("an HDF5 file, which Keras writes"),
        [b'G', b'G', b'U', b'F', ..] => Some("a GGUF file, which llama.cpp reads"),
        _ if text.starts_with(b"{\"error\"") => {
            Some("an error message of the server that it was downloaded from")
        }
        [] => Some("an empty file: download it again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &[u8], n_bytes: u64, expect: &str) {
        let answer = header_bytes(file, n_bytes).map_or_else(|why| why, |n| n.to_string());
        assert!(answer.contains(expect), "{answer} is not {expect}");
    }

    fn headed(length: u64) -> Vec<u8> {
        [&length.to_le_bytes()[..], b"{\"a\""].concat()
    }

    #[test]
    fn a_header_has_a_length_that_the_file_holds() {
        check(&headed(90), 98, "90");
        check(&headed(90), 97, "cut short: 97 bytes, the header alone ends at 98");
        check(&headed(MOST_HEADER_BYTES), u64::MAX, "4194304");
        check(&headed(100_000_000), u64::MAX, "its header has 100000000 bytes, and at most 4194304 are read");
        check(&headed(u64::MAX), u64::MAX, "its first eight bytes are no header length");
        check(
            &[&90_u64.to_le_bytes()[..], b"xyz"].concat(),
            98,
            "its first eight bytes are no header length",
        );
        check(b"1234", 4, "only 4 bytes long");
        // As a pickle and a gzip archive begin.
        check(&headed(0x0280), 1000, "640");
        check(&headed(0x8b1f), 40_000, "35615");
    }

    #[test]
    fn what_lies_in_place_of_weights_is_named() {
        check(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", 134, "a Git LFS pointer");
        check(b"\n <!DOCTYPE html><html lang=\"en\">", 4000, "a web page");
        check(b"<html><head><title>404", 4000, "a web page");
        check(b"PK\x03\x04\x00\x00\x08\x08", 4000, "a pickle");
        check(b"\x80\x02}q\x00(X\x04\x00", 4000, "a pickle");
        check(b"\x1f\x8b\x08\x00\x00\x00\x00\x00", 4000, "gzip");
        check(b"{\"error\":\"Access to model is restricted\"}", 40, "an error message of the server");
        check(b"", 0, "an empty file");
    }
}
