//! Everything that can be wrong with a model.

use std::path::PathBuf;

use tch::{Kind, TchError};

use crate::ffi::{ShimError, first_line};

/// Why a model cannot be loaded or run. Every message names the file and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Neither a folder nor the form of a Hugging Face id.
    #[error("model {text:?} is neither a folder, nor a Hugging Face id (org/name), nor random:NAME")]
    Source {
        /// What was asked for.
        text: String,
    },
    /// A file where a folder is wanted.
    #[error("{} is a file: give the folder that holds model.safetensors and config.json", path.display())]
    NotAFolder {
        /// What was asked for.
        path: PathBuf,
    },
    /// A Hugging Face id that has not been downloaded.
    #[error("{id} is neither a folder nor in the Hugging Face cache {}; nothing is downloaded here: accept \
             the licence on its page, then run `hf auth login` and `hf download {id} --include '*.json' \
             '*.safetensors'`", cache.display())]
    NotCached {
        /// Such as `facebook/pixio-vitb16`.
        id: String,
        /// Folder that was searched.
        cache: PathBuf,
    },
    /// An unknown name after `random:`.
    #[error("there is no random:{name}; known names: {known}")]
    UnknownRandom {
        /// What was asked for.
        name: String,
        /// All known names.
        known: String,
    },
    /// No weights in a folder.
    #[error("{} has neither model.safetensors nor model.safetensors.index.json: \
             give the folder that holds the weights", folder.display())]
    NoWeights {
        /// The model's folder.
        folder: PathBuf,
    },
    /// Only pickled weights in a folder; those can run code when read.
    #[error("{} is a pickle, and only safetensors are read: convert it with \
             `.venv/bin/pixio-convert-checkpoint {} {}`", file.display(), file.display(), out.display())]
    Pickle {
        /// The pickle that was found.
        file: PathBuf,
        /// Folder that the conversion would write.
        out: PathBuf,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {reason}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("{}: {reason}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A value in config.json that this implementation does not have.
    #[error("{}: {key} is {found}, but only {supported} is supported", file.display())]
    Unsupported {
        /// The config.json.
        file: PathBuf,
        /// Name of the setting.
        key: &'static str,
        /// Value in config.json.
        found: String,
        /// What it may be.
        supported: String,
    },
    /// A tensor that the checkpoint should have.
    #[error("{}: tensor {tensor} is missing (expected {expected:?})", file.display())]
    MissingTensor {
        /// The weight file or index.
        file: PathBuf,
        /// Name in the layout of the checkpoint.
        tensor: String,
        /// Shape according to config.json.
        expected: Vec<i64>,
    },
    /// A tensor of a shape that does not fit config.json.
    #[error("{}: tensor {tensor} is {found:?}, expected {expected:?}", file.display())]
    Shape {
        /// The weight file.
        file: PathBuf,
        /// Name in the layout of the checkpoint.
        tensor: String,
        /// Shape according to config.json.
        expected: Vec<i64>,
        /// Shape in the file.
        found: Vec<i64>,
    },
    /// A tensor with NaN or infinite values, in the precision asked for.
    #[error("{}: tensor {tensor} has values that are not finite in {kind:?}", file.display())]
    NotFinite {
        /// The weight file.
        file: PathBuf,
        /// Name in the layout of the checkpoint.
        tensor: String,
        /// Element type asked for.
        kind: Kind,
    },
    /// An input that the model cannot take.
    #[error("input is {found}, expected {expected}")]
    Input {
        /// Type and shape that came.
        found: String,
        /// Type and shape that fits.
        expected: String,
    },
    /// A block that the model does not have, or a wrong order.
    #[error("blocks {blocks:?} were asked for, the model has {n_blocks}: {rule}")]
    Blocks {
        /// What was asked for.
        blocks: Vec<usize>,
        /// Blocks of the model.
        n_blocks: usize,
        /// What is allowed.
        rule: &'static str,
    },
    /// libtorch's own.
    #[error("libtorch: {message}")]
    Libtorch {
        /// First line of what it said.
        message: String,
    },
}

impl From<TchError> for ModelError {
    fn from(err: TchError) -> Self {
        Self::Libtorch { message: first_line(&err) }
    }
}

impl From<ShimError> for ModelError {
    fn from(err: ShimError) -> Self {
        Self::Libtorch { message: err.message }
    }
}
