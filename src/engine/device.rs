//! Where the model runs and in which arithmetic, from what was asked for and what is there.

use tch::{Device, Kind, TchError, Tensor};

use super::arithmetic::Arithmetic;
use crate::config;
use crate::ffi::cuda::{self, Absent};
use crate::ffi::first_line;

/// A device that was asked for is not usable.
#[derive(Debug, thiserror::Error)]
#[error("device: cuda:{index} was asked for, but {reason}; use cpu or auto")]
pub struct DeviceError {
    /// The CUDA device asked for.
    pub index: usize,
    /// Why not.
    pub reason: String,
}

/// The GPUs of a machine, as far as a choice needs them.
trait Gpus {
    /// How many there are, at least one.
    fn count(&self) -> Result<usize, NoGpu>;

    /// Has the GPU `index` compute, and says why it does not.
    fn try_out(&self, index: usize) -> Result<(), String>;

    /// Compute capability of the GPU `index`, such as `9.0`.
    fn capability(&self, index: usize) -> Option<String>;
}

/// Why there is no GPU.
#[derive(Debug, thiserror::Error)]
enum NoGpu {
    #[error(transparent)]
    Absent(#[from] Absent),
    /// There should be one.
    #[error("{0}")]
    Unusable(String),
}

/// The GPUs of this machine.
struct Here;

impl Gpus for Here {
    fn count(&self) -> Result<usize, NoGpu> {
        cuda::load()?.device_count().map_err(|err| NoGpu::Unusable(err.to_string()))
    }

    fn try_out(&self, index: usize) -> Result<(), String> {
        computes(Device::Cuda(index)).map_err(|err| first_line(&err))
    }

