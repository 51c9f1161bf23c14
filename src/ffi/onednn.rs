//! Matrix products by oneDNN, which libtorch has and uses only on some CPUs.

use std::ffi::c_void;
use std::ptr;

use tch::{Device, Kind, Tensor};

use super::ShimError;
use super::package::last_error;

/// `x W^T + b`: `x` is float32 `[…, in]`, `weight` `[out, in]`, `bias` `[out]`, all on the CPU; the result
/// `[…, out]`, contiguous.
///
/// # Errors
/// Other types, shapes or devices, or a libtorch without oneDNN.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, ShimError> {
    // oneDNN reads as much as the weight's shape says, whatever is there.
    let (outputs, inputs) = weight.size2()?;
    let fits = x.size().last() == Some(&inputs) && bias.is_none_or(|bias| bias.size() == [outputs]);
    let is_ours = |tensor: &Tensor| tensor.kind() == Kind::Float && tensor.device() == Device::Cpu;
    if !fits || ![Some(x), Some(weight), bias].into_iter().flatten().all(is_ours) {
        let (x, bias) = (x.size(), bias.map(Tensor::size));
        return Err(ShimError::new(format!(
            "a linear map of {x:?} by [{outputs}, {inputs}] and {bias:?}, in float32 on the CPU"
        )));
    }
    let bias = bias.map_or(ptr::null(), |bias| bias.as_ptr().cast());
    // SAFETY: all are tensors that live during the call, the last one may be null.
    let product = unsafe { pixio_onednn_linear(x.as_ptr().cast(), weight.as_ptr().cast(), bias) };
    if product.is_null() {
        return Err(last_error());
    }
    // SAFETY: a tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(product.cast()) })
}

unsafe extern "C" {
    fn pixio_onednn_linear(x: *const c_void, weight: *const c_void, bias: *const c_void) -> *mut c_void;
}
