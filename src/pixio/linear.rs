//! Linear maps, by the faster of libtorch's two matrix products.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use super::error::ModelError;
use crate::ffi::onednn;

/// What multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    /// What libtorch takes by itself, the BLAS of the device: MKL, cuBLAS.
    Blas,
    /// oneDNN, asked for by name. On AMD's processors MKL may pass over the widest instructions and oneDNN
    /// does not.
    OneDnn,
}

impl Product {
    /// The faster one, as measured the first time that it matters.
    pub(super) fn fastest(device: Device, kind: Kind) -> Self {
        static ON_CPU: OnceLock<Product> = OnceLock::new();
        match (device, kind) {
            (Device::Cpu, Kind::Float) => *ON_CPU.get_or_init(|| measured().unwrap_or(Self::Blas)),
            _ => Self::Blas,
        }
    }
}

/// The faster one on a layer of ViT-B's MLP; fails where libtorch has no oneDNN.
fn measured() -> Result<Product, ModelError> {
    let float = (Kind::Float, Device::Cpu);
    let (x, weight) = (Tensor::f_ones([1, 264, 768], float)?, Tensor::f_ones([3072, 768], float)?);
    let mut shortest = [(Duration::MAX, Product::Blas), (Duration::MAX, Product::OneDnn)];
    // In turn, so that what disturbs one disturbs the other.
    for _ in 0..5 {
        for (shortest, product) in &mut shortest {
            let layer = Linear::new(weight.shallow_clone(), None, *product);
            let started = Instant::now();
            drop(layer.forward(&x)?);
            *shortest = (*shortest).min(started.elapsed());
        }
    }
    let [blas, onednn] = shortest;
    tracing::debug!("matrix products: {:?} by BLAS, {:?} by oneDNN", blas.0, onednn.0);
    Ok(if onednn.0 < blas.0 { Product::OneDnn } else { Product::Blas })
}

/// `x W^T + b` over the last axis.
#[derive(Debug)]
pub(super) struct Linear {
    /// `[out, in]`.
    weight: Tensor,
    bias: Option<Tensor>,
    product: Product,
}

impl Linear {
    /// `weight` is `[out, in]`, `bias` `[out]`.
    pub(super) fn new(weight: Tensor, bias: Option<Tensor>, product: Product) -> Self {
        Self { weight, bias, product }
    }

    /// The same map on the same memory.
    pub(super) fn shallow_clone(&self) -> Self {
        let bias = self.bias.as_ref().map(Tensor::shallow_clone);
        Self { weight: self.weight.shallow_clone(), bias, product: self.product }
    }

    /// Weight `[out, in]` and bias `[out]` by their names behind `name`.
    pub(super) fn constants(&self, name: &str) -> Vec<(String, Tensor)> {
        let weight = (format!("{name}.weight"), self.weight.shallow_clone());
        let bias = self.bias.as_ref().map(|bias| (format!("{name}.bias"), bias.shallow_clone()));
        [weight].into_iter().chain(bias).collect()
    }

    /// `x` is `[B, N, in]`; the result `[B, N, out]`, contiguous.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        match self.product {
            Product::Blas => Ok(x.f_linear(&self.weight, self.bias.as_ref())?),
            Product::OneDnn => Ok(onednn::linear(x, &self.weight, self.bias.as_ref())?),
        }
    }
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
                Linear::new(weight.shallow_clone(), bias, product).forward(&x)
            };
            let blas = run(Product::Blas).unwrap();
            assert_eq!(blas.size(), [2, 7, 40]);
            match run(Product::OneDnn) {
                Ok(output) => assert!(output.is_contiguous() && output.allclose(&blas, 1e-5, 1e-5, false)),
                Err(err) => println!("skipped: this libtorch has no oneDNN: {err}"),
            }
        }
    }

    #[test]
    fn a_weight_that_does_not_fit_is_an_error() {
        let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
        for product in [Product::Blas, Product::OneDnn] {
            let layer = Linear::new(ones(&[4, 3]), None, product);
            assert!(layer.forward(&ones(&[1, 2, 5])).is_err(), "{product:?}");
        }
    }
}
