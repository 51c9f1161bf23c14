//! Where the model runs and in which arithmetic, from what was asked for and what is there.

use tch::{Cuda, Device, Kind};

use crate::config;

/// A device that was asked for is not usable.
#[derive(Debug, thiserror::Error)]
#[error("device: cuda:{index} was asked for, {n_devices} CUDA devices are usable here; use cpu or auto")]
pub struct DeviceError {
    /// The CUDA device asked for.
    pub index: usize,
    /// How many there are.
    pub n_devices: usize,
}

/// The device for `asked`.
///
/// # Errors
/// A CUDA device that is not there.
pub fn device(asked: config::Device) -> Result<Device, DeviceError> {
    let n_devices = usize::try_from(Cuda::device_count()).unwrap_or_default();
    match asked {
        config::Device::Cpu => Ok(Device::Cpu),
        config::Device::Auto if n_devices == 0 => Ok(Device::Cpu),
        config::Device::Auto => Ok(Device::Cuda(0)),
        config::Device::Cuda(index) if index < n_devices => Ok(Device::Cuda(index)),
        config::Device::Cuda(index) => Err(DeviceError { index, n_devices }),
    }
}

/// The arithmetic for `asked` on `device`; warns where it is slow.
pub fn kind(asked: config::Precision, device: Device) -> Kind {
    let kind = match asked {
        config::Precision::Float32 => Kind::Float,
        config::Precision::Bfloat16 => Kind::BFloat16,
        config::Precision::Float16 => Kind::Half,
        config::Precision::Auto if device.is_cuda() => Kind::BFloat16,
        config::Precision::Auto => Kind::Float,
    };
    if kind != Kind::Float && device == Device::Cpu && !has_half_arithmetic() {
        tracing::warn!(
            "precision: this CPU has neither AMX nor AVX512-BF16, {kind:?} is about six times slower than float32"
        );
    }
    kind
}

fn has_half_arithmetic() -> bool {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // Arm's flag is `bf16`; x86 spells out which unit has it.
    cpu.split_whitespace().any(|flag| matches!(flag, "amx_bf16" | "avx512_bf16" | "bf16"))
}
