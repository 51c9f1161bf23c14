//! Why an image was refused.

use crate::geometry::Size;
use crate::runtime::scratch::NoMemory;

/// An image that cannot become a model input. The frame is lost, the next one may be fine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// The name is not a supported encoding.
    #[error("encoding {encoding:?} is not supported")]
    Encoding {
        /// As it stood in the message.
        encoding: String,
    },
    /// No columns or no rows.
    #[error("the image is {}x{}", size.width, size.height)]
    ZeroSize {
        /// As claimed.
        size: Size,
    },
    /// A size that the encoding cannot have: odd where chroma is shared, or too small for a mosaic.
    #[error("an image in {encoding} cannot be {}x{}", size.width, size.height)]
    ImpossibleSize {
        /// As it stood in the message.
        encoding: String,
        /// As claimed.
        size: Size,
    },
    /// More pixels than are taken.
    #[error("{}x{} is too large: at most 65535 per side and {max_pixels} pixels (max_image_pixels) are \
        allowed",
        size.width, size.height)]
    TooLarge {
        /// As claimed.
        size: Size,
        /// The limit.
        max_pixels: u64,
    },
    /// Rows overlap.
    #[error("step {step} is shorter than a row of {row_bytes} bytes")]
    Step {
        /// Bytes from row to row, as claimed.
        step: u32,
        /// Bytes that a row needs.
        row_bytes: u64,
    },
    /// The message holds fewer bytes than it claims.
    #[error("{found} bytes arrived, the message claims {expected}")]
    ShortData {
        /// Bytes needed.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// A compressed image that begins like neither JPEG nor PNG.
    #[error("neither JPEG nor PNG: the data begins with the bytes {start:02x?}")]
    CompressedFormat {
        /// The first bytes, at most eight.
        start: Vec<u8>,
    },
    /// A kind of JPEG that is not read.
    #[error(
        "JPEG with {kind} is not supported: 8 bits per sample, Huffman coding, and grey or three \
        components are"
    )]
    JpegKind {
        /// What it has.
        kind: String,
    },
    /// What is wrong with a JPEG.
    #[error("broken JPEG: {message}")]
    Jpeg {
        /// One line.
        message: String,
    },
    /// What is wrong with a PNG.
    #[error("broken PNG: {message}")]
    Png {
        /// One line.
        message: String,
    },
    /// There is no room for the model input.
    #[error("no memory for a model input of {model}: {message}")]
    Memory {
        /// Size of the model input.
        model: Size,
        /// What the system said.
        message: String,
    },
    /// There is no room for the decoded image or a step on the way to the model input.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
    /// The colour conversion or the resize failed.
    #[error("the conversion failed: {message}")]
    Conversion {
        /// What the library said.
        message: String,
    },
}

impl FitError {
    /// The key under which the frame is counted.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Encoding { .. } => "encoding",
            Self::ZeroSize { .. } => "zero size",
            Self::ImpossibleSize { .. } => "impossible size",
            Self::TooLarge { .. } => "too large",
            Self::Step { .. } => "step",
            Self::ShortData { .. } => "short data",
            Self::CompressedFormat { .. } => "compressed format",
            Self::Jpeg { .. } | Self::JpegKind { .. } => "jpeg",
            Self::Png { .. } => "png",
            Self::Memory { .. } | Self::NoMemory(_) => "memory",
            Self::Conversion { .. } => "conversion",
        }
    }

    pub(super) fn conversion(err: impl ToString) -> Self {
        Self::Conversion { message: err.to_string() }
    }
}
