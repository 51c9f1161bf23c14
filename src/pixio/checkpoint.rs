//! A checkpoint on disk: one safetensors file or several with an index. Tensors are read one at a time, so
//! that loading needs the memory of the model and of one tensor.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ::safetensors::Dtype;
use ::safetensors::tensor::{Metadata, TensorInfo};
use tch::{Kind, Tensor};

use super::error::ModelError;
use super::layouts::Layout;
use super::weights::{Part, Weights};
use crate::files::{self, safetensors};
use crate::text;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Endings of files that torch.save writes.
const PICKLES: [&str; 3] = ["pth", "pt", "bin"];
/// Most bytes of an index.
const MOST_INDEX_BYTES: u64 = 4 << 20;

/// The open weight files of a model.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// The single file, or the index.
    listing: PathBuf,
    /// What stands before every name of the encoder's tensors, such as `model.`; mostly nothing.
    wrapper: String,
    layout: Layout,
    shards: Vec<Shard>,
    /// The shard of every tensor.
    shard_of: HashMap<String, usize>,
    read: HashSet<String>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
    /// Where the tensors' bytes begin.
    start: u64,
    header: Metadata,
}

impl Checkpoint {
    /// Opens the weights in `folder` and recognises their layout.
    ///
    /// # Errors
    /// No weights, only pickled ones, or files that are not whole.
    pub(super) fn open(folder: &Path) -> Result<Self, ModelError> {
        let (listing, paths) = weight_files(folder)?;
        let shards = paths.into_iter().map(Shard::open).collect::<Result<Vec<_>, _>>()?;
        let mut shard_of = HashMap::new();
        for (index, shard) in shards.iter().enumerate() {
            shard_of.extend(shard.header.offset_keys().into_iter().map(|name| (name, index)));
        }
        let (wrapper, layout) = Layout::unwrap(shard_of.keys().map(String::as_str))
            .map_err(|reason| ModelError::Malformed { file: listing.clone(), reason })?;
        Ok(Self { listing, wrapper, layout, shards, shard_of, read: HashSet::new() })
    }

    /// The weight files in the order of their names.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.shards.iter().map(|shard| shard.path.clone()).collect()
    }

    /// Tensors that nobody has read, in the order of their names: those of the encoder, and others.
    pub(super) fn unread(&self) -> [Vec<&str>; 2] {
        let unread = self.shard_of.keys().filter(|name| !self.read.contains(*name));
        let mut names: Vec<_> = unread.map(String::as_str).collect();
        names.sort_unstable();
        let is_of_encoder = |name: &&str| {
            name.strip_prefix(&*self.wrapper).is_some_and(|name| self.layout.is_of_encoder(name))
        };
        let (encoder, others) = names.into_iter().partition(is_of_encoder);
        [encoder, others]
    }

    /// The name of an encoder's tensor in this checkpoint.
    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.wrapper)
    }

    fn tensor(&mut self, name: &str, shape: &[i64], kind: Kind) -> Result<Tensor, ModelError> {
        let missing = || ModelError::MissingTensor {
            file: self.listing.clone(),
            tensor: name.to_owned(),
            expected: shape.to_vec(),
        };
        let shard =
            self.shard_of.get(name).and_then(|&index| self.shards.get_mut(index)).ok_or_else(missing)?;
        let tensor = shard.tensor(name, shape)?.f_to_kind(kind)?;
        self.read.insert(name.to_owned());
        if !all_finite(&tensor)? {
            return Err(ModelError::NotFinite { file: shard.path.clone(), tensor: name.to_owned(), kind });
        }
        Ok(tensor)
    }
}

impl Weights for Checkpoint {
    fn has(&self, part: Part) -> bool {
        let names = self.layout.names(part);
        !names.is_empty() && names.iter().all(|name| self.shard_of.contains_key(&self.named(name)))
    }

