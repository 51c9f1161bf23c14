//! The weights of int8 engines, made from the model's own when an engine is loaded: 8-bit integers with one
//! scale per output channel. What multiplies them, and finds one scale per token as it runs, is `quantize` in
//! `python/pixio_engine/build.py`.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

use super::EngineError;
use super::store::machine::Machine;
use crate::ffi::int8::{self, GROUP};

/// The layers of a block that compute in integers. The patch embedding stays float32: it is under 1 % of the
/// work, and integers there would cost more accuracy than in all blocks.
const LAYERS: [&str; 4] = ["qkv", "projection", "fc1", "fc2"];

/// What multiplies the integers. An engine is compiled for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kernel {
    /// `torch._int_mm`: oneDNN, which has VNNI and AMX. Without them it may be a plain loop.
    #[serde(rename = "int_mm")]
    IntMm,
    /// `pixio::int8_product`, for AVX2 only ([`int8`]).
    #[serde(rename = "avx2")]
    Avx2,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Avx2, Self::IntMm];

    /// The name of the kernel, as the manifest and `build` spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::IntMm => "int_mm",
            Self::Avx2 => "avx2",
        }
    }

    /// The one of this name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kernel| kernel.word() == word)
    }

    /// Whether it runs on this CPU and takes weights `[out, in]` of `shape`.
    ///
    /// # Errors
    /// Why not.
    pub fn check(self, shape: [i64; 2]) -> Result<(), String> {
        match self {
            Self::IntMm => Ok(()),
            Self::Avx2 if !int8::is_supported() => Err("this CPU has no AVX2".into()),
            Self::Avx2 if shape[0] % GROUP[0] != 0 || shape[1] % GROUP[1] != 0 => {
                let ([outputs, inputs], [out, n]) = (shape, GROUP);
                Err(format!(
                    "it takes multiples of {out} outputs and {n} inputs, a layer has {outputs} and {inputs}"
                ))
            }
            Self::Avx2 => Ok(()),
        }
    }

    /// The largest weight. Without VNNI x86 adds two products of a byte and a weight in 16 bits: 2 * 255 * 64
    /// fits, 127 does not.
    fn limit(self, machine: &Machine) -> i64 {
        match (self, machine) {
            (Self::Avx2, _) => int8::LARGEST_WEIGHT,
            (Self::IntMm, Machine::Cpu { architecture, instructions, .. }) if architecture == "x86_64" => {
                let has_vnni = ["avx512_vnni", "avx_vnni"].iter().any(|&flag| instructions.contains(flag));
                if has_vnni { 127 } else { int8::LARGEST_WEIGHT }
            }
            (Self::IntMm, Machine::Cpu { .. } | Machine::Cuda { .. }) => 127,
        }
    }

    /// int8 `[out, in]` as it is stored: `[in, out]` for `int_mm`, `[out / 16, in / 4, 16, 4]` for `avx2`.
    fn stored(self, weight: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::IntMm => weight.f_transpose(0, 1)?.f_contiguous(),
            Self::Avx2 => {
                let ((outputs, inputs), [out, n]) = (weight.size2()?, GROUP);
                let grouped = weight.f_view([outputs / out, out, inputs / n, n])?;
                grouped.f_permute([0, 2, 1, 3])?.f_contiguous()
            }
        }
    }

    /// A weight of zeros for a layer of `shape` `[out, in]`, as it is stored.
    ///
    /// # Errors
    /// libtorch's own.
    pub(super) fn zeros(self, shape: [i64; 2]) -> Result<Tensor, TchError> {
        self.stored(&Tensor::f_zeros(shape, (Kind::Int8, tch::Device::Cpu))?)
    }

    /// Multiplies `rows` tokens by a stored weight for `in` inputs, for nothing but the time that it takes.
    ///
    /// # Errors
    /// libtorch's own.
    pub(super) fn multiply(self, rows: i64, inputs: i64, weight: &Tensor) -> Result<(), EngineError> {
        let tokens = |kind| Tensor::f_zeros([rows, inputs], (kind, tch::Device::Cpu));
        match self {
            Self::IntMm => drop(tokens(Kind::Int8)?.f_internal_int_mm(weight)?),
            Self::Avx2 => drop(int8::product(&tokens(Kind::Uint8)?, weight)?),
        }
        Ok(())
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// `constants` of a model in float32, those of the blocks' linear layers for `kernel` on the CPU `machine`:
/// `NAME.weight`, int8 in the kernel's layout; `NAME.scale`, `[out]`; and for `avx2` `NAME.offset`, int32
/// `[out]`, what the products are too large by because its tokens are bytes with 128 added.
///
/// # Errors
/// libtorch's own.
pub fn quantized(
    constants: Vec<(String, Tensor)>,
    kernel: Kernel,
    machine: &Machine,
) -> Result<Vec<(String, Tensor)>, TchError> {
    let mut out = Vec::with_capacity(constants.len());
    for (name, tensor) in constants {
        match name.strip_suffix(".weight").filter(|layer| is_quantized(layer)) {
            None => out.push((name, tensor)),
            Some(layer) => {
                let (weight, scale) = quantize(&tensor, kernel.limit(machine))?;
                out.push((format!("{layer}.scale"), scale));
                if kernel == Kernel::Avx2 {
                    let sums = weight.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Int)?;
                    out.push((format!("{layer}.offset"), sums.f_mul_scalar(128)?));
                }
                out.push((name, kernel.stored(&weight)?));
            }
        }
    }
    Ok(out)
}

