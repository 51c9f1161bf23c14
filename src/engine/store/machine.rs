//! What engines are bound to: the kind of machine and the libtorch that they were compiled for.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use tch::Device;

use super::target::Target;
use crate::ffi::{ShimError, cuda, package};

/// Where a compiled engine runs. Its code is made for this CPU's instructions or this GPU's architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Machine {
    /// A CPU.
    Cpu {
        /// As /proc/cpuinfo calls it; the architecture where it says nothing.
        name: String,
        /// `x86_64` or `aarch64`.
        architecture: String,
        /// Instruction sets as /proc/cpuinfo names them; the code may use each.
        instructions: BTreeSet<String>,
    },
    /// A GPU.
    Cuda {
        /// As the driver calls it; `sm_90` for an engine that was compiled for another machine's.
        name: String,
        /// Compute capability, such as `9.0`.
        capability: String,
        /// Of the CPU that starts the kernels: `x86_64` or `aarch64`.
        architecture: String,
        /// Instruction sets of the CPU; of an engine, those that the code around its kernels may use.
        instructions: BTreeSet<String>,
    },
}

/// Instruction sets of the CPU that the code around a GPU's kernels is compiled for, whatever CPU it is
/// compiled on: it computes nothing. By the names of /proc/cpuinfo; the compiler's name is [`BASELINE`].
const BASELINE_INSTRUCTIONS: &[&str] = match cfg!(target_arch = "x86_64") {
    true => {
        &["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "popcnt", "sse4_1", "sse4_2", "ssse3"]
    }
    false => &["asimd"],
};

/// The same as the C++ compiler spells it.
pub const BASELINE: &str = if cfg!(target_arch = "x86_64") { "x86-64-v3" } else { "armv8-a" };

/// Beginnings of the flags that stand for instructions a compiler uses.
const INSTRUCTIONS: [&str; 20] = [
    "sse", "ssse", "avx", "fma", "f16c", "bmi", "amx", "aes", "vaes", "sha", "gfni", "pclmul", "vpclmul",
    "movbe", "popcnt", "abm", "adx", "asimd", "sve", "bf16",
];

impl Machine {
    /// The one that `device` is on.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn of(device: Device) -> Result<Self, ShimError> {
        let cpu = Cpu::of_this_machine();
        let Device::Cuda(index) = device else {
            let Cpu { name, architecture, instructions } = cpu;
            return Ok(Self::Cpu { name, architecture, instructions });
        };
        let cuda::Gpu { name, capability } = cuda::load()?.gpu(index)?;
        let Cpu { architecture, instructions, .. } = cpu;
        Ok(Self::Cuda { name, capability, architecture, instructions })
    }

    /// The one that an engine needs that is compiled for `device` here, or for `target` elsewhere.
    ///
    /// # Errors
    /// CUDA's own.
    pub fn of_engine(device: Device, target: Option<Target>) -> Result<Self, ShimError> {
        let (name, capability) = match target {
            Some(target) => (target.to_string(), target.capability().to_owned()),
            None => match Self::of(device)? {
                Self::Cuda { name, capability, .. } => (name, capability),
                cpu @ Self::Cpu { .. } => return Ok(cpu),
            },
        };
        let instructions = BASELINE_INSTRUCTIONS.iter().map(|&name| name.to_owned()).collect();
        Ok(Self::Cuda { name, capability, architecture: std::env::consts::ARCH.into(), instructions })
    }

    /// Name of the CPU or GPU.
    pub fn name(&self) -> &str {
        match self {
            Self::Cpu { name, .. } | Self::Cuda { name, .. } => name,
        }
    }

    /// Whether code made for `built` runs on this machine.
    ///
    /// # Errors
    /// Both sides, in words.
    pub fn runs(&self, built: &Self) -> Result<(), String> {
        let is_alike = match (built, self) {
            (Self::Cpu { .. }, Self::Cpu { .. }) => true,
            // What was tuned for one GPU runs on all of its architecture.
            (Self::Cuda { capability: there, .. }, Self::Cuda { capability: here, .. }) => there == here,
            _ => false,
        };
        if !is_alike {
            return Err(format!("it was built for {built}, this is {self}"));
        }
        let [(there, wanted), (here, known)] = [built, self].map(Self::cpu);
        let missing: Vec<_> = wanted.difference(known).map(String::as_str).collect();
        match (there == here, missing.is_empty()) {
            (false, _) => Err(format!("it was built for a CPU of kind {there}, this one is {here}")),
            (true, false) => {
                Err(format!("it was built for a CPU with {}, which this one lacks", missing.join(" ")))
            }
            (true, true) => Ok(()),
        }
    }

    /// Architecture and instructions of its CPU.
    fn cpu(&self) -> (&str, &BTreeSet<String>) {
        match self {
            Self::Cpu { architecture, instructions, .. } | Self::Cuda { architecture, instructions, .. } => {
                (architecture, instructions)
            }
        }
    }
}

