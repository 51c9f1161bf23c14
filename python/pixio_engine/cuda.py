"""What compiling for CUDA needs of a system: it is found where it is, or missed by name.

Headers may come with a toolkit or with the wheels of requirements/cuda.txt, the driver's library with the
driver only. Environment variables tell Inductor, which reads them when it is imported.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# What compiled packages call of the driver; a package never runs with this stub.
DRIVER_CALLS = [
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuGetErrorString",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cuModuleGetFunction",
    "cuModuleLoad",
    "cuModuleLoadData",
    "cuModuleUnload",
]

WAY_OUT = "run scripts/setup --cross-compile, or give --python"


class Unmet(Exception):
    """Something that the build needs is not there; the text has the way out."""


def prepare(work: Path, is_cross: bool) -> None:
    """Has Inductor find what it needs to compile for CUDA. `work` is a folder of this build's own; `is_cross`
    tells that the GPU is in another machine.

    Raises `Unmet`. Needs torch, and must come before Inductor is imported."""
    find_triton()
    if not is_cross:
        find_python_headers()
    roots = cuda_wheels()
    if not has_toolkit():
        if not roots:
            raise Unmet(f"there are neither a CUDA toolkit nor CUDA's wheels here: {WAY_OUT}")
        os.environ["CUDA_HOME"] = str(roots[0])
    prepend("CPATH", *[root / "include" for root in roots])
    find_cccl(roots)
    link_driver(work / "lib", is_cross)


def find_triton() -> None:
    try:
        import triton  # noqa: F401
    except ImportError as err:
        raise Unmet(f"{sys.executable} has no triton that works ({err}): {WAY_OUT}") from err


def find_python_headers() -> None:
    """Triton compiles a module of Python's when it first meets a GPU."""
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise Unmet(
            f"{header} is missing, which Triton needs to compile for this GPU: install python{version}-dev, "
            "as scripts/setup does, or give --python"
        )


def cuda_wheels() -> list[Path]:
    """Folders `nvidia/cu13` of the wheels, torch's own first."""
    import torch

    own = Path(torch.__file__).parents[1]
    places = [own, *(Path(place) for place in sys.path)]
    found = [place / "nvidia/cu13" for place in places if (place / "nvidia/cu13/include").is_dir()]
    return list(dict.fromkeys(found))


def has_toolkit() -> bool:
    """Whether Inductor would find a toolkit by itself."""
    named = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or shutil.which("nvcc")
    return bool(named) or Path("/usr/local/cuda").exists()


def find_cccl(roots: list[Path]) -> None:
    """The headers of CUDA's C++ core libraries, which CUDA's own include."""
    toolkit = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    if nvcc := shutil.which("nvcc"):
        roots = [*roots, Path(nvcc).resolve().parents[1]]
    places = [
        folder for root in [*roots, Path(toolkit)] for folder in (root / "include", root / "include/cccl")
    ]
    if not any((place / "nv/target").exists() for place in places):
        raise Unmet(f"CUDA's header nv/target (the wheel nvidia-cuda-cccl) is not here: {WAY_OUT}")


def link_driver(folder: Path, is_cross: bool) -> None:
    """Has the linker find `-lcuda`: the wheels lack it, and the driver's package may have only
    libcuda.so.1."""
    folder.mkdir()
    library = folder / "libcuda.so"
    if driver := driver_library():
        library.symlink_to(driver)
    elif is_cross:
        # With symbols: the linker drops a library that answers to none.
        stub = "".join(f"int {call}(void) {{ return 0; }}\n" for call in DRIVER_CALLS)
        compiler = os.environ.get("CXX", "g++")
        command = [
            compiler,
            "-x",
            "c",
            "-",
            "-shared",
            "-fPIC",
            "-Wl,-soname,libcuda.so.1",
            "-o",
            str(library),
        ]
        try:
            subprocess.run(command, input=stub, text=True, check=True, capture_output=True)
        except OSError as err:
            raise Unmet(f"there is no C++ compiler here: install g++ ({compiler}: {err.strerror})") from err
    prepend("LIBRARY_PATH", folder)


def driver_library() -> str | None:
    """Where libcuda.so.1 is, as the dynamic linker finds it."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    maps = Path("/proc/self/maps").read_text().splitlines()
    loaded = [line.split(maxsplit=5)[5] for line in maps if "/libcuda.so" in line]
    return loaded[0] if loaded else None


def build_for(march: str) -> None:
    """Compiles the code around the kernels for `march`, where Inductor takes this machine's CPU: it computes
    nothing, and the engine may go to another machine. It imports Inductor."""
    from torch._inductor import cpp_builder

    flags_of_inductor = cpp_builder._get_optimization_cflags

    def flags(*args: object, **kwargs: object) -> tuple[list[str], list[str]]:
        compile_flags, link_flags = flags_of_inductor(*args, **kwargs)
        return [f"march={march}" if flag == "march=native" else flag for flag in compile_flags], link_flags

    cpp_builder._get_optimization_cflags = flags


def prepend(variable: str, *folders: Path) -> None:
    before = os.environ.get(variable)
    os.environ[variable] = os.pathsep.join([*map(str, folders), *([before] if before else [])])
