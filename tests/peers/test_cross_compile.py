"""`pixio_node build --for` on a machine without a GPU: the packages are looked at, nothing runs them."""

import json
import re
import struct
import subprocess
import zipfile
from pathlib import Path

import compile_once
import head_files
import images
import pytest
from node_process import run
from pixio_engine import cuda
from waiting import LONG_SECS

MODEL = ("--model", "random:tiny", "--size", "256x256")
N_BLOCKS = 4
PARTS = ("backbone", "depth", "segmentation")
# What a package may ask of the driver, which is not here to be asked whether it has it.
DRIVER = set(cuda.DRIVER_CALLS)
# ELF's numbers.
EM_CUDA = 190
FLAGS_OFFSET = 48


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Path:
    """An engine for an H100, with a DPT and a linear head."""
    folder = tmp_path_factory.mktemp("cross")
    depth = head_files.write(folder / "depth.safetensors", "depth")
    segmentation = head_files.write(folder / "segmentation.safetensors", "segmentation", head="linear")
    heads = ("--depth-head", depth, "--segmentation-head", segmentation)
    options = ("--for", "sm_90", "--batch", "1", "--out", folder / "engine")
    options += ("--python", compile_once.program())
    done = run("build", *MODEL, *heads, *options, patience_secs=LONG_SECS)
    assert done.returncode == 0, done.stderr
    assert "compute capability 9.0, not yet proven" in done.stdout, done.stdout
    return folder / "engine"


@pytest.fixture(scope="module")
def manifest(engine) -> dict:
    return json.loads((engine / "manifest.json").read_text())


@pytest.fixture(scope="module")
def unpacked(engine, tmp_path_factory) -> dict[str, Path]:
    """The folder of every part's package."""
    folders = {}
    for part in PARTS:
        folder = tmp_path_factory.mktemp(part)
        [package] = engine.glob(f"{part}-*.pt2")
        zipfile.ZipFile(package).extractall(folder)
        [library] = folder.rglob("*.so")
        folders[part] = library.parent
    return folders


def only(folder: Path, pattern: str) -> Path:
    [file] = folder.glob(pattern)
    return file


def run_code(folder: Path) -> str:
    """What a package does in every run."""
    text = only(folder, "*.wrapper.cpp").read_text()
    start = text.rindex("void AOTInductorModel::run_impl(")
    return text[start:]


def constants(manifest: dict, part: str) -> dict[str, dict]:
    [package] = [package for package in manifest["packages"] if package["part"] == part]
    return package["constants"]


def variable(name: str) -> str:
    """A constant's name in the code."""
    return name.replace(".", "_")


def test_the_manifest_says_what_the_engine_is_for_and_that_nothing_is_proven(manifest):
    machine = manifest["machine"]
    assert (machine["kind"], machine["capability"]) == ("cuda", "9.0")
    assert machine["architecture"] in ("x86_64", "aarch64")
    assert not [name for name in machine["instructions"] if name.startswith("avx512")]
    assert manifest["precision"] == "bfloat16"
    assert [package["part"] for package in manifest["packages"]] == list(PARTS)
    assert all(package["parity"] == package["times"] == [] for package in manifest["packages"])


@pytest.mark.parametrize("part", PARTS)
def test_every_constant_is_one_of_its_own(part, manifest, unpacked):
    # Constants that torch took for one another would be fewer.
    known = constants(manifest, part)
    code = run_code(unpacked[part])
    bound = set(re.findall(r"auto& (\w+) = constants_->at\(\d+\)", code))
    assert bound == set(map(variable, known)) and len(bound) == len(known), bound ^ set(map(variable, known))


