"""The ROS 2 package: stock colcon builds it, and what it and scripts/install leave is what ros2 run and
launch look for."""

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_prefix, get_package_share_directory
from node_process import ROOT, Node
from vision_messages import PREFIX as VISION_MSGS
from waiting import LONG_SECS, PATIENCE_SECS
from workspace import PACKAGE, VENV, Workspace, result, tools

PEER = Path(__file__).with_name("installed_peer.py")
TINY = Path("share") / PACKAGE / "models" / "pixio-tiny"
BINARY = Path("lib") / PACKAGE / "pixio_node"
# What rosidl, ament and colcon add to share/pixio_node.
GENERATED = re.compile(
    r"share/pixio_node/(cmake/|environment/|hook/|(msg|srv)/.*\.(idl|json)$|(local_setup|package)\.(?!xml))"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Workspace:
    target = f"-DPIXIO_CARGO_TARGET_DIR={ROOT / 'target'}"
    return Workspace(tmp_path_factory.mktemp("whole") / "ws").build(target)


@pytest.fixture(scope="module")
def interfaces(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("interfaces") / "ws").build(
        "-DPIXIO_BUILD_NODE=OFF", with_cargo=False
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    prefix = tmp_path_factory.mktemp("installed") / "a prefix"
    made = subprocess.run(
        [ROOT / "scripts" / "install", prefix], capture_output=True, text=True, timeout=LONG_SECS
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return prefix


def files(prefix: Path) -> set[str]:
    """Files of the package itself below a prefix."""
    below = (
        path
        for folder in ("lib", "share")
        for path in (prefix / folder / PACKAGE).rglob("*")
        if path.is_file()
    )
    return {name for name in (str(path.relative_to(prefix)) for path in below) if not GENERATED.match(name)}


def configured(source: Path, build: Path, **environment) -> str:
    """What a failing configuration says, as one line."""
    failed = subprocess.run(
        [VENV / "bin" / "cmake", "-S", source, "-B", build],
        env=tools(**environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
    )
    assert failed.returncode != 0, failed.stdout
    return " ".join(failed.stderr.split())


def run_peer(workspace: Workspace, *arguments: str) -> subprocess.Popen:
    return workspace.start(sys.executable, PEER, *arguments, messages=VISION_MSGS)


def test_colcon_finds_one_package_and_nothing_that_setup_made(tmp_path):
    listed = Workspace(tmp_path / "ws").colcon("list", "--names-only")
    assert listed.stdout.split() == [PACKAGE], listed.stderr


def test_what_ros2_run_and_launch_look_for_is_there(built, installed, monkeypatch):
    for prefix in (built.prefix, installed):
        monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}:{VENV}")
        assert get_package_prefix(PACKAGE) == str(prefix)
        assert get_package_share_directory(PACKAGE) == str(prefix / "share" / PACKAGE)
        assert os.access(prefix / BINARY, os.X_OK)


def test_scripts_install_makes_what_colcon_makes(built, installed):
    names = files(built.prefix)
    assert files(installed) == names
    expected = {
        str(BINARY),
        "share/pixio_node/package.xml",
        "share/pixio_node/msg/PatchFeatures.msg",
        "share/pixio_node/srv/Teach.srv",
        "share/pixio_node/config/pixio.yaml",
        "share/pixio_node/launch/pixio.launch.py",
        str(TINY / "model.safetensors"),
        str(TINY / "depth.safetensors"),
        str(TINY / "segmentation.safetensors"),
    }
    assert expected <= names
    same, different, failed = filecmp.cmpfiles(built.prefix, installed, names, shallow=False)
    assert set(same) == names, (different, failed)


def test_a_shell_that_sources_scripts_install_finds_the_package(installed):
    setup = installed / "share" / PACKAGE / "local_setup.sh"
    script = '. "$0"; . "$0"; printf %s "$AMENT_PREFIX_PATH"'
    for before, after in ((None, str(installed)), ("/opt/ros/jazzy", f"{installed}:/opt/ros/jazzy")):
        said = subprocess.run(
            ["sh", "-c", script, setup],
            env=tools() | {"AMENT_PREFIX_PATH": before or ""},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECS,
        )
        assert (said.stdout, said.stderr) == (after, "")


def test_scripts_install_refuses_what_is_no_prefix(tmp_path):
    for arguments, told in (
        ((), "usage: scripts/install PREFIX"),
        (("/dev/null/x",), "/dev/null/x cannot be made"),
        (("--force",), "unknown option --force"),
        ((tmp_path / "a:b",), "a:b has a colon"),
    ):
        refused = subprocess.run(
            [ROOT / "scripts" / "install", *arguments], capture_output=True, text=True, timeout=PATIENCE_SECS
        )
        assert refused.returncode == 1 and told in refused.stderr, refused.stderr


def test_the_installed_binary_knows_where_libtorch_is(built):
    dynamic = subprocess.check_output(
        ["readelf", "-d", built.prefix / BINARY], text=True, timeout=PATIENCE_SECS
    )
    paths = re.search(r"\(R(?:UN)?PATH\).*\[(.*)\]", dynamic)[1].split(":")
    assert all(path.startswith("/") for path in paths)
    assert any((Path(path) / "libtorch_cpu.so").exists() for path in paths)


def test_the_installed_node_serves_the_installed_message_types(built):
    tiny = built.prefix / TINY
    node = Node(
        model=tiny, namespace="/", options=("--segmentation-head", str(tiny / "segmentation.safetensors"))
    )
    node.arguments[0] = str(built.prefix / BINARY)
    with node.start():
        found = json.loads(result(run_peer(built, "ask", "/pixio_node")))
        assert node.stop() == 0, node.tail()
    assert found["package"].startswith(str(built.prefix))
    features, embedding = found["features"], found["embedding"]
    assert (features["grid_height"], features["grid_width"], features["channels"]) == (16, 16, 192)
    assert len(features["data"]) == 16 * 16 * 192 * 2 and features["dtype"] == "float16"
    assert (
        len(embedding["pooled"]) == 192 and len(embedding["class_tokens"]) == 192 * embedding["n_cls_tokens"]
    )
    assert {"floor", "wall", "chair"} <= set(found["labels"])


def test_rclpy_reads_what_rclpy_publishes_in_the_installed_types(built):
    reader, writer = run_peer(built, "read"), run_peer(built, "publish")
    read, sent = json.loads(result(reader)), json.loads(result(writer))
    assert read == sent and read["package"].startswith(str(built.prefix))
    assert read["features"]["data"][:8] == [0, 0, 0, 0, 0, 0, 128, 63]


def test_the_message_types_build_alone_without_cargo(built, interfaces):
    assert not (interfaces.prefix / "lib" / PACKAGE).exists()
    assert files(interfaces.prefix) == {
        name
        for name in files(built.prefix)
        if any(part in name for part in ("/msg/", "/srv/", "package.xml"))
    }
    for kind in ("msg/PatchFeatures", "msg/Embedding", "srv/Teach", "srv/SaveHead"):
        description = Path("share") / PACKAGE / f"{kind}.json"
        assert (interfaces.prefix / description).read_text() == (built.prefix / description).read_text()
    imported = (
        "from pixio_node.msg import PatchFeatures; PatchFeatures.__class__.__import_type_support__(); "
        "from pixio_node.srv import Teach; Teach.__class__.__import_type_support__(); print('well')"
    )
    assert result(interfaces.start(sys.executable, "-c", imported, messages=VISION_MSGS)) == "well\n"


def test_without_cargo_the_configuration_says_what_to_do(tmp_path):
    told = configured(ROOT, tmp_path / "build", with_cargo=False)
    rust = re.search(r'rust-version = "(.*)"', (ROOT / "Cargo.toml").read_text())[1]
    assert (
        f"cargo is missing: install Rust {rust} or newer (https://rustup.rs)" in told
        and "-DPIXIO_BUILD_NODE=OFF" in told
    )


def test_without_libtorch_the_configuration_names_scripts_setup(tmp_path):
    source = tmp_path / "pixio_node"
    source.mkdir()
    (source / "CMakeLists.txt").symlink_to(ROOT / "CMakeLists.txt")
    told = configured(source, tmp_path / "build")
    assert (
        f"libtorch is missing: run {source}/scripts/setup once" in told and "-DPIXIO_BUILD_NODE=OFF" in told
    )


def test_without_the_patched_crates_the_configuration_names_scripts_setup(tmp_path):
    source, applied = tmp_path / "pixio_node", Path("made-by-scripts-setup", "patches")
    source.mkdir()
    for name in ("CMakeLists.txt", ".libtorch"):
        (source / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "patches", source / "patches")
    expected = (
        f"the patched crates are missing or older than patches/{{}}: run {source}/scripts/setup, or build"
    )
    assert expected.format("Cargo.toml") in configured(source, tmp_path / "build")
    shutil.copytree(ROOT / "patches", source / applied)
    # Nothing but what decides the crates counts.
    (source / applied / "README.md").unlink()
    assert "the patched crates" not in configured(source, tmp_path / "build")
    (source / "patches" / "rustdds" / "newer").mkdir()
    assert expected.format("rustdds") in configured(source, tmp_path / "build")
