//! Linear maps, by the faster of libtorch's two matrix products.

use std::fs;

use tch::{Device, Kind, Tensor};

use super::error::ModelError;

/// What multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    /// The BLAS of the device: MKL, cuBLAS.
    Blas,
    /// A 1x1 convolution of oneDNN. On AMD's processors MKL passes over the widest instructions and oneDNN
    /// does not: nearly twice as fast with AVX-512.
    Convolution,
}

impl Product {
    /// The faster one.
    pub(super) fn fastest(device: Device, kind: Kind) -> Self {
        let amd = || fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("AuthenticAMD"));
        let has_convolution = || {
            let ones = Tensor::f_ones([1, 1, 1, 1], (Kind::Float, Device::Cpu));
            ones.and_then(|ones| convolve(&ones, &ones, None)).is_ok()
        };
        match device == Device::Cpu && kind == Kind::Float && amd() && has_convolution() {
            true => Self::Convolution,
            false => Self::Blas,
        }
    }
}

/// `x W^T + b` over the last axis.
#[derive(Debug)]
pub(super) struct Linear {
    /// `[out, in]`, or `[out, in, 1, 1]` for a convolution.
    weight: Tensor,
    bias: Option<Tensor>,
    product: Product,
}

impl Linear {
    /// `weight` is `[out, in]`, `bias` `[out]`.
    pub(super) fn new(weight: Tensor, bias: Option<Tensor>, product: Product) -> Result<Self, ModelError> {
        let weight = match product {
            Product::Blas => weight,
            Product::Convolution => weight.f_unsqueeze(-1)?.f_unsqueeze(-1)?,
        };
        Ok(Self { weight, bias, product })
    }

    /// The same map on the same memory.
    pub(super) fn shallow_clone(&self) -> Self {
        let bias = self.bias.as_ref().map(Tensor::shallow_clone);
        Self { weight: self.weight.shallow_clone(), bias, product: self.product }
    }

    /// Weight `[out, in]` and bias `[out]` by their names behind `name`.
    pub(super) fn constants(&self, name: &str) -> Result<Vec<(String, Tensor)>, ModelError> {
        let weight = self.weight.f_flatten(1, -1)?;
        let bias = self.bias.as_ref().map(|bias| (format!("{name}.bias"), bias.shallow_clone()));
        Ok([(format!("{name}.weight"), weight)].into_iter().chain(bias).collect())
    }

    /// `x` is `[B, N, in]`; the result `[B, N, out]`, contiguous.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        if self.product == Product::Blas {
            return Ok(x.f_linear(&self.weight, self.bias.as_ref())?);
        }
        let (batch, n_tokens, inputs) = x.size3()?;
        // Tokens as the rows of a picture whose channels lie last in memory: nothing is copied.
        let picture = x.f_reshape([1, batch * n_tokens, 1, inputs])?.f_permute([0, 3, 1, 2])?;
        let product = convolve(&picture, &self.weight, self.bias.as_ref())?;
        Ok(product.f_permute([0, 2, 3, 1])?.f_reshape([batch, n_tokens, -1])?)
    }
}

// Asked for by name: conv2d leaves oneDNN aside when it has one thread only.
fn convolve(picture: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, tch::TchError> {
    picture.f_mkldnn_convolution(weight, bias, [0, 0], [1, 1], [1, 1], 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_products_give_the_same() {
        let float = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        for bias in [None, Some(float(&[40]))] {
            let (weight, x) = (float(&[40, 24]), float(&[2, 7, 24]));
            let run = |product| {
                let bias = bias.as_ref().map(Tensor::shallow_clone);
                Linear::new(weight.shallow_clone(), bias, product).unwrap().forward(&x)
            };
            let blas = run(Product::Blas).unwrap();
            assert_eq!(blas.size(), [2, 7, 40]);
            match run(Product::Convolution) {
                Ok(convolved) => assert!(convolved.allclose(&blas, 1e-5, 1e-5, false)),
                Err(err) => println!("skipped: this libtorch has no oneDNN: {err}"),
            }
        }
    }
}
