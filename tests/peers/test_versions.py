"""The version of Rust and the pins of the wheels, against what is locked and installed."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from node_process import ROOT
from waiting import LONG_SECS, PATIENCE_SECS

sys.path.append(str(ROOT / "patches"))
from crate_patches.patches import CRATES

REQUIREMENTS = ROOT / "scripts" / "requirements"
# The package of python/pyproject.toml.
OWN = "pixio-train"


def cargo_metadata() -> dict:
    target = re.search(
        r"host: (\S+)", subprocess.check_output(["rustc", "-vV"], text=True, timeout=PATIENCE_SECS)
    )[1]
    asked = [
        "cargo",
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--offline",
        "--filter-platform",
        target,
    ]
    return json.loads(subprocess.check_output(asked, cwd=ROOT, text=True, timeout=PATIENCE_SECS))


def locked(file: Path) -> dict[tuple[str, str], str | None]:
    """Where each crate of a lock is from, by name and version."""
    packages = tomllib.loads(file.read_text())["package"]
    return {(package["name"], package["version"]): package.get("source") for package in packages}


def test_the_crates_that_are_patched_are_those_that_are_built():
    built, fetched = locked(ROOT / "Cargo.lock"), locked(ROOT / "patches" / "Cargo.lock")
    for crate in CRATES:
        [version] = [version for name, version in fetched if name == crate]
        assert fetched[crate, version].startswith("registry+")
        assert {key: source for key, source in built.items() if key[0] == crate} == {(crate, version): None}
    # Others would be fetched for nothing.
    assert {key for key in fetched if key[0] != "patched-crates"} <= set(built)


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))[:2]


def test_the_version_of_rust_is_what_the_locked_crates_need():
    found = cargo_metadata()
    built = {node["id"] for node in found["resolve"]["nodes"]}
    own = found["resolve"]["root"]
    packages = {package["id"]: package for package in found["packages"] if package["id"] in built}
    theirs = {
        f"{package['name']} {package['version']}": number(package["rust_version"])
        for key, package in packages.items()
        if key != own and package["rust_version"]
    }
    newest = max(theirs, key=theirs.get)
    assert packages[own]["rust_version"] == ".".join(map(str, theirs[newest])), newest
    for page in (ROOT / "README.md", ROOT / "docs" / "install.md"):
        told = re.findall(r"Rust\]?(?:\([^)]*\))? (\d+\.\d+) or newer", page.read_text())
        assert told and set(told) == {packages[own]["rust_version"]}, page


def pins(name: str) -> dict[str, str]:
    """Versions by normal name."""
    lines = (REQUIREMENTS / name).read_text().splitlines()
    found = dict(line.split("==") for line in lines if line and not line.startswith(("#", "-")))
    return {re.sub(r"[-_.]+", "-", key).lower(): version for key, version in found.items()}


def test_a_wheel_has_one_version_in_every_list():
    of_all: dict[str, set[str]] = {}
    for file in REQUIREMENTS.glob("*.txt"):
        for name, version in pins(file.name).items():
            of_all.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in of_all.items() if len(versions) > 1} == {}


def test_every_wheel_of_these_tests_is_pinned():
    listed = [sys.executable, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    installed = {
        re.sub(r"[-_.]+", "-", one["name"]).lower(): one["version"]
        for one in json.loads(subprocess.check_output(listed, text=True, timeout=LONG_SECS))
    }
    pinned = {
        name: version for file in REQUIREMENTS.glob("*.txt") for name, version in pins(file.name).items()
    }
    # Torch's wheel says which build it is.
    wrong = {
        name: found
        for name, found in installed.items()
        if name in pinned and found.split("+")[0] != pinned[name]
    }
    assert wrong == {}
    # The ROS wheels bring packages that no wheel is named after.
    ros = {name for name in installed if f"ros-{name}" in installed}
    assert set(installed) - set(pinned) - ros - {"pip", OWN} == set()


def test_the_demo_loads_nothing_beyond_its_own_tier():
    beyond = [
        "torch",
        "torchvision",
        "transformers",
        "safetensors",
        "skimage",
        "scipy",
        "onnx",
        "onnxruntime",
        "mujoco",
        "rosbags",
        "pytest",
        "psutil",
        "colcon_core",
        "diagnostic_msgs",
        "std_srvs",
        "vision_msgs",
    ]
    code = f"import sys; sys.modules |= dict.fromkeys({beyond}); sys.path[:0] = ['examples']; import demo"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LONG_SECS
    )
    assert loaded.returncode == 0, loaded.stderr
