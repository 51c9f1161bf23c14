"""A running pixio_node: started, listened to and stopped."""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from waiting import PATIENCE_SECS, until

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("PIXIO_NODE", ROOT / "target" / "release" / "pixio_node"))
COUNTS = re.compile(
    r"received (?P<received>\d+) = published (?P<published>\d+) \+ displaced (?P<displaced>\d+)"
    r" \+ refused (?P<refused>\d+)(?: \((?P<reasons>[^)]*)\))? \+ unwanted (?P<unwanted>\d+)"
    r" \+ in flight (?P<in_flight>\d+)"
)


class NodeError(Exception):
    """The node did not do what was waited for; its last lines are in the text."""


def environment(**extra: str | None) -> dict[str, str]:
    """This process's environment without what the ROS wheels and these tests added to it: a user's shell has
    none of that.

    `extra` is put on top; None takes a variable away.
    """
    env = {
        name: text for name, text in os.environ.items() if not name.startswith(("_ROS_WHEELS", "PYTHONPATH"))
    }
    added = tuple(os.path.realpath(path) for path in (sys.prefix, ROOT / "target" / "ros-messages"))
    paths = [
        path
        for path in env.pop("LD_LIBRARY_PATH", "").split(":")
        if path and not os.path.realpath(path).startswith(added)
    ]
    env |= ({"LD_LIBRARY_PATH": ":".join(paths)} if paths else {}) | extra
    return {name: text for name, text in env.items() if text is not None}