    fn read(&mut self, part: Part, shape: &[i64], kind: Kind) -> Result<Tensor, ModelError> {
        let names = self.layout.names(part);
        let mut each = shape.to_vec();
        each[0] /= names.len() as i64;
        let tensors = names.iter().map(|name| self.tensor(&self.named(name), &each, kind));
        let mut tensors = tensors.collect::<Result<Vec<_>, _>>()?;
        match tensors.len() {
            1 => Ok(tensors.remove(0)),
            _ => Ok(Tensor::f_cat(&tensors, 0)?),
        }
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self, ModelError> {
        let io = |reason| ModelError::Io { file: path.clone(), reason };
        let malformed = |reason: String| ModelError::Malformed { file: path.clone(), reason };
        let mut file = files::open(&path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let header = safetensors::header(&mut file, length).map_err(io)?.map_err(malformed)?;
        let start = (safetensors::LENGTH + header.len()) as u64;
        let header = parse_header(&header).map_err(malformed)?;
        let whole = start.saturating_add(header.data_len() as u64);
        if length != whole {
            let what = if length < whole { "cut short" } else { "too long" };
            return Err(malformed(format!("{what}: {length} bytes, by its header {whole}")));
        }
        Ok(Self { path, file, start, header })
    }

    fn tensor(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        let io = |reason| ModelError::Io { file: self.path.clone(), reason };
        let missing = || ModelError::MissingTensor {
            file: self.path.clone(),
            tensor: name.to_owned(),
            expected: shape.to_vec(),
        };
        let TensorInfo { dtype, shape: found, data_offsets: (begin, end) } =
            self.header.info(name).ok_or_else(missing)?;
        let found: Vec<i64> = found.iter().map(|&side| side as i64).collect();
        if found != shape {
            let (file, tensor) = (self.path.clone(), name.to_owned());
            return Err(ModelError::Shape { file, tensor, expected: shape.to_vec(), found });
        }
        let kind = match dtype {
            Dtype::F32 => Kind::Float,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::F16 => Kind::Half,
            Dtype::F64 => Kind::Double,
            other => {
                let reason = format!("tensor {name} is {other:?}, expected F32, BF16, F16 or F64");
                return Err(ModelError::Malformed { file: self.path.clone(), reason });
            }
        };
        self.file.seek(SeekFrom::Start(self.start + *begin as u64)).map_err(io)?;
        let mut bytes = vec![0; end - begin];
        self.file.read_exact(&mut bytes).map_err(io)?;
        Ok(Tensor::f_from_data_size(&bytes, shape, kind)?)
    }
}

/// What the header of a safetensors file says.
pub(super) fn parse_header(json: &[u8]) -> Result<Metadata, String> {
    serde_json::from_slice(json)
        .map_err(|err| format!("not a safetensors file: header: {}", text::foreign(&err.to_string())))
}

/// The file that lists the tensors and the weight files in the order of their names.
fn weight_files(folder: &Path) -> Result<(PathBuf, Vec<PathBuf>), ModelError> {
    let single = folder.join(SINGLE);
    if single.is_file() {
        return Ok((single.clone(), vec![single]));
    }
    let index = folder.join(INDEX);
    if !index.is_file() {
        return Err(without_weights(folder));
    }
    let text = files::read_text(&index, MOST_INDEX_BYTES)
        .map_err(|reason| ModelError::Io { file: index.clone(), reason })?;
    let malformed = |reason: String| ModelError::Malformed { file: index.clone(), reason };
    let parsed: Index = serde_json::from_str(&text).map_err(|err| malformed(err.to_string()))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    if let Some(name) = names.iter().find(|name| Path::new(name).file_name() != Some(name.as_ref())) {
        return Err(malformed(format!("{name:?} is not the name of a file in this folder")));
    }
    Ok((index, names.iter().map(|name| folder.join(name)).collect()))
}

#[derive(serde::Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

fn without_weights(folder: &Path) -> ModelError {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    match entries.map(|entry| entry.path()).filter(|path| is_pickle(path)).min() {
        Some(file) => ModelError::Pickle { file, out: folder.to_owned() },
        None => ModelError::NoWeights { folder: folder.to_owned() },
    }
}

/// Whether the file's name is one that torch.save is used with.
pub(super) fn is_pickle(path: &Path) -> bool {
    path.extension().is_some_and(|end| PICKLES.iter().any(|pickle| end == *pickle))
}

fn all_finite(tensor: &Tensor) -> Result<bool, ModelError> {
    let finite = tensor.f_isfinite()?.f_all()?;
    Ok(finite.f_int64_value(&[])? == 1)
}
