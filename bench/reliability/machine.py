"""Faults of the machine: disk, memory, files, and a log that nobody reads."""

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import bad_frames
import images
from node_process import Node
from pixio_node.msg import PatchFeatures
from sensor_msgs.msg import Image
from unheard import Unheard
from waiting import PATIENCE_SECS, repeat, until

from .trial import NAMESPACE, PHOTOGRAPH, Fault, Impossible, Trial

REDUCED = ("features", "features/reduced")
TOPIC = f"{NAMESPACE}/image"


def disk(trial: Trial, *options: str) -> Path:
    """A small disk of its own."""
    folder = trial.folder / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(("size=256k", *options)), "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        raise Impossible("only root can mount a small disk")
    trial.at_end(lambda: subprocess.run(["umount", "-l", folder], check=True))
    return folder


def fill(folder: Path):
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def serve_without_cache(trial: Trial, cache: Path, why: str):
    rig = trial.rig(cache=cache, listen=REDUCED)
    trial.injected()
    rig.feed(PHOTOGRAPH, lambda: len(rig.inboxes["features/reduced"]), "a basis", every_secs=0.1)
    trial.serve(rig)
    trial.tells(rig.node, rf"\[WARN\].*is used but not saved: .*{why}")
    trial.stops(rig.node)


def disk_full(trial: Trial):
    cache = disk(trial)
    fill(cache)
    serve_without_cache(trial, cache, "No space left")
    left = [path.name for path in cache.rglob("*.partial")]
    assert not left, f"left behind: {left}"


def read_only(trial: Trial):
    cache = disk(trial)
    subprocess.run(["mount", "-o", "remount,ro", cache], check=True)
    serve_without_cache(trial, cache, "Read-only file system")


def serve_without_statistics(trial: Trial, node: Node, inject: Callable[[], None], why: str):
    """Serves before and after `inject`, from which on the file of statistics cannot grow. Only the log tells:
    the books of the node are in that file."""
    inbox = trial.inbox(PatchFeatures, f"{node.name}/features")
    camera = trial.publisher(Image, "/camera/image_raw")

    def serve():
        inbox.clear()
        repeat(
            lambda: camera.publish(images.image(PHOTOGRAPH, trial.peer.stamp())),
            lambda: len(inbox) >= 5,
            "features",
            every_secs=0.1,
        )
        trial.answered(len(inbox))

    with node:
        serve()
        inject()
        trial.injected()
        trial.tells(node, rf"\[WARN\].*stats_file: no more is written: {why}")
        serve()
        trial.ended(node.stop(), 0, node.tail())


def unsaved_statistics(trial: Trial):
    folder = disk(trial)
    node = Node(namespace=NAMESPACE, cache=trial.folder)
    node.arguments[node.arguments.index("--stats-file") + 1] = str(folder / "stats.jsonl")
    serve_without_statistics(trial, node, lambda: fill(folder), "No space left")


def file_limit(trial: Trial):
    node = Node(namespace=NAMESPACE, cache=trial.folder)

    def limit():
        n_bytes = node.stats_file.stat().st_size
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))

    serve_without_statistics(trial, node, limit, "File too large")


def no_memory_at_start(trial: Trial):
    node = Node(model="random:vitb16", namespace=NAMESPACE, cache=trial.folder)
    node.arguments = ["prlimit", f"--as={700 << 20}", *node.arguments]
    with node.spawn():
        code = node.ended()
        trial.seen.exit_code = code
        errors = [line for line in node.output.lines if "memory" in line.lower()]
        assert code != 0, "it ended well"
        assert errors, f"no word of memory: {node.tail(5)}"
        trial.seen.sentence = trial.text(errors[-1])


