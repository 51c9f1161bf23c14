"""CUDA where there is no GPU: the CPU serves, and who asks for a GPU is told why there is none."""

import shutil
import subprocess

import pytest
from node_process import BINARY, run

MODEL = ("--model", "random:tiny", "--size", "64x64")


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> dict[str, str]:
    """The environment of a machine with a driver that finds no GPU: a library of the driver's name, with
    nothing in it."""
    compiler = shutil.which("g++") or pytest.skip("there is no compiler")
    folder = tmp_path_factory.mktemp("driver")
    command = [compiler, "-shared", "-o", folder / "libcuda.so.1", "-x", "c++", "/dev/null"]
    subprocess.run(command, check=True)
    return {"LD_LIBRARY_PATH": str(folder)}


def infer(tmp_path, image, *options, **env):
    return run(
        "infer",
        *MODEL,
        "--image",
        image,
        "--out",
        tmp_path / "out",
        *options,
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        **env,
    )


@pytest.fixture
def image(tmp_path):
    import images

    file = tmp_path / "coffee.png"
    file.write_bytes(images.file_bytes(images.photograph("coffee", 64, 64), "PNG"))
    return file


def test_the_cuda_part_is_beside_the_binary():
    assert BINARY.with_name("libpixio_cuda.so").is_file()


def test_without_a_driver_auto_is_the_cpu_and_says_nothing(tmp_path, image):
    done = infer(tmp_path, image)
    assert done.returncode == 0 and "on Cpu" in done.stderr and "NVIDIA" not in done.stderr, done.stderr


def test_without_a_driver_cuda_is_refused(tmp_path, image):
    done = infer(tmp_path, image, "--device", "cuda:0")
    assert done.returncode == 2 and "cuda:0 was asked for, but there is no NVIDIA driver" in done.stderr, (
        done.stderr
    )
    assert "use cpu or auto" in done.stderr


def test_with_a_driver_that_finds_no_gpu_auto_is_the_cpu_with_a_warning(tmp_path, image, driver):
    done = infer(tmp_path, image, **driver)
    warnings = [line for line in done.stderr.splitlines() if "NVIDIA driver" in line]
    assert done.returncode == 0 and len(warnings) == 1 and "WARN" in warnings[0], done.stderr
    assert (tmp_path / "out" / "coffee.safetensors").exists()


def test_with_a_driver_that_finds_no_gpu_cuda_is_refused(tmp_path, image, driver):
    done = infer(tmp_path, image, "--device", "cuda:0", **driver)
    errors = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert done.returncode == 2 and len(errors) == 1 and "cuda:0 was asked for, but" in errors[0], done.stderr
    # Whatever CUDA says of the driver, not that its part cannot be loaded.
    assert "cannot be loaded" not in errors[0], errors[0]
