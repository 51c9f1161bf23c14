//! The weights of int8 engines, made from the model's own when an engine is loaded: 8-bit integers with one scale per
//! output channel. What multiplies them, and finds one scale per token as it runs, is `QuantizedLinear` in
//! `tools/build_engine.py`.

use tch::{Kind, TchError, Tensor};

use super::machine::Machine;

/// The layers of a block that compute in integers. The patch embedding stays float32: it is under 1 % of the work, and
/// integers there would cost more accuracy than in all blocks.
const LAYERS: [&str; 4] = ["qkv", "projection", "fc1", "fc2"];

/// The largest weight. Without VNNI x86 adds two products of a byte and a weight in 16 bits: 2 * 255 * 64 fits, 127 does
/// not.
fn limit(machine: &Machine) -> i64 {
    match machine {
        Machine::Cpu { architecture, instructions } if architecture == "x86_64" => {
            let has_vnni = ["avx512_vnni", "avx_vnni"].iter().any(|&flag| instructions.contains(flag));
            if has_vnni { 127 } else { 64 }
        }
        Machine::Cpu { .. } | Machine::Cuda { .. } => 127,
    }
}

/// `constants` of a model in float32, those of the blocks' linear layers as `NAME.weight`, int8 `[in, out]`, and
/// `NAME.scale`, `[out]`, for the CPU `machine`.
///
/// # Errors
/// libtorch's own.
pub fn quantized(
    constants: Vec<(String, Tensor)>,
    machine: &Machine,
) -> Result<Vec<(String, Tensor)>, TchError> {
    let mut out = Vec::with_capacity(constants.len());
    for (name, tensor) in constants {
        match name.strip_suffix(".weight").filter(|layer| is_quantized(layer)) {
            None => out.push((name, tensor)),
            Some(layer) => {
                let (weight, scale) = quantize(&tensor, limit(machine))?;
                out.extend([(format!("{layer}.scale"), scale), (name, weight)]);
            }
        }
    }
    Ok(out)
}

fn is_quantized(layer: &str) -> bool {
    layer.starts_with("blocks.") && layer.rsplit('.').next().is_some_and(|name| LAYERS.contains(&name))
}

/// Weight `[out, in]` to int8 `[in, out]` and scale `[out]`, so that their product is the weight, rounded.
fn quantize(weight: &Tensor, limit: i64) -> Result<(Tensor, Tensor), TchError> {
    let largest = weight.f_abs()?.f_amax([1i64].as_slice(), true)?;
    let scale = largest.f_clamp_min(f64::from(f32::MIN_POSITIVE))?.f_div_scalar(limit)?;
    let rounded = weight.f_div(&scale)?.f_round()?.f_to_kind(Kind::Int8)?;
    Ok((rounded.f_transpose(0, 1)?.f_contiguous()?, scale.f_flatten(0, -1)?))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn cpu(instructions: &[&str]) -> Machine {
        let instructions = instructions.iter().map(|&flag| flag.to_owned()).collect();
        Machine::Cpu { architecture: "x86_64".into(), instructions }
    }

    #[test]
    fn weights_are_the_integers_times_the_scale_within_half_a_step() {
        let weight = Tensor::randn([5, 16], (Kind::Float, Device::Cpu)) * 0.02;
        for (machine, limit) in [(cpu(&["avx2"]), 64), (cpu(&["avx2", "avx512_vnni"]), 127)] {
            let constants = vec![("blocks.0.fc1.weight".to_owned(), weight.shallow_clone())];
            let found = quantized(constants, &machine).unwrap();
            let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["blocks.0.fc1.scale", "blocks.0.fc1.weight"]);
            let (scale, integers) = (&found[0].1, &found[1].1);
            assert_eq!((integers.kind(), integers.size(), scale.size()), (Kind::Int8, vec![16, 5], vec![5]));
            assert_eq!(integers.abs().max().int64_value(&[]), limit);
            let error = (integers.transpose(0, 1) * scale.unsqueeze(1) - &weight).abs() / scale.unsqueeze(1);
            assert!(error.max().double_value(&[]) < 0.501);
        }
    }

    #[test]
    fn a_layer_of_zeros_stays_one_and_other_constants_are_left_alone() {
        let zeros = || Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let names = ["patch.weight", "blocks.0.norm1.weight", "blocks.0.fc1.bias", "position"];
        let constants = names.iter().map(|&name| (name.to_owned(), zeros()));
        let kept = quantized(constants.collect(), &cpu(&[])).unwrap();
        assert!(kept.iter().map(|(name, _)| name.as_str()).eq(names));
        let found = quantized(vec![("blocks.1.qkv.weight".into(), zeros())], &cpu(&[])).unwrap();
        assert_eq!(found[1].1.abs().max().int64_value(&[]), 0);
        assert!(found[0].1.isfinite().all().int64_value(&[]) == 1);
    }
}