def no_memory_while_running(trial: Trial):
    rig = trial.rig(transport="compressed", params=("max_age:=0.0",))
    good = bad_frames.jpeg()
    trial.serve(rig, 8, good)
    limit = rig.node.memory_bytes("VmSize") + (32 << 20)
    resource.prlimit(rig.node.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    trial.injected()
    *_, (_, large, _) = bad_frames.costly()
    before = rig.counts()["refused"]
    rig.feed(large, lambda: rig.counts()["refused"] > before, "the refusal", every_secs=1)
    trial.serve(rig, 5, good)
    trial.tells(rig.node, r"\[WARN\].*frame refused: no memory")
    trial.stops(rig.node)


def no_files_at_start(trial: Trial):
    node = Node(namespace=NAMESPACE, cache=trial.folder)
    node.arguments = ["prlimit", "--nofile=40:40", *node.arguments]
    with node.spawn():
        trial.ends(node, 2, "files and sockets will be open")


def no_files_while_running(trial: Trial):
    rig = trial.rig()
    trial.serve(rig)
    n_open = sum(1 for _ in Path(f"/proc/{rig.node.pid}/fd").iterdir())
    _, hard = resource.prlimit(rig.node.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(rig.node.pid, resource.RLIMIT_NOFILE, (n_open, hard))
    trial.injected()
    trial.serve(rig, 20)
    inbox = trial.inbox(PatchFeatures, f"{rig.node.name}/features", reliable=True)
    rig.feed(PHOTOGRAPH, lambda: len(inbox), "a message for a new subscriber", every_secs=0.1)
    trial.stops(rig.node)


def full_stderr(trial: Trial):
    camera = trial.publisher(Image, TOPIC)
    inbox = trial.inbox(PatchFeatures, f"{NAMESPACE}/pixio_node/features")
    trial.injected()
    with Unheard(namespace=NAMESPACE, remaps=(f"image:={TOPIC}",)) as node:

        def show():
            camera.publish(images.image(PHOTOGRAPH, trial.peer.stamp()))

        repeat(show, lambda: len(inbox) >= 20, "features of a node that cannot log", every_secs=0.05)
        n_reports = len(node.stats())
        until(lambda: len(node.stats()) > n_reports + 10, "more reports")
        n = len(inbox)
        repeat(show, lambda: len(inbox) >= n + 20, "features after that", every_secs=0.05)
        trial.answered(len(inbox))
        trial.ended(node.stop(), 0)


def busy(trial: Trial):
    rig = trial.rig(reliable_inboxes=True)
    trial.serve(rig)
    burning = [
        trial.keep(subprocess.Popen(["timeout", str(PATIENCE_SECS), "sh", "-c", "while :; do :; done"]))
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    for process in burning:
        trial.at_end(process.terminate)
    trial.injected()
    trial.serve(rig, 20)
    trial.stops(rig.node)


FAULTS = [
    Fault(
        "disk full",
        "the cache is on a tmpfs without a free byte",
        "serves; says that the basis is not saved; leaves no partial file",
        disk_full,
    ),
    Fault(
        "cache read-only",
        "the cache's disk is mounted read-only",
        "serves; says what is not saved",
        read_only,
    ),
    Fault(
        "disk full while running",
        "the disk of `stats_file` is filled",
        "serves on; says that no more is written",
        unsaved_statistics,
    ),
    Fault(
        "limit of file sizes",
        "RLIMIT_FSIZE at the size of `stats_file`",
        "serves on; says that no more is written",
        file_limit,
    ),
    Fault(
        "out of memory at the start",
        "RLIMIT_AS of 700 MB for a model of 350 MB",
        "ends with an error that speaks of memory",
        no_memory_at_start,
    ),
    Fault(
        "out of memory while running",
        "RLIMIT_AS 32 MB above what is mapped, then images of 75 MB",
        "refuses such images and serves the others",
        no_memory_while_running,
    ),
    Fault(
        "no file descriptors at the start",
        "RLIMIT_NOFILE of 40, hard",
        "exit code 2 and how to raise the limit",
        no_files_at_start,
    ),
    Fault(
        "no file descriptors while running",
        "RLIMIT_NOFILE at the number of open files",
        "serves on, new subscribers too",
        no_files_while_running,
    ),
    Fault("full stderr", "a full pipe that nobody reads", "serves on, and ends by SIGTERM", full_stderr),
    Fault(
        "busy machine",
        "two processes a core that only burn time",
        "frames are served",
        busy,
    ),
]
