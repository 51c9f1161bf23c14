//! Writes PNG files chunk by chunk (ISO/IEC 15948).

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};

pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A chunk with its length and checksum.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "names are literals")]
pub(super) fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut sum = flate2::Crc::new();
    sum.update(name);
    sum.update(content);
    [&(content.len() as u32).to_be_bytes(), &name[..], content, &sum.sum().to_be_bytes()].concat()
}

/// The file with every checksum made right, as far as it consists of chunks: damage that the checksums do not
/// tell of.
pub(super) fn sealed(file: &[u8]) -> Vec<u8> {
    let mut rest = file.strip_prefix(SIGNATURE).unwrap_or_default();
    let mut sealed = file[..file.len() - rest.len()].to_vec();
    while let Some((length, behind)) = rest.split_first_chunk()
        && let Some((name, behind)) = behind.split_first_chunk()
        && let Some((content, behind)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)
        && let Some((_, behind)) = behind.split_first_chunk::<4>()
    {
        sealed.extend(chunk(name, content));
        rest = behind;
    }
    sealed.extend(rest);
    sealed
}

pub(super) fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `n_bytes` zeros, packed without being made.
pub(super) fn packed_zeros(n_bytes: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let piece = vec![0; 1 << 20];
    for at in (0..n_bytes).step_by(piece.len()) {
        encoder.write_all(&piece[..piece.len().min(n_bytes - at)]).unwrap();
    }
    encoder.finish().unwrap()
}

/// The content of a header chunk.
pub(super) fn header((width, height): (usize, usize), depth: u8, color: u8, is_interlaced: bool) -> Vec<u8> {
    let mut content = [width, height].map(|side| (side as u32).to_be_bytes()).concat();
    content.extend([depth, color, 0, 0, u8::from(is_interlaced)]);
    content
}

/// A whole file, with chunks before and behind its pixels.
pub(super) fn file(header: &[u8], before: &[Vec<u8>], pixels: &[Vec<u8>], behind: &[Vec<u8>]) -> Vec<u8> {
    let pixels: Vec<u8> = pixels.iter().flat_map(|packed| chunk(b"IDAT", packed)).collect();
    let parts = [SIGNATURE, &chunk(b"IHDR", header), &before.concat(), &pixels, &behind.concat()];
    [&parts.concat()[..], &chunk(b"IEND", b"")].concat()
}

/// Rows of samples of `depth` bits as they are packed; `sample` gives the samples of a pixel.
pub(super) fn rows(
    (width, height): (usize, usize),
    depth: usize,
    is_interlaced: bool,
    sample: impl Fn(usize, usize) -> Vec<u16>,
) -> Vec<u8> {
    let adam7 =
        [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
    let passes = if is_interlaced { &adam7[..] } else { &[(0, 0, 1, 1)] };
    let mut bytes = Vec::new();
    for &(left, top, across, down) in passes {
        for y in (top..height).step_by(down) {
            let samples: Vec<u16> = (left..width).step_by(across).flat_map(|x| sample(x, y)).collect();
            if samples.is_empty() {
                continue;
            }
            bytes.push(0);
            if depth == 16 {
                bytes.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
                continue;
            }
            for group in samples.chunks(8 / depth) {
                let byte = group.iter().fold(0, |byte, sample| byte << depth | sample);
                bytes.push((byte << (8 - depth * group.len())) as u8);
            }
        }
    }
    bytes
}
