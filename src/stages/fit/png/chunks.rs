//! Chunks of a PNG file (ISO/IEC 15948, 5.3), and a view of the file that has only those that hold the
//! image. Whatever else a file carries (colour profiles, texts, the frames of an animation) is passed over
//! unread.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

pub(in crate::stages::fit) const SIGNATURE: &[u8] = &[0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a];
const END: &[u8] = &[0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82];

pub(super) const HEADER: [u8; 4] = *b"IHDR";
pub(super) const PALETTE: [u8; 4] = *b"PLTE";
pub(super) const PIXELS: [u8; 4] = *b"IDAT";

/// A whole chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    pub(super) name: [u8; 4],
    pub(super) data: &'a [u8],
    checksum: u32,
    /// From its length to its checksum.
    whole: &'a [u8],
}

impl Chunk<'_> {
    /// Whether the chunk must be understood.
    pub(super) fn is_critical(&self) -> bool {
        self.name[0].is_ascii_uppercase()
    }

    pub(super) fn is_intact(&self) -> bool {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.name);
        hasher.update(self.data);
        hasher.finalize() == self.checksum
    }
}

/// The chunks before the end chunk, as far as they are whole.
pub(super) fn chunks(file: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = file.get(SIGNATURE.len()..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        let (whole, behind) = rest.split_at_checked(length.checked_add(12)?)?;
        let (name, data) = whole[4..].split_first_chunk::<4>()?;
        let (data, checksum) = data.split_last_chunk::<4>()?;
        rest = behind;
        let checksum = u32::from_be_bytes(*checksum);
        (name != b"IEND").then_some(Chunk { name: *name, data, checksum, whole })
    })
}

/// The file as a decoder should see it.
pub(super) struct ChunkReader<'a, I> {
    chunks: I,
    /// Of the piece that is being read.
    rest: &'a [u8],
    has_ended: bool,
}

impl<'a> ChunkReader<'a, ()> {
    pub(super) fn new(file: &'a [u8]) -> ChunkReader<'a, impl Iterator<Item = Chunk<'a>>> {
        let chunks = chunks(file).filter(|chunk| [HEADER, PALETTE, PIXELS].contains(&chunk.name));
        ChunkReader { chunks, rest: SIGNATURE, has_ended: false }
    }
}

impl<'a, I: Iterator<Item = Chunk<'a>>> BufRead for ChunkReader<'a, I> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest.is_empty() && !self.has_ended {
            let next = self.chunks.next();
            self.has_ended = next.is_none();
            self.rest = next.map_or(END, |chunk| chunk.whole);
        }
        Ok(self.rest)
    }

    fn consume(&mut self, n_bytes: usize) {
        self.rest = self.rest.get(n_bytes..).unwrap_or_default();
    }
}

impl<'a, I: Iterator<Item = Chunk<'a>>> Read for ChunkReader<'a, I> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.fill_buf()?.read(into)?;
        self.consume(n_bytes);
        Ok(n_bytes)
    }
}

impl<I> Seek for ChunkReader<'_, I> {
    /// The decoder asks for it but still reads straight on.
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
