"""The two nodes of the comparison as processes that can be read: counts, CPU time in and outside the forward
pass, memory."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from node_process import BINARY, ROOT, Node, Output, end_with_parent
from waiting import PATIENCE_SECS

# A camera or a receiver in a process of its own.
ENDS = ROOT / "tests" / "peers" / "ends.py"


@dataclass
class Reading:
    """Totals since the start of a process."""

    received: int
    published: int
    # CPU seconds: the whole process, and what of it belongs to the forward pass.
    cpu_secs: float
    forward_cpu_secs: float

    def since(self, before: "Reading") -> "Reading":
        pairs = zip(vars(self).values(), vars(before).values())
        return Reading(*(now - then for now, then in pairs))


def thread_cpu_secs(pid: int) -> dict[int, tuple[str, float]]:
    """Name and CPU time of every thread of a process."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[int(task.name)] = (
                (task / "comm").read_text().strip(),
                int((task / "schedstat").read_text().split()[0]) / 1e9,
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_by_name(pid: int) -> dict[str, float]:
    """CPU seconds of a process's threads, those of one name together."""
    found = {}
    for name, secs in thread_cpu_secs(pid).values():
        found[name] = found.get(name, 0.0) + secs
    return found


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


class Ours:
    """This project's node."""

    label = "pixio_node"

    # Nodes of one run have namespaces of their own.
    _numbers = itertools.count()

    def __init__(
        self, model: str, transport: str, env: dict[str, str], params: tuple[str, ...] = (), binary=BINARY
    ):
        namespace = f"/ours{next(self._numbers)}"
        self.image, self.features = f"/bench{namespace}/image", f"{namespace}/pixio_node/features"
        self._node = Node(
            model=f"random:{model}",
            options=("--image-transport", transport, "--stats-period", "0.25"),
            remaps=(f"image:={self.image}",),
            namespace=namespace,
            params=params,
            env=env,
            binary=binary,
        )

    def start(self):
        self._node.start()
        self.pid = self._node.pid

    def reading(self) -> Reading:
        periods = self._node.stats()
        counts = periods[-1]["counts"] if periods else {"received": 0, "published": 0}
        threads = thread_cpu_secs(self.pid)
        model = sum(secs for name, secs in threads.values() if name.startswith("model"))
        # Encoding and everything else that the model's thread does besides the forward pass counts as
        # outside.
        heads = sum(p["spans"]["heads"]["n"] * p["spans"]["heads"]["p50"] for p in periods) / 1e3
        return Reading(
            counts["received"], counts["published"], sum(secs for _, secs in threads.values()), model - heads
        )

    def forward_millis(self) -> float:
        """Median of the last periods in which there was one."""
        spans = [p["spans"]["forward"] for p in self._node.stats()]
        recent = sorted(span["p50"] for span in spans[-12:] if span["n"])
        return recent[len(recent) // 2] if recent else float("nan")

    def stop(self):
        if hasattr(self._node, "process"):
            self._node.stop()
            self._node.__exit__()


class Baseline:
    """The Python node."""

    label = "Python"

    def __init__(self, model: str, transport: str, env: dict[str, str]):
        self.image, self.features = "/bench/baseline/image", "/baseline_node/features"
        self._stats = Path(tempfile.mkdtemp(prefix="pixio-baseline-"), "stats.json")
        self._arguments = [
            sys.executable,
            "-m",
            "bench.baseline_node",
            "--ros-args",
            "-r",
            f"image:={self.image}",
            "-p",
            f"model:={model}",
            "-p",
            f"image_transport:={transport}",
            "-p",
            f"stats_file:={self._stats}",
        ]
        self._env = env

    def start(self):
        self._process = subprocess.Popen(
            self._arguments,
            env=os.environ | self._env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,
        )
        self.pid = self._process.pid
        output = Output(self._process.stderr)
        if not output.wait_for("ready:", 0, lambda: self._process.poll() is None, PATIENCE_SECS):
            self._process.kill()
            raise RuntimeError("the Python node did not start:\n" + "\n".join(output.lines[-20:]))

    def _said(self) -> dict:
        return json.loads(self._stats.read_text()) if self._stats.exists() else {}

    def reading(self) -> Reading:
        said = self._said()
        counts = said.get("counts", {"received": 0, "published": 0})
        threads = thread_cpu_secs(self.pid)
        total = sum(secs for _, secs in threads.values())
        return Reading(counts["received"], counts["published"], total, said.get("forward_cpu_secs", 0.0))

    def forward_millis(self) -> float:
        recent = sorted(self._said().get("forward_millis", []))
        return recent[len(recent) // 2] if recent else float("nan")

    def stop(self):
        if not hasattr(self, "_process"):
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
