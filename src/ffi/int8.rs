//! Products of bytes and signed bytes on CPUs with AVX2 and without VNNI. Linking this registers the operator
//! `pixio::int8_product` that compiled packages call.

use std::ffi::c_void;

use tch::Tensor;

use super::ShimError;
use super::package::last_error;

/// Outputs and inputs that the weights' layout holds together.
pub const GROUP: [i64; 2] = [16, 4];

/// The largest weight: AVX2 adds two products of a byte and a weight in 16 bits, and 2 * 255 * 64 is the last
/// that fits.
pub const LARGEST_WEIGHT: i64 = 64;

/// Whether this CPU has the instructions.
pub fn is_supported() -> bool {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { pixio_int8_is_supported() }
}

/// `x W^T`: `x` is uint8 `[rows, in]`, `weight` int8 `[out / 16, in / 4, 16, 4]` within ±[`LARGEST_WEIGHT`],
/// contiguous, both on the CPU; the result is int32 `[rows, out]`.
///
/// # Errors
/// Other types, shapes or devices, or a CPU without AVX2.
pub fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor, ShimError> {
    // SAFETY: both are tensors that live during the call.
    let product = unsafe { pixio_int8_product(x.as_ptr().cast(), weight.as_ptr().cast()) };
    if product.is_null() {
        return Err(last_error());
    }
    // SAFETY: a tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(product.cast()) })
}

unsafe extern "C" {
    fn pixio_int8_is_supported() -> bool;
    fn pixio_int8_product(x: *const c_void, weight: *const c_void) -> *mut c_void;
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn products_are_exact_for_every_number_of_rows_and_at_the_extremes() {
        if !is_supported() {
            return;
        }
        let (rows, outputs, inputs) = ([1, 2, 3, 4, 5, 7, 64, 261], 48, 1032);
        for (fill, n_rows) in [None, Some(64), Some(-64)].into_iter().flat_map(|fill| rows.map(|n| (fill, n)))
        {
            let on = |kind| (kind, Device::Cpu);
            let x = match fill {
                None => Tensor::randint(256, [n_rows, inputs], on(Kind::Uint8)),
                Some(_) => Tensor::full([n_rows, inputs], 255, on(Kind::Uint8)),
            };
            let weight = match fill {
                None => Tensor::randint_low(-64, 65, [outputs, inputs], on(Kind::Int8)),
                Some(fill) => Tensor::full([outputs, inputs], fill, on(Kind::Int8)),
            };
            let expect = x.to_kind(Kind::Double).matmul(&weight.to_kind(Kind::Double).transpose(0, 1));
            let packed = weight.view([outputs / 16, 16, inputs / 4, 4]).permute([0, 2, 1, 3]).contiguous();
            let actual = product(&x, &packed).unwrap();
            assert_eq!((actual.kind(), actual.size()), (Kind::Int, vec![n_rows, outputs]));
            assert!(actual.to_kind(Kind::Double).equal(&expect), "{n_rows} rows of {fill:?}");
        }
    }

    #[test]
    fn what_the_loop_would_read_past_is_refused() {
        if !is_supported() {
            return;
        }
        let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, Device::Cpu));
        let (x, weight) = (zeros(&[2, 8], Kind::Uint8), zeros(&[1, 2, 16, 4], Kind::Int8));
        assert_eq!(product(&x, &weight).unwrap().size(), [2, 16]);
        for (x, weight) in [
            (x.to_kind(Kind::Int8), weight.shallow_clone()),
            (zeros(&[2, 4], Kind::Uint8), weight.shallow_clone()),
            (x.shallow_clone(), weight.to_kind(Kind::Uint8)),
            (x.shallow_clone(), zeros(&[1, 2, 4, 16], Kind::Int8)),
            (x.shallow_clone(), weight.permute([0, 1, 3, 2]).contiguous().permute([0, 1, 3, 2])),
            (x.shallow_clone(), zeros(&[16, 8], Kind::Int8)),
        ] {
            let answer = product(&x, &weight).unwrap_err().to_string();
            assert!(
                answer.contains("Byte [rows, in] and Char [out / 16, in / 4, 16, 4] are asked for"),
                "{answer}"
            );
        }
    }
}
