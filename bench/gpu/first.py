"""The first run on a GPU: what can be known only there, within a given time, most important first."""

import argparse
import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cell import Cell
from contender import one_line
from processes import Command, StepFailed
from results import Results

# Left for ending processes and printing.
END_SECS = 5


class Skipped(Exception):
    """A step that has nothing to do here, with the reason."""


@dataclass(frozen=True)
class Step:
    """A part of the first run. `work` fills the dictionary with what it finds, as far as it comes, until the
    moment of the monotonic clock that it is given."""

    name: str
    # It is not begun with less time than that.
    least_secs: float
    # It is ended after that.
    most_secs: float
    work: Callable[["FirstRun", dict, float], None]
    needs_gpu: bool = False


class Build:
    """An engine that `pixio_node build` makes while other things go on."""

    def __init__(self, arguments: list[str], folder: Path, log: Path, env: dict[str, str]):
        self.folder, self._started = folder, time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        arguments = ["build", *arguments, "--out", str(folder), "--python", sys.executable]
        self._command = Command(arguments, log, env=env)
        self.secs: float | None = None

    def finish(self, until: float):
        """Waits until it is done; raises why there is no engine."""
        self._command.finish(until)
        self.secs = self.secs or time.monotonic() - self._started

    def wait(self, until: float):
        """Waits until it has ended in whatever way."""
        while not self._command.has_ended and time.monotonic() < until:
            time.sleep(0.1)
        if self._command.has_ended:
            self.secs = self.secs or time.monotonic() - self._started

    def end(self):
        self._command.end()


class FirstRun:
    """What the steps share: the cell, the folders, the builds that are under way and the clock."""

    def __init__(self, options: argparse.Namespace, results: Results, tell: Callable[[str], None]):
        self.options, self.tell, self._results = options, tell, results
        self.cell = Cell(options.model, options.size, options.batch, options.device, options.precision)
        self.is_gpu = options.device != "cpu"
        self.work = options.work / "first" / self.cell.key.replace(" ", "-")
        self.work.mkdir(parents=True, exist_ok=True)
        self.logs = results.path.resolve().with_suffix(".logs")
        self.logs.mkdir(parents=True, exist_ok=True)
        self._builds: dict[str, Build] = {}
        self._deadline = time.monotonic() + options.minutes * 60 - END_SECS

    @property
    def steps(self) -> dict[str, dict]:
        """What every step has found, by its name."""
        return self._results.first.get("steps", {})

    @property
    def left_secs(self) -> float:
        return self._deadline - time.monotonic()

    def log(self, name: str) -> Path:
        return self.logs / f"{name.replace(' ', '-')}.log"

    @property
    def heads(self) -> Path:
        return self.work / "heads"

    def engine(self, name: str) -> Path:
        return self.work / name.replace(" ", "-")

    def has_engine(self, name: str) -> bool:
        return (self.engine(name) / "manifest.json").is_file()

    def start_build(self, name: str, arguments: list[str], env: dict[str, str] | None = None) -> Build:
        """Begins to build the engine `name`, unless that has begun already."""
        if name not in self._builds:
            cell = self.cell
            always = ["--model", f"random:{cell.model}", "--size", cell.size, "--batch", str(cell.batch)]
            always += ["--precision", cell.precision, "--device", cell.device]
            log = self.log(f"build {name}")
            self._builds[name] = Build(always + arguments, self.engine(name), log, env or {})
        return self._builds[name]

    def await_builds(self, until: float):
        """Nothing is measured beside a build."""
        for build in self._builds.values():
            build.wait(until)

    def run(self, steps: list[Step], identity: dict):
        """Every step that has not been done by the same node on the same machine."""
        first = self._results.first
        if first.get("identity") != identity or self.options.again:
            # Another node's engines and heads are no longer of use.
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir(parents=True)
            first.clear()
            first.update(
                {"identity": identity, "cell": vars(self.cell), "floor": self.cell.floor(), "steps": {}}
            )
        with ended_by_signals():
            try:
                for step in steps:
                    if self.steps.get(step.name, {}).get("outcome") == "done":
                        self.tell(f"{step.name}: is in {self._results.path} already")
                        continue
                    first["steps"][step.name] = found = {}
                    self._run(step, found)
                    self._results.write()
            except KeyboardInterrupt:
                self.tell("stopped")
                self._results.write()
            finally:
                for build in self._builds.values():
                    build.end()

    def _run(self, step: Step, found: dict):
        started = time.monotonic()
        # As long as nothing else is known.
        found.update(outcome="failed", reason="it was stopped")
        try:
            if step.needs_gpu and not self.is_gpu:
                raise Skipped("it needs a GPU")
            if self.left_secs < step.least_secs:
                raise Skipped(
                    f"it takes {step.least_secs:.0f} s or more, {max(0, self.left_secs):.0f} s are left"
                )
            self.tell(f"{step.name}: begins")
            step.work(self, found, min(self._deadline, started + step.most_secs))
            found["outcome"] = "done"
            del found["reason"]
        except Skipped as why:
            found.update(outcome="skipped", reason=str(why))
        except StepFailed as err:
            found["reason"] = str(err)
        except Exception as err:
            # Whatever it is, the other steps go on.
            found["reason"] = one_line(f"{type(err).__name__}: {err}")
        found["secs"] = time.monotonic() - started
        because = f": {found['reason']}" if "reason" in found else ""
        self.tell(f"{step.name}: {found['outcome']}{because}")


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM, which `timeout` sends, is what Ctrl-C is."""

    def stop(_signal, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