def end_with_parent():
    """Between fork and exec: however this process ends, the child ends too. It heeds SIGINT, which the
    background jobs of a shell ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Output:
    """Lines of a process as they come."""

    def __init__(self, stream):
        self.lines: list[str] = []
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream):
        for line in stream:
            with self._grown:
                self.lines.append(line.rstrip("\n"))
                self._grown.notify_all()

    def wait_for(self, pattern: str, start: int, alive, patience_secs: float) -> str | None:
        """The first line from number `start` on that matches, or None when patience or the process has
        ended."""
        wanted = re.compile(pattern)
        deadline = time.monotonic() + patience_secs
        with self._grown:
            while True:
                for line in self.lines[start:]:
                    if wanted.search(line):
                        return line
                if time.monotonic() >= deadline or not (alive() or self._reader.is_alive()):
                    return None
                self._grown.wait(0.1)

    def drain(self):
        self._reader.join(PATIENCE_SECS)


def logged_at(line: str) -> float:
    """When the node wrote a line of its log, in seconds since the epoch."""
    return float(re.search(r"\[(\d+\.\d+)\]", line)[1])


class Node:
    """One pixio_node process. Use it as a context manager; `stop` says how it ended."""

    def __init__(
        self,
        model="random:tiny",
        size="256x256",
        options=(),
        remaps=("image:=/camera/image_raw",),
        namespace="/cam",
        params=(),
        files=(),
        ros_args=(),
        env=None,
        cache=None,
        binary=BINARY,
    ):
        self._own_cache = None if cache else tempfile.TemporaryDirectory(prefix="pixio-cache-")
        cache = cache or self._own_cache.name
        self.stats_file = Path(tempfile.mkdtemp(prefix="pixio-stats-")) / "stats.jsonl"
        self._n_read, self._periods = 0, []
        self.namespace = namespace
        ros = [argument for remap in remaps for argument in ("-r", remap)] + ["-r", f"__ns:={namespace}"]
        ros += [argument for param in params for argument in ("-p", param)]
        ros += [argument for file in files for argument in ("--params-file", str(file))]
        self.arguments = [
            str(binary),
            "run",
            "--model",
            str(model),
            "--size",
            size,
            "--device",
            "cpu",
            "--stats-period",
            "0.2",
            "--stats-file",
            str(self.stats_file),
            *options,
            "--ros-args",
            *ros,
            *ros_args,
        ]
        self._env = environment(XDG_CACHE_HOME=str(cache), NO_COLOR="1", **(env or {}))

    @property
    def name(self) -> str:
        """Fully qualified name of the ROS node."""
        return f"{self.namespace.rstrip('/')}/pixio_node"

    def __enter__(self) -> "Node":
        return self if hasattr(self, "process") else self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_SECS)
        self.output.drain()

    def spawn(self) -> "Node":
        """Starts the process and waits for nothing."""
        self.process = subprocess.Popen(
            self.arguments,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            preexec_fn=end_with_parent,
        )
        self.output = Output(self.process.stderr)
        return self

    def start(self) -> "Node":
        """Starts the process and waits until it has subscribed."""
        self.spawn()
        if not self.wait_for_line(r"ready:"):
            if self.process.poll() is None:
                self.process.kill()
            raise NodeError(f"never ready: {' '.join(self.arguments)}\n{self.tail()}")
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        return self.process.poll() is None

    def tail(self, n_lines: int = 30) -> str:
        return "\n".join(self.output.lines[-n_lines:])

    def wait_for_line(
        self, pattern: str, *, start: int = 0, patience_secs: float = PATIENCE_SECS
    ) -> str | None:
        """The first line of the node's log from number `start` on that matches, or None when none comes."""
        return self.output.wait_for(pattern, start, self.alive, patience_secs)

    def stop(self, how=signal.SIGTERM) -> int:
        """Asks the node to end and returns its exit code."""
        if self.alive():
            self.process.send_signal(how)
        return self.ended()

    def ended(self) -> int:
        """Waits for the node's end and returns its exit code."""
        try:
            code = self.process.wait(PATIENCE_SECS)
        except subprocess.TimeoutExpired as err:
            raise NodeError(f"still there after {PATIENCE_SECS} s\n{self.tail()}") from err
        self.output.drain()
        return code

    def books(self) -> str:
        """The accounting as the node printed it last."""
        for line in reversed(self.output.lines):
            if found := COUNTS.search(line):
                return found[0]
        raise NodeError(f"no accounting in the log\n{self.tail()}")

    def counts(self) -> dict[str, int]:
        """The accounting that the node printed last, as numbers."""
        found = COUNTS.search(self.books())
        counts = {key: int(text) for key, text in found.groupdict().items() if key != "reasons"}
        pairs = (item.rsplit(" ", 1) for item in (found["reasons"] or "").split(", ") if item)
        return counts | {"reasons": {reason: int(n) for reason, n in pairs}}

    def stats(self) -> list[dict]:
        """What the node wrote to its statistics file so far, one object a period; `counts` and `spans` are
        the first camera's."""
        if self.stats_file.exists():
            with self.stats_file.open("rb") as file:
                file.seek(self._n_read)
                lines = file.read().rpartition(b"\n")[0].splitlines(keepends=True)
            self._n_read += sum(map(len, lines)) + bool(lines)
            self._periods += [
                period | {key: period["cameras"][0][key] for key in ("counts", "spans")}
                for period in map(json.loads, lines)
            ]
        return list(self._periods)

    def report(self) -> dict:
        """A report of the node that was begun after this call."""
        n = len(self.stats()) + 2
        return (
            until(lambda: len(self.stats()) >= n, "the node's next reports", log=self.tail)
            and self.stats()[-1]
        )

    def memory_bytes(self, key: str = "VmRSS") -> int:
        """A line of /proc/PID/status in bytes: VmRSS now, VmHWM at most."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) * 1024

    def forget_peak_memory(self):
        """VmHWM starts anew: what loading took does not count from here on."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


def run(
    *arguments, patience_secs: float = PATIENCE_SECS, binary: Path = BINARY, **env: str | None
) -> subprocess.CompletedProcess:
    """Runs the binary to its end."""
    return subprocess.run(
        [str(binary), *map(str, arguments)],
        env=environment(**({"NO_COLOR": "1"} | env)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=patience_secs,
    )
