"""What a machine is, as far as an engine's build, its start and its times depend on it."""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from contender import one_line
from processes import BINARY

TOOLKIT = Path("/usr/local/cuda")
GPU = "name,driver_version,compute_cap,memory.total,clocks.max.sm,clocks.sm,power.limit,persistence_mode"


def said_by(command: list[str]) -> str:
    """What a command prints; nothing where it fails or is not there."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def torch_version() -> str:
    # The wheel's metadata lacks the part after the plus sign.
    return said_by([sys.executable, "-c", "import torch; print(torch.__version__)"]) or version("torch")


def versions() -> dict:
    driver = said_by(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    return {
        "driver": one_line(driver) if driver else "none",
        "torch": torch_version(),
        "transformers": version("transformers"),
        "triton": version("triton"),
        "python": sys.version.split()[0],
    }


def first_gpu() -> dict:
    """What the driver says of the first GPU, by the names that nvidia-smi gives; nothing without one."""
    said = said_by(["nvidia-smi", f"--query-gpu={GPU}", "--format=csv,noheader"])
    values = [value.strip() for value in one_line(said).split(",")]
    names = GPU.split(",")
    return dict(zip(names, values, strict=True)) if len(values) == len(names) else {}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def facts() -> dict:
    """Everything that section "what a build needs" of docs/gpu.md names, and whether it is here."""
    libraries = said_by(["ldconfig", "-p"]) or said_by(["/sbin/ldconfig", "-p"])
    stubs = [folder for folder in (TOOLKIT / "lib64/stubs", TOOLKIT / "lib/stubs") if folder.is_dir()]
    compiler = said_by(["g++", "--version"])
    return versions() | {
        "gpu": first_gpu(),
        "processor": processor(),
        "n_processors": len(os.sched_getaffinity(0)),
        "glibc": " ".join(platform.libc_ver()),
        "CUDA_HOME": os.environ.get("CUDA_HOME", "not set"),
        "toolkit": str(TOOLKIT.resolve()) if TOOLKIT.is_dir() else "none",
        "stubs": str(stubs[0]) if stubs else "none",
        "nvcc": shutil.which("nvcc") or "none",
        "libcuda": [line.split()[-1] for line in libraries.splitlines() if "libcuda.so" in line],
        "Python.h": Path(sysconfig.get_paths()["include"], "Python.h").is_file(),
        "g++": one_line(compiler) if compiler else "none",
        "pixio_node": hashlib.sha256(BINARY.read_bytes()).hexdigest()[:16],
    }
