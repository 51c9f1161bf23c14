//! Where the model runs and in which arithmetic, from what was asked for and what is there.

use tch::Device;

use super::arithmetic::Arithmetic;
use crate::config;
use crate::ffi::cuda::{self, Absent};

/// A device that was asked for is not usable.
#[derive(Debug, thiserror::Error)]
#[error("device: cuda:{index} was asked for, but {reason}; use cpu or auto")]
pub struct DeviceError {
    /// The CUDA device asked for.
    pub index: usize,
    /// Why not.
    pub reason: String,
}

/// The device for `asked`.
///
/// # Errors
/// A CUDA device that is not there.
pub fn device(asked: config::Device) -> Result<Device, DeviceError> {
    match asked {
        config::Device::Cpu => Ok(Device::Cpu),
        config::Device::Auto => Ok(if has_gpu() { Device::Cuda(0) } else { Device::Cpu }),
        config::Device::Cuda(index) => {
            let refused = |reason: String| DeviceError { index, reason };
            let cuda = cuda::load().map_err(|absent| refused(absent.to_string()))?;
            let n_devices = cuda.device_count().map_err(|err| refused(err.to_string()))?;
            match index < n_devices {
                true => Ok(Device::Cuda(index)),
                false => Err(refused(format!("{n_devices} CUDA devices are usable here"))),
            }
        }
    }
}

/// Whether there is a GPU that works; warns about one that should and does not.
fn has_gpu() -> bool {
    let absent = match cuda::load() {
        Err(Absent::NoDriver) => return false,
        Err(absent) => absent.to_string(),
        Ok(cuda) => match cuda.device_count() {
            Ok(_) => return true,
            Err(err) => err.to_string(),
        },
    };
    tracing::warn!("device: the model runs on the CPU although there is an NVIDIA driver: {absent}");
    false
}

/// The arithmetic for `asked` on `device`; warns where it is slow.
pub fn arithmetic(asked: config::Precision, device: Device) -> Arithmetic {
    let arithmetic = match asked {
        config::Precision::Float32 => Arithmetic::Float32,
        config::Precision::Bfloat16 => Arithmetic::Bfloat16,
        config::Precision::Float16 => Arithmetic::Float16,
        config::Precision::Int8 => Arithmetic::Int8,
        config::Precision::Auto if device.is_cuda() => Arithmetic::Bfloat16,
        config::Precision::Auto => Arithmetic::Float32,
    };
    let is_half = matches!(arithmetic, Arithmetic::Bfloat16 | Arithmetic::Float16);
    if is_half && device == Device::Cpu && !has_half_arithmetic() {
        tracing::warn!(
            "precision: this CPU has neither AMX nor AVX512-BF16, {arithmetic} is about six times slower \
             than float32"
        );
    }
    arithmetic
}

/// What libtorch's allocator holds on the GPU, megabytes; `None` on the CPU. It only reads.
pub fn reserved_mb(device: Device) -> Option<f64> {
    let Device::Cuda(index) = device else { return None };
    Some(cuda::load().ok()?.memory(index).ok()?.reserved as f64 / 1e6)
}

fn has_half_arithmetic() -> bool {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // Arm's flag is `bf16`; x86 spells out which unit has it.
    cpu.split_whitespace().any(|flag| matches!(flag, "amx_bf16" | "avx512_bf16" | "bf16"))
}