@pytest.mark.parametrize("part", PARTS)
def test_every_symbol_is_torchs_cudas_or_the_drivers(part, unpacked):
    def symbols(library: Path, which: str) -> set[str]:
        lines = subprocess.run(
            ["nm", "-D", which, "--without-symbol-versions", library],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        # Weak ones may be missing.
        return {line.split()[-1] for line in lines if which == "--defined-only" or " U " in f" {line} "}

    library = only(unpacked[part], "*.so")
    wanted = symbols(library, "--undefined-only")
    torch = Path(
        subprocess.run(["realpath", ".libtorch"], capture_output=True, text=True, check=True).stdout.strip()
    )
    names = ("libtorch_cpu.so", "libtorch_cuda.so", "libc10.so", "libc10_cuda.so")
    libraries = [torch / "lib" / name for name in names]
    libraries += (torch.parent / "nvidia/cu13/lib").glob("libcudart.so.*")
    listed = subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout
    libraries += [Path(found) for found in re.findall(r"(/\S*lib(?:stdc\+\+|gcc_s|c|m)\.so\S*)", listed)]
    for library in libraries:
        wanted -= symbols(library, "--defined-only")
    assert wanted <= DRIVER, wanted - DRIVER
    assert "cuLaunchKernel" in wanted


def test_there_is_one_attention_kernel_a_block(unpacked):
    calls = re.findall(r"aoti_torch_cuda_(\w*attention\w*)\(", run_code(unpacked["backbone"]))
    assert calls == ["_scaled_dot_product_cudnn_attention"] * N_BLOCKS, calls


@pytest.mark.parametrize("part", PARTS)
def test_the_kernels_are_for_that_gpu_and_all_are_used(part, unpacked):
    cubins = list(unpacked[part].glob("*.cubin"))
    code = only(unpacked[part], "*.wrapper.cpp").read_text()
    assert cubins
    for cubin in cubins:
        elf = cubin.read_bytes()
        [machine] = struct.unpack_from("<H", elf, 18)
        [flags] = struct.unpack_from("<I", elf, FLAGS_OFFSET)
        assert (machine, flags >> 8 & 0xFF) == (EM_CUDA, 90), cubin
        assert cubin.name in code, f"{cubin.name} is of another package"


@pytest.mark.parametrize("part", PARTS)
def test_a_run_copies_no_weight_and_waits_for_nothing(part, manifest, unpacked):
    code = run_code(unpacked[part])
    calls = set(re.findall(r"\b(?:aoti_torch_|cuda|cu(?=[A-Z]))\w+(?=\()", code))
    # The input that lies askew is copied; nothing of the node's does.
    waits = {
        call for call in calls if re.search("[Ss]ynchronize|copy|clone|item|[Mm]emcpy|proxy_executor", call)
    }
    assert waits <= {"aoti_torch_clone_preserve_strides"}, waits
    assert code.count("aoti_torch_clone_preserve_strides(") == 1
    # Kernels of Triton's read vectors such as biases and norms, but no weight of a product or convolution.
    weights = {
        variable(name): form for name, form in constants(manifest, part).items() if len(form["shape"]) > 1
    }
    read = set(re.findall(r"\w+", " ".join(re.findall(r"call_triton_\w+\((.*)\);", code))))
    assert weights.keys() & read <= {"class_tokens", "position"}, weights.keys() & read


def test_weights_of_convolutions_are_channels_last(manifest):
    for part in PARTS:
        for name, form in constants(manifest, part).items():
            is_wide = len(form["shape"]) == 4 and form["shape"][2:] != [1, 1]
            assert form.get("channels_last", False) == is_wide, name


def test_a_machine_without_that_gpu_refuses_the_engine(engine, tmp_path):
    image = tmp_path / "coffee.png"
    image.write_bytes(images.file_bytes(images.photograph("coffee", 320, 240), "PNG"))
    files = ("--image", image, "--out", tmp_path / "out")
    done = run("infer", *MODEL, "--device", "cpu", "--engine", engine, *files)
    assert done.returncode == 2, done.stderr
    assert "it was built for sm_90 (compute capability 9.0), this is a CPU" in done.stderr, done.stderr


# options, the triton that Python finds instead, what the error must name
UNBUILDABLE = {
    "int8": (["--precision", "int8"], None, ["int8", "--for sm_90"]),
    "the CPU": (["--device", "cpu"], None, ["device: cpu", "--for sm_90"]),
    "no triton": ([], "raise ImportError('none')", ["triton", "scripts/setup --cross-compile"]),
    "another triton": ([], "__version__ = '9.9.9'", ["triton 3.6", "triton 9.9.9", "--python"]),
}


@pytest.mark.parametrize("why", UNBUILDABLE)
def test_a_build_for_another_machine_that_cannot_be_says_why(why, tmp_path):
    options, triton, names = UNBUILDABLE[why]
    env = {}
    if triton is not None:
        (tmp_path / "triton.py").write_text(triton)
        env = {"PYTHONPATH": str(tmp_path)}
    done = run(
        "build",
        *MODEL,
        *options,
        "--for",
        "sm_90",
        "--out",
        tmp_path / "engine",
        patience_secs=LONG_SECS,
        **env,
    )
    assert done.returncode in (1, 2) and all(name in done.stderr for name in names), done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "engine").exists()


def test_a_gpu_that_is_not_known_is_refused_with_those_that_are():
    done = run("build", *MODEL, "--for", "sm_70")
    assert done.returncode == 2 and "sm_80, sm_86, sm_89, sm_90, sm_120" in done.stderr, done.stderr


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A system without a toolkit."""
    for name in ("CUDA_HOME", "CUDA_PATH", "CPATH", "LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cuda.shutil, "which", lambda name: None)
    return tmp_path


def test_headers_that_are_missing_are_named_with_the_way_out(bare, monkeypatch):
    with pytest.raises(cuda.Unmet, match=r"nvidia-cuda-cccl.*scripts/setup --cross-compile"):
        cuda.find_cccl([bare])
    monkeypatch.setattr(cuda.sysconfig, "get_path", lambda name: str(bare))
    with pytest.raises(cuda.Unmet, match=r"Python\.h is missing.*install python3\.\d+-dev"):
        cuda.find_python_headers()


def test_the_drivers_library_is_found_under_the_linkers_name(bare, monkeypatch):
    driver = bare / "libcuda.so.1"
    driver.touch()
    monkeypatch.setattr(cuda, "driver_library", lambda: str(driver))
    monkeypatch.setenv("LIBRARY_PATH", "/elsewhere")
    cuda.link_driver(bare / "lib", is_cross=False)
    assert (bare / "lib/libcuda.so").resolve() == driver
    assert cuda.os.environ["LIBRARY_PATH"] == f"{bare / 'lib'}:/elsewhere"


def test_a_toolkit_is_known_by_every_sign_of_one(bare, monkeypatch):
    monkeypatch.setattr(cuda.Path, "exists", lambda path: False)
    assert not cuda.has_toolkit()
    for name in ("CUDA_HOME", "CUDA_PATH"):
        with monkeypatch.context() as named:
            named.setenv(name, "/opt/cuda")
            assert cuda.has_toolkit()
    monkeypatch.setattr(cuda.shutil, "which", lambda name: "/opt/cuda/bin/nvcc")
    assert cuda.has_toolkit()
