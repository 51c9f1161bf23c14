//! Head files: safetensors with the card in the metadata. They are read here, and written of [`HeadParts`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use super::card::Card;
use super::error::HeadError;
use crate::files;
use crate::runtime::tensor;

/// What errors call a head that is in no file.
const TAUGHT: &str = "(in memory)";

/// Key of the card in the metadata.
pub(crate) const CARD: &str = "card";

/// What a head file holds.
#[derive(Debug)]
pub struct HeadParts {
    /// What the head is.
    pub card: Card,
    /// Its parameters by name, float32 on the CPU.
    pub tensors: Vec<(String, Tensor)>,
}

impl HeadParts {
    /// The bytes of the head file.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let metadata = HashMap::from([(CARD.to_owned(), serde_json::to_string(&self.card)?)]);
        tensor::safetensors(self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor)), metadata)
    }
}

/// The tensors of a head file, each to be taken once.
#[derive(Debug)]
pub(super) struct HeadTensors {
    file: PathBuf,
    unread: HashMap<String, Tensor>,
    device: Device,
    kind: Kind,
}

impl HeadTensors {
    /// The card and the tensors of the `bytes` of `file`, which errors name; the tensors will be placed on
    /// `device` as `kind`.
    pub(super) fn parse(
        file: &Path,
        bytes: &[u8],
        device: Device,
        kind: Kind,
    ) -> Result<(Card, Self), HeadError> {
        let failed = |reason: String| HeadError::File { file: file.to_owned(), reason };
        files::safetensors::check(bytes).map_err(&failed)?;
        let not_whole =
            |err: safetensors::SafeTensorError| failed(format!("not a whole safetensors file: {err}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_whole)?;
        let card = header.metadata().as_ref().and_then(|metadata| metadata.get(CARD)).cloned();
        let card = card.ok_or_else(|| {
            failed("it has no card in its metadata: it was not made by pixio-train-head".into())
        })?;
        let mut unread = HashMap::new();
        for (name, view) in SafeTensors::deserialize(bytes).map_err(not_whole)?.tensors() {
            // Batch norms count their training steps.
            if name.ends_with("num_batches_tracked") {
                continue;
            }
            let stored = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::F16 => Kind::Half,
                other => {
                    return Err(failed(format!("tensor {name} is {other:?}, expected F32 or F16")));
                }
            };
            let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
            let tensor = Tensor::f_from_data_size(view.data(), &shape, stored)?;
            unread.insert(name, tensor.f_to_kind(Kind::Float)?);
        }
        let card = Card::parse(&card).map_err(failed)?;
        Ok((card, Self { file: file.to_owned(), unread, device, kind }))
    }

    /// Those of `parts`.
    pub(super) fn of(parts: &HeadParts, device: Device, kind: Kind) -> Self {
        let tensors = parts.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        Self { file: TAUGHT.into(), unread: tensors.collect(), device, kind }
    }

    /// One parameter in float32 on the CPU, to compute with before [`HeadTensors::place`].
    pub(super) fn float(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, HeadError> {
        let Some(tensor) = self.unread.remove(name) else {
            return Err(self.failed(format!("tensor {name} is missing (expected {shape:?})")));
        };
        if tensor.size() != shape {
            return Err(self.failed(format!("tensor {name} is {:?}, expected {shape:?}", tensor.size())));
        }
        if tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 1 {
            return Err(self.failed(format!("tensor {name} has values that are not finite")));
        }
        Ok(tensor)
    }

    /// One parameter where the head runs.
    pub(super) fn tensor(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, HeadError> {
        let tensor = self.float(name, shape)?;
        self.place(&tensor)
    }

    /// Something computed, contiguous where the head runs.
    pub(super) fn place(&self, tensor: &Tensor) -> Result<Tensor, HeadError> {
        Ok(tensor.f_to_kind(self.kind)?.f_contiguous()?.f_to_device(self.device)?)
    }

    /// Refuses a file with tensors that the card's head does not have.
    pub(super) fn check_all_read(&self) -> Result<(), HeadError> {
        match self.unread.keys().min() {
            None => Ok(()),
            Some(name) => {
                Err(self.failed(format!("tensor {name} is not part of the head that the card describes")))
            }
        }
    }

    fn failed(&self, reason: String) -> HeadError {
        HeadError::File { file: self.file.clone(), reason }
    }
}
