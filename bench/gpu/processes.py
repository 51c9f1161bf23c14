"""The processes that bench-gpu starts: Python contenders and pixio_node, each ended with all that it has
started."""

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

BINARY = Path(os.environ.get("PIXIO_NODE", Path(__file__).resolve().parents[2] / "pixio_node"))
# How pixio_node begins the line that says why it ends.
ERROR = re.compile(r"error: |\[ERROR\] \[[\d.]+\] \[\w+\]: ")


class StepFailed(Exception):
    """A step of a cell that did not work out, with the reason in one line."""


def last_words(log: Path) -> str:
    """What a process said last: the reason why it ended."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.match(line)]
    return ERROR.sub("", (errors or lines or ["it said nothing"])[-1])[:200]


def end_with_parent():
    """Between fork and exec: however this process ends, the child ends too."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    """A child in a process group of its own, that is ended with everything that it started."""

    def __init__(self, command: list[str], log: Path):
        self._log = log
        with log.open("w") as said:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()


class Worker(Process):
    """A Python contender."""

    def __init__(self, name: str, work: Path):
        super().__init__(
            [sys.executable, str(Path(__file__).with_name("contender.py"))],
            work / f"{name.replace(' ', '-')}.log",
        )

    def order(self, do: str, **order):
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps({"do": do} | order) + "\n")
            self._child.stdin.flush()

    def answer(self, until: float) -> dict:
        """What the order came to; waits until that moment of the monotonic clock."""
        ready, _, _ = select.select([self._child.stdout], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise StepFailed("it took longer than there was time")
        if not (line := self._child.stdout.readline()):
            raise StepFailed(f"its process ended: {last_words(self._log)}")
        said = json.loads(line)
        if "error" in said:
            raise StepFailed(said["error"])
        return said


class Command(Process):
    """A program, pixio_node unless another is named, that runs to its end; both its outputs go to the log."""

    def __init__(
        self,
        arguments: list[str],
        log: Path,
        *,
        program: str | Path = BINARY,
        env: dict[str, str] | None = None,
    ):
        self._log = log
        with log.open("w") as said:
            self._child = subprocess.Popen(
                [str(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
                env=os.environ | (env or {}),
            )

    @property
    def has_ended(self) -> bool:
        return self._child.poll() is not None

    def finish(self, until: float):
        try:
            code = self._child.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.end()
            raise StepFailed("it took longer than there was time") from None
        if code:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
            raise StepFailed(f"{how}: {last_words(self._log)}")