    fn capability(&self, index: usize) -> Option<String> {
        Some(cuda::load().ok()?.gpu(index).ok()?.capability)
    }
}

/// Runs one of libtorch's kernels on `device` and reads its result: a GPU may be there for which this libtorch
/// has none.
fn computes(device: Device) -> Result<(), TchError> {
    let sum = Tensor::f_ones([2], (Kind::Float, device))?.f_add_scalar(1)?.f_to_device(Device::Cpu)?;
    let expect = Tensor::f_from_slice(&[2.0_f32, 2.0])?;
    match sum.f_equal(&expect)? {
        true => Ok(()),
        false => Err(TchError::Kind("it computes that 1 + 1 is not 2".into())),
    }
}

/// The device for `asked`.
///
/// # Errors
/// A CUDA device that is not there, or does not compute.
pub fn device(asked: config::Device) -> Result<Device, DeviceError> {
    device_of(asked, &Here)
}

fn device_of(asked: config::Device, gpus: &impl Gpus) -> Result<Device, DeviceError> {
    match asked {
        config::Device::Cpu => Ok(Device::Cpu),
        config::Device::Auto => Ok(if has_gpu(gpus) { Device::Cuda(0) } else { Device::Cpu }),
        config::Device::Cuda(index) => {
            let refused = |reason: String| DeviceError { index, reason };
            let n_devices = gpus.count().map_err(|none| refused(none.to_string()))?;
            if n_devices <= index {
                return Err(refused(format!("{n_devices} CUDA devices are usable here")));
            }
            gpus.try_out(index).map_err(|reason| refused(format!("it does not compute: {reason}")))?;
            Ok(Device::Cuda(index))
        }
    }
}

/// Whether there is a GPU that computes; warns about one that should and does not.
fn has_gpu(gpus: &impl Gpus) -> bool {
    let why = match gpus.count() {
        Err(NoGpu::Absent(Absent::NoDriver)) => return false,
        Err(none) => none.to_string(),
        Ok(_) => match gpus.try_out(0) {
            Ok(()) => return true,
            Err(reason) => format!("cuda:0 does not compute: {reason}"),
        },
    };
    tracing::warn!("device: the model runs on the CPU although there is an NVIDIA driver: {why}");
    false
}

/// The arithmetic for `asked` on `device`; warns where it is slow.
pub fn arithmetic(asked: config::Precision, device: Device) -> Arithmetic {
    let arithmetic = arithmetic_of(asked, device, &Here);
    let is_half = matches!(arithmetic, Arithmetic::Bfloat16 | Arithmetic::Float16);
    if is_half && device == Device::Cpu && !has_half_arithmetic() {
        tracing::warn!(
            "precision: this CPU has neither AMX nor AVX512-BF16, {arithmetic} is about six times slower \
             than float32"
        );
    }
    arithmetic
}

fn arithmetic_of(asked: config::Precision, device: Device, gpus: &impl Gpus) -> Arithmetic {
    match (asked, device) {
        (config::Precision::Float32, _) => Arithmetic::Float32,
        (config::Precision::Bfloat16, _) => Arithmetic::Bfloat16,
        (config::Precision::Float16, _) => Arithmetic::Float16,
        (config::Precision::Int8, _) => Arithmetic::Int8,
        (config::Precision::Auto, Device::Cuda(index)) => match gpus.capability(index) {
            Some(capability) if !has_bfloat16(&capability) => Arithmetic::Float16,
            _ => Arithmetic::Bfloat16,
        },
        (config::Precision::Auto, _) => Arithmetic::Float32,
    }
}

/// Whether a GPU of this compute capability multiplies bfloat16 itself: from 8.0 on. Below, attention has no
/// fast kernel for it and the compiler refuses it.
fn has_bfloat16(capability: &str) -> bool {
    let major = capability.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_none_or(|major| 8 <= major)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// One GPU, as a test wants it.
    struct Fake {
        count: fn() -> Result<usize, NoGpu>,
        computes: Result<(), &'static str>,
        capability: Option<&'static str>,
    }

    impl Gpus for Fake {
        fn count(&self) -> Result<usize, NoGpu> {
            (self.count)()
        }

        fn try_out(&self, _index: usize) -> Result<(), String> {
            self.computes.map_err(str::to_owned)
        }

        fn capability(&self, _index: usize) -> Option<String> {
            self.capability.map(str::to_owned)
        }
    }

    const WORKS: Fake = Fake { count: || Ok(1), computes: Ok(()), capability: Some("9.0") };
    const NO_DRIVER: Fake = Fake { count: || Err(Absent::NoDriver.into()), ..WORKS };
    const OLD_DRIVER: Fake = Fake { count: || Err(NoGpu::Unusable("too old a driver".into())), ..WORKS };
    const OLD_GPU: Fake = Fake { computes: Err("CUDA error: no kernel image is available"), ..WORKS };

    #[test]
    fn a_gpu_serves_once_it_has_computed() {
        let check = |gpus: &Fake, asked: config::Device, expect: &str| {
            let answer =
                device_of(asked, gpus).map_or_else(|err| err.to_string(), |device| format!("{device:?}"));
            assert_eq!(answer, expect);
        };
        let (auto, cuda) = (config::Device::Auto, config::Device::Cuda);
        check(&WORKS, auto, "Cuda(0)");
        check(&WORKS, cuda(0), "Cuda(0)");
        check(&WORKS, config::Device::Cpu, "Cpu");
        check(
            &WORKS,
            cuda(1),
            "device: cuda:1 was asked for, but 1 CUDA devices are usable here; use cpu or auto",
        );
        check(&NO_DRIVER, auto, "Cpu");
        check(
            &NO_DRIVER,
            cuda(0),
            "device: cuda:0 was asked for, but there is no NVIDIA driver here (libcuda.so.1); use cpu or auto",
        );
        check(&OLD_DRIVER, auto, "Cpu");
        check(&OLD_DRIVER, cuda(0), "device: cuda:0 was asked for, but too old a driver; use cpu or auto");
        check(&OLD_GPU, auto, "Cpu");
        check(
            &OLD_GPU,
            cuda(0),
            "device: cuda:0 was asked for, but it does not compute: CUDA error: no kernel image is available; \
             use cpu or auto",
        );
    }

    #[test]
    fn the_trial_is_a_kernel_whose_result_is_read() {
        computes(Device::Cpu).unwrap();
    }

    #[test]
    fn precision_follows_the_gpu_unless_it_is_named() {
        let check = |capability, asked, device, expect| {
            assert_eq!(arithmetic_of(asked, device, &Fake { capability, ..WORKS }), expect);
        };
        let (auto, gpu) = (config::Precision::Auto, Device::Cuda(0));
        check(Some("7.5"), auto, gpu, Arithmetic::Float16);
        check(Some("8.0"), auto, gpu, Arithmetic::Bfloat16);
        check(Some("9.0"), auto, gpu, Arithmetic::Bfloat16);
        check(Some("12.0"), auto, gpu, Arithmetic::Bfloat16);
        check(None, auto, gpu, Arithmetic::Bfloat16);
        check(Some("7.5"), config::Precision::Bfloat16, gpu, Arithmetic::Bfloat16);
        check(Some("7.5"), auto, Device::Cpu, Arithmetic::Float32);
    }
}