/// A CPU.
struct Cpu {
    name: String,
    architecture: String,
    instructions: BTreeSet<String>,
}

impl Cpu {
    fn of_this_machine() -> Self {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = text.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
        let words = flags.into_iter().flat_map(str::split_whitespace);
        let instructions = words.filter(|word| INSTRUCTIONS.iter().any(|start| word.starts_with(start)));
        let named = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let name = named.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
        Self {
            name: name.into(),
            architecture: std::env::consts::ARCH.into(),
            instructions: instructions.map(str::to_owned).collect(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { architecture, .. } => write!(f, "a CPU of kind {architecture}"),
            Self::Cuda { name, capability, .. } => write!(f, "{name} (compute capability {capability})"),
        }
    }
}

/// Version of the libtorch in use, such as `2.11.0`.
pub fn torch_version() -> String {
    package::torch_version()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(architecture: &str, instructions: &[&str]) -> Machine {
        let instructions = instructions.iter().map(|&word| word.to_owned()).collect();
        Machine::Cpu { name: "A CPU".into(), architecture: architecture.into(), instructions }
    }

    fn gpu(name: &str, capability: &str) -> Machine {
        gpu_with(name, capability, "x86_64", &["avx2"])
    }

    fn gpu_with(name: &str, capability: &str, architecture: &str, instructions: &[&str]) -> Machine {
        let instructions = instructions.iter().map(|&word| word.to_owned()).collect();
        let (name, capability) = (name.into(), capability.into());
        Machine::Cuda { name, capability, architecture: architecture.into(), instructions }
    }

    fn check(here: &Machine, built: &Machine, expect: &str) {
        let answer = here.runs(built).map_or_else(|why| why, |()| "runs".into());
        assert_eq!(answer, expect);
    }

    #[test]
    fn code_runs_where_its_instructions_are() {
        let (old, new) = (cpu("x86_64", &["avx2", "fma"]), cpu("x86_64", &["avx2", "avx512f", "fma"]));
        check(&new, &old, "runs");
        check(&old, &new, "it was built for a CPU with avx512f, which this one lacks");
        check(&cpu("aarch64", &[]), &old, "it was built for a CPU of kind x86_64, this one is aarch64");
        check(&gpu("B", "9.0"), &gpu("A", "9.0"), "runs");
        let answer = "it was built for A (compute capability 8.0), this is B (compute capability 9.0)";
        check(&gpu("B", "9.0"), &gpu("A", "8.0"), answer);
        check(
            &old,
            &gpu("A", "8.0"),
            "it was built for A (compute capability 8.0), this is a CPU of kind x86_64",
        );
    }

    #[test]
    fn a_gpu_engine_runs_where_its_cpu_and_its_capability_are() {
        let [old, new] =
            [&["avx2"][..], &["avx2", "avx512f"]].map(|known| gpu_with("A", "9.0", "x86_64", known));
        check(&new, &old, "runs");
        check(&old, &new, "it was built for a CPU with avx512f, which this one lacks");
        let arm = gpu_with("A", "9.0", "aarch64", &["asimd"]);
        check(&arm, &old, "it was built for a CPU of kind x86_64, this one is aarch64");
        let made = Machine::of_engine(Device::Cpu, Some(Target::Sm90)).unwrap();
        let known = BASELINE_INSTRUCTIONS.iter().copied().chain(["avx512f"]).collect::<Vec<_>>();
        let there = |capability| gpu_with("NVIDIA H100", capability, std::env::consts::ARCH, &known);
        check(&there("9.0"), &made, "runs");
        let answer =
            "it was built for sm_90 (compute capability 9.0), this is NVIDIA H100 (compute capability 8.9)";
        check(&there("8.9"), &made, answer);
    }

    #[test]
    fn this_machine_runs_what_is_built_here() {
        let here = Machine::of(Device::Cpu).unwrap();
        check(&here, &here, "runs");
        assert!(!here.name().is_empty());
        let again: Machine = serde_json::from_str(&serde_json::to_string(&here).unwrap()).unwrap();
        assert_eq!(again, here);
        assert!(torch_version().starts_with("2."), "{}", torch_version());
    }
}
