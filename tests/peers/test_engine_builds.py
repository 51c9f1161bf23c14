"""Engines that are built: what cannot be, what is stopped, and builds in the background of a node."""

import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import offline
import pytest
from engine_runs import MODEL, PHOTOGRAPH, SIZE, build, build_once, infer
from node_process import BINARY, Node, environment
from waiting import LONG_SECS, PATIENCE_SECS, until

# options, environment, what the error must name
UNBUILDABLE = {
    "no Python": (
        ["--python", "/nowhere/python3"],
        {},
        ["/nowhere/python3", "scripts/setup --engines", "--python"],
    ),
    "no torch": (
        ["--python", shutil.which("python3", path="/usr/bin:/usr/local/bin") or "/bin/sh"],
        {},
        ["scripts/setup --engines"],
    ),
    "no compiler": ([], {"CXX": "/nowhere/g++"}, ["C++ compiler", "install g++"]),
    "a kernel for another precision": (
        ["--int8-kernel", "avx2"],
        {},
        ["--int8-kernel", "--precision int8", "float32"],
    ),
    "trial on a GPU that is not here": (
        ["--max-autotune", "--for", "sm_90"],
        {},
        ["--max-autotune", "--for"],
    ),
    "no such layer": (["--layers", "9"], {}, ["--layers", "1 to 4"]),
    "a size that cannot be": (["--size", "250x256"], {}, ["size", "250", "16"]),
    "a folder with other files": (["--out", str(Path(__file__).parent)], {}, ["other files"]),
    "a cache that cannot be made": (
        ["--engine-cache", "/proc/engines"],
        {},
        ["/proc/engines", "cannot be made"],
    ),
}


@pytest.mark.parametrize("why", UNBUILDABLE)
def test_a_build_that_cannot_be_says_why_and_leaves_nothing(tmp_path, why):
    options, env, names = UNBUILDABLE[why]
    cache = () if {"--out", "--engine-cache"} & set(options) else ("--engine-cache", tmp_path)
    done = build(*options, *cache, **env)
    said = done.stderr
    assert done.returncode in (1, 2) and all(name in said for name in names), said
    assert "Traceback" not in said and "panicked" not in said, said
    assert not list(tmp_path.glob("engines/*")) and not list(tmp_path.glob("engines/.*")), list(
        tmp_path.glob("engines/.*")
    )


def test_a_disk_that_is_full_ends_the_build_and_says_so(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True
        ).returncode
        != 0
    ):
        pytest.skip("only root can mount a small disk")
    try:
        done = build("--engine-cache", disk)
        assert done.returncode == 1 and "no space" in done.stderr.lower(), done.stderr
        assert not list(disk.glob("engines/*"))
    finally:
        subprocess.run(["umount", disk], check=True)


def compiling(folder: Path) -> subprocess.Popen:
    """A build that has begun to compile into `folder`."""
    command = [BINARY, "build", *MODEL, "--engine-cache", folder]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    for line in process.stdout:
        if "compiling" in line:
            return process
    raise AssertionError("the build has ended")


def tools_of(folder: Path) -> list[str]:
    """Processes that work in `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in command and "build_engine" in command:
            found.append(command)
    return found


def test_a_build_that_is_killed_leaves_no_engine_and_no_process(tmp_path):
    process = compiling(tmp_path)
    until(lambda: tools_of(tmp_path), "the compiler", patience_secs=LONG_SECS)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_SECS)
    until(lambda: not tools_of(tmp_path), "the compiler's end")
    done, tokens = infer(tmp_path, "--engine-cache", tmp_path)
    assert done.returncode == 0 and tokens is not None and "engine eager" in done.stderr, done.stderr
    left = list((tmp_path / "engines").iterdir())
    assert len(left) == 1 and left[0].name.startswith("."), left
    # The next build removes it.
    done = build_once("--engine-cache", tmp_path)
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "engines").iterdir()
    assert (folder / "manifest.json").exists()


def test_an_engine_is_built_in_the_background_and_takes_over_between_two_frames(rig, tmp_path):
    node = rig(size=SIZE, params=("engine_build:=background", f"engine_cache:={tmp_path}"))
    before = node.ask(PHOTOGRAPH)
    node.feed(
        PHOTOGRAPH,
        lambda: any("takes over" in line for line in node.node.output.lines),
        "an engine that takes over",
        patience_secs=LONG_SECS,
    )
    after = node.ask(PHOTOGRAPH)
    tokens = [np.frombuffer(message.data, np.float16).astype(np.float32) for message in (before, after)]
    assert offline.cosine(*tokens) > 0.99999
    assert node.node.stop() == 0, node.node.tail()
    final = node.node.stats()[-1]["counts"]
    assert final["received"] == final["published"] + final["unwanted"] + final["displaced"], final
    assert final["refused"] == 0, final


def test_a_node_whose_build_fails_goes_on(rig, tmp_path):
    node = rig(
        size=SIZE,
        params=("engine_build:=background", f"engine_cache:={tmp_path}"),
        env={"CXX": "/nowhere/g++"},
    )
    assert node.node.wait_for_line(
        "no engine was built, the eager model stays in use: .*install g[+][+]", patience_secs=LONG_SECS
    ), node.node.tail()
    assert node.ask(PHOTOGRAPH).grid_width == 4
    assert node.node.stop() == 0, node.node.tail()


def test_a_node_that_builds_stops_without_waiting_for_it(tmp_path):
    with Node(size=SIZE, params=("engine_build:=background", f"engine_cache:={tmp_path}")) as node:
        assert node.wait_for_line("compiling", patience_secs=LONG_SECS), node.tail()
        assert node.stop(signal.SIGINT) == 0, node.tail()
    until(lambda: not tools_of(tmp_path), "the compiler's end")
    # Whoever had waited would find an engine.
    assert not list(tmp_path.glob("engines/*"))
