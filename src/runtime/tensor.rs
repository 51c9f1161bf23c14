//! The values of tensors as bytes and files.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensorError, TensorView};
use tch::{Device, Kind, TchError, Tensor};

use crate::ffi::memory;

/// The elements of `tensor` as `kind`, row-major, in the machine's byte order.
///
/// # Errors
/// libtorch's own.
pub fn bytes(tensor: &Tensor, kind: Kind) -> Result<Vec<u8>, TchError> {
    memory::values(&tensor.f_to_kind(kind)?.f_to_device(Device::Cpu)?.f_contiguous()?)
}

/// `tensor` in float32 on the CPU, contiguous; itself where it is so already.
///
/// # Errors
/// libtorch's own.
pub fn single(tensor: &Tensor) -> Result<Tensor, TchError> {
    tensor.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?.f_contiguous()
}

/// The elements of `tensor` as float32, row-major.
///
/// # Errors
/// libtorch's own.
pub fn floats(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let tensor = single(tensor)?;
    let mut values = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}

/// Float32 `tensors` as a safetensors file with `metadata`.
///
/// # Errors
/// libtorch's own.
#[expect(clippy::implicit_hasher, reason = "safetensors takes this one")]
pub fn safetensors<'a>(
    tensors: impl IntoIterator<Item = (String, &'a Tensor)>,
    metadata: HashMap<String, String>,
) -> anyhow::Result<Vec<u8>> {
    let parts = tensors.into_iter().map(|(name, tensor)| {
        let shape = tensor.size().into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>()?;
        anyhow::Ok((name, shape, bytes(tensor, Kind::Float)?))
    });
    let parts = parts.collect::<anyhow::Result<Vec<_>>>()?;
    let views = parts.iter().map(|(name, shape, bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view))
    });
    let views = views.collect::<Result<Vec<_>, SafeTensorError>>()?;
    Ok(::safetensors::serialize(views, Some(metadata))?)
}
