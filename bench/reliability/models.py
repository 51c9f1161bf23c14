"""Faults of files: weights, configurations, heads, engines, and the compiler."""

import os
import shutil
import signal
import subprocess

import checkpoints
import head_files
import numpy as np
from engine_runs import SIZE, build_once
from node_process import Node, run
from waiting import LONG_SECS, until

from .start import TINY, refused
from .trial import NAMESPACE, PHOTOGRAPH, Fault, Impossible, Trial

# A folder's files cannot be read by these.
WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


def unreadable(trial: Trial):
    folder = checkpoints.folder(trial.folder / "model")
    (folder / "model.safetensors").chmod(0)
    node = Node(model=folder, size="64x64", namespace=NAMESPACE)
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            raise Impossible("root reads everything, and there is no setpriv")
        node.arguments = [*WITHOUT_PRIVILEGE, *node.arguments]
    with node.spawn():
        trial.ends(node, 2, "model.safetensors.*[Pp]ermission denied")


def spoilt(trial: Trial):
    for spoil in (
        checkpoints.with_nan,
        checkpoints.with_a_wrong_shape,
        checkpoints.only_a_pickle,
        checkpoints.cut_in_half,
    ):
        folder = spoil(trial.folder / spoil.__name__)
        refused(trial, "run", "--model", folder, "--size", "64x64", names=(str(folder),))


def replaced(trial: Trial):
    folder = checkpoints.folder(trial.folder / "model")
    rig = trial.rig(model=folder, size="64x64")
    first = np.frombuffer(rig.ask(PHOTOGRAPH).data, np.float16)
    trial.answered()
    weights = folder / "model.safetensors"
    # In place, then cut, then gone.
    for do in (
        lambda: weights.write_bytes(os.urandom(weights.stat().st_size)),
        lambda: os.truncate(weights, 100),
        weights.unlink,
    ):
        do()
        trial.injected()
        answer = np.frombuffer(rig.ask(PHOTOGRAPH).data, np.float16)
        trial.answered()
        assert np.array_equal(answer, first), "other features than before"
    trial.note("the same features")
    trial.stops(rig.node)


def endless_config(trial: Trial):
    folder = checkpoints.folder(trial.folder / "model")
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    refused(trial, "run", "--model", folder, names=("config.json", "not a regular file"))


def foreign_head(trial: Trial):
    folder = checkpoints.folder(trial.folder / "model")
    head = head_files.write(trial.folder / "depth.safetensors", "depth")
    refused(trial, "run", "--model", folder, "--depth-head", head, names=("depth.safetensors",))


def damaged_basis(trial: Trial):
    rig = trial.rig(cache=trial.folder, listen=("features", "features/reduced"))
    rig.feed(PHOTOGRAPH, lambda: len(rig.inboxes["features/reduced"]), "a basis", every_secs=0.1)
    trial.serve(rig)
    assert rig.node.stop() == 0
    rig.close()
    [basis] = (trial.folder / "pixio_node" / "pca").iterdir()
    basis.write_bytes(os.urandom(1000))
    trial.injected()
    rig = trial.rig(cache=trial.folder, listen=("features", "features/reduced"))
    trial.tells(rig.node, r"\[WARN\].*the PCA basis is estimated anew")
    rig.feed(PHOTOGRAPH, lambda: len(rig.inboxes["features/reduced"]), "a basis", every_secs=0.1)
    trial.serve(rig)
    trial.stops(rig.node)


def engine_cache(trial: Trial):
    """A cache with an engine of random:tiny for 64x64, and the engine's folder."""
    done = build_once("--batch", "1", "--engine-cache", trial.folder)
    if done.returncode:
        raise Impossible("no engine can be compiled here")
    [folder] = (trial.folder / "engines").iterdir()
    return folder


def damaged_engine(trial: Trial):
    folder = engine_cache(trial)
    package = folder / f"backbone-{SIZE}.pt2"
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(content)
    refused(trial, *TINY, "--size", SIZE, "--engine", folder, names=(str(folder), package.name))
    rig = trial.rig(size=SIZE, params=(f"engine_cache:={trial.folder}",))
    trial.injected()
    trial.serve(rig)
    trial.tells(rig.node, rf"\[WARN\].*{package.name}")
    trial.note("named by `engine`: exit code 2")
    trial.stops(rig.node)


def removed_engine(trial: Trial):
    folder = engine_cache(trial)
    rig = trial.rig(size=SIZE, params=(f"engine_cache:={trial.folder}",))
    assert any("engine compiled from" in line for line in rig.node.output.lines), rig.node.tail()
    trial.serve(rig)
    shutil.rmtree(folder)
    trial.injected()
    trial.serve(rig)
    trial.stops(rig.node)


def compilers(folder) -> list[int]:
    """Processes that compile into `folder`."""
    done = subprocess.run(["pgrep", "-f", f"build_engine.*{folder}"], capture_output=True, text=True)
    return [int(pid) for pid in done.stdout.split()]


def killed_compiler(trial: Trial):
    rig = trial.rig(size=SIZE, params=("engine_build:=background", f"engine_cache:={trial.folder}"))
    trial.serve(rig)
    found = until(lambda: compilers(trial.folder), "the compiler", patience_secs=LONG_SECS)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    trial.injected()
    trial.serve(rig)
    trial.tells(rig.node, "no engine was built, the eager model stays in use")
    trial.stops(rig.node)
    left = [path.name for path in (trial.folder / "engines").glob("*")]
    assert not left, f"left behind: {left}"


def lacking_tools(trial: Trial):
    done = run("build", *TINY[1:], "--size", SIZE, "--engine-cache", trial.folder, CXX="/nowhere/g++")
    trial.ended(done.returncode, 1, done.stderr)
    error = next(line for line in done.stderr.splitlines() if "[ERROR]" in line)
    assert "install g++" in error, error
    trial.seen.sentence = trial.text(error)


FAULTS = [
    Fault(
        "weights that cannot be read",
        "mode 000, without the right to override it",
        "exit code 2 and the file's name",
        unreadable,
    ),
    Fault(
        "spoilt weights",
        "NaN, a wrong shape, a pickle, half a file",
        "exit code 2 and what is wrong",
        spoilt,
    ),
    Fault(
        "weights replaced while running",
        "overwritten in place, truncated, removed",
        "the same features as before",
        replaced,
    ),
    Fault("config.json that never ends", "a FIFO", "exit code 2 at once", endless_config),
    Fault(
        "head of another model",
        "a head for a model of 192 channels and four blocks, the model has 64 and two",
        "exit code 2 and what differs",
        foreign_head,
    ),
    Fault(
        "damaged file in the cache",
        "the PCA basis is noise",
        "a warning; it is estimated anew",
        damaged_basis,
    ),
    Fault(
        "damaged engine",
        "one bit of the package flipped",
        "`engine:=auto` serves without it and tells; `engine:=DIR` ends with 2",
        damaged_engine,
    ),
    Fault(
        "engine removed while running",
        "its folder is deleted",
        "serves on",
        removed_engine,
    ),
    Fault(
        "compiler killed",
        "SIGKILL of the compiler of a background build",
        "serves on with the eager model, tells, and leaves nothing",
        killed_compiler,
    ),
    Fault("no compiler", "`CXX` names none", "`build` ends with 1 and what to install", lacking_tools),
]