fn is_quantized(layer: &str) -> bool {
    layer.starts_with("blocks.") && layer.rsplit('.').next().is_some_and(|name| LAYERS.contains(&name))
}

/// Weight `[out, in]` to int8 `[out, in]` and scale `[out]`, so that their product is the weight, rounded.
fn quantize(weight: &Tensor, limit: i64) -> Result<(Tensor, Tensor), TchError> {
    let largest = weight.f_abs()?.f_amax([1i64].as_slice(), true)?;
    let scale = largest.f_clamp_min(f64::from(f32::MIN_POSITIVE))?.f_div_scalar(limit)?;
    let rounded = weight.f_div(&scale)?.f_round()?.f_to_kind(Kind::Int8)?;
    Ok((rounded, scale.f_flatten(0, -1)?))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn cpu(instructions: &[&str]) -> Machine {
        let instructions = instructions.iter().map(|&flag| flag.to_owned()).collect();
        Machine::Cpu { name: "A CPU".into(), architecture: "x86_64".into(), instructions }
    }

    #[test]
    fn weights_are_the_integers_times_the_scale_within_half_a_step() {
        let weight = Tensor::randn([32, 16], (Kind::Float, Device::Cpu)) * 0.02;
        for (kernel, machine, limit, names) in [
            (Kernel::IntMm, cpu(&["avx2"]), 64, vec!["scale", "weight"]),
            (Kernel::IntMm, cpu(&["avx2", "avx512_vnni"]), 127, vec!["scale", "weight"]),
            (Kernel::Avx2, cpu(&["avx2", "avx512_vnni"]), 64, vec!["scale", "offset", "weight"]),
        ] {
            let constants = vec![("blocks.0.fc1.weight".to_owned(), weight.shallow_clone())];
            let parts = quantized(constants, kernel, &machine).unwrap();
            let expect = names.iter().map(|name| format!("blocks.0.fc1.{name}"));
            assert!(parts.iter().map(|(name, _)| name.clone()).eq(expect));
            let (scale, stored) = (&parts[0].1, &parts[parts.len() - 1].1);
            let integers = match kernel {
                Kernel::IntMm => stored.transpose(0, 1),
                Kernel::Avx2 => stored.permute([0, 2, 1, 3]).reshape([32, 16]),
            };
            assert_eq!(
                (integers.kind(), integers.size(), scale.size()),
                (Kind::Int8, vec![32, 16], vec![32])
            );
            assert_eq!(integers.abs().max().int64_value(&[]), limit);
            let error = (&integers * scale.unsqueeze(1) - &weight).abs() / scale.unsqueeze(1);
            assert!(error.max().double_value(&[]) < 0.501);
            if kernel == Kernel::Avx2 {
                let offset =
                    integers.to_kind(Kind::Int).matmul(&Tensor::full([16], 128, (Kind::Int, Device::Cpu)));
                assert!(offset.equal(&parts[1].1));
            }
        }
    }

    #[test]
    fn a_layer_of_zeros_stays_one_and_other_constants_are_left_alone() {
        let zeros = || Tensor::zeros([16, 4], (Kind::Float, Device::Cpu));
        let names = ["patch.weight", "blocks.0.norm1.weight", "blocks.0.fc1.bias", "position"];
        for kernel in Kernel::ALL {
            let constants = names.iter().map(|&name| (name.to_owned(), zeros()));
            let kept = quantized(constants.collect(), kernel, &cpu(&[])).unwrap();
            assert!(kept.iter().map(|(name, _)| name.as_str()).eq(names));
            let parts = quantized(vec![("blocks.1.qkv.weight".into(), zeros())], kernel, &cpu(&[])).unwrap();
            assert_eq!(parts[parts.len() - 1].1.abs().max().int64_value(&[]), 0);
            assert!(parts[0].1.isfinite().all().int64_value(&[]) == 1);
        }
    }

    #[test]
    fn a_kernel_says_which_layers_it_cannot_multiply() {
        assert_eq!(Kernel::IntMm.check([17, 3]), Ok(()));
        if int8::is_supported() {
            assert_eq!(Kernel::Avx2.check([48, 12]), Ok(()));
            let answer = "it takes multiples of 16 outputs and 4 inputs, a layer has 40 and 12";
            assert_eq!(Kernel::Avx2.check([40, 12]).unwrap_err(), answer);
        }
        assert_eq!(Kernel::ALL.map(|kernel| Kernel::from_word(kernel.word())), Kernel::ALL.map(Some));
        assert_eq!(Kernel::from_word("vnni"), None);
    }
}
