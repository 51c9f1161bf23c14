"""One cell of bench-gpu: its engine is built, every contender gets ready, then they take turns."""

import argparse
import json
import math
import random
import shutil
import sys
import time

from cell import Cell
from contender import one_line
from processes import Command, StepFailed, Worker

PYTHON_CONTENDERS = {
    "transformers eager": None,
    "torch.compile reduce-overhead": "reduce-overhead",
    "torch.compile max-autotune": "max-autotune",
}
AUTOTUNED = "torch.compile max-autotune"


class Run:
    """One cell from the build of its engine to its figures. `deadline` is on the monotonic clock."""

    def __init__(self, cell: Cell, options: argparse.Namespace, autotune: bool, deadline: float, tell):
        self._cell, self._options, self._autotune, self._deadline, self._tell = (
            cell,
            options,
            autotune,
            deadline,
            tell,
        )
        self._work = options.work / cell.key.replace(" ", "-")
        self._work.mkdir(parents=True, exist_ok=True)
        self._engines = ["eager"]
        self._workers: dict[str, Worker] = {}
        # What the rounds, which come last, are left.
        self._ready_by = deadline - min(150, (deadline - time.monotonic()) / 3)
        self.found = {
            "cell": vars(cell),
            "floor": cell.floor(),
            "complete": False,
            "failed": {},
            "contenders": {},
        }

    def run(self, save):
        """Everything, calling `save` whenever there are new figures."""
        started = time.monotonic()
        try:
            self._get_ready()
            self.found["ready_secs"] = time.monotonic() - started
            for turn in range(self._options.rounds):
                self._tell(f"{self._cell.key}: round {turn + 1} of {self._options.rounds}")
                self._round()
                save()
            self.found["complete"] = bool(self.found["contenders"])
        finally:
            for worker in self._workers.values():
                worker.end()
            self.found["secs"] = time.monotonic() - started
            save()

    def _get_ready(self):
        build = self._start_build()
        try:
            self._load_workers([name for name in PYTHON_CONTENDERS if name != AUTOTUNED])
            self._attempt("build", lambda: self._finish_build(build))
        finally:
            build.end()
        if self._autotune:
            started = time.monotonic()
            self._load_workers([AUTOTUNED])
            self.found["max_autotune_secs"] = time.monotonic() - started

    def _attempt(self, name: str, step):
        """The outcome of a step, or None when it failed, which is noted."""
        try:
            return step()
        except StepFailed as err:
            self._tell(f"{self._cell.key}: {name} failed: {err}")
            self.found["failed"].setdefault(name, str(err))
            return None

    def _start_build(self) -> Command:
        cell = self._cell
        self._tell(f"{cell.key}: building the engine")
        self._engine = self._work / "engine"
        shutil.rmtree(self._engine, ignore_errors=True)
        self._build_started = time.monotonic()
        return Command(
            [
                "build",
                "--model",
                f"random:{cell.model}",
                "--size",
                cell.size,
                "--batch",
                str(cell.batch),
                "--precision",
                cell.precision,
                "--device",
                cell.device,
                "--out",
                str(self._engine),
                "--python",
                sys.executable,
            ],
            self._work / "build.log",
        )

    def _finish_build(self, build: Command):
        build.finish(self._ready_by)
        self.found["build_secs"] = time.monotonic() - self._build_started
        self._engines.append(str(self._engine))

    def _load_workers(self, names: list[str]):
        """Starts Python contenders beside each other and keeps those that get ready."""
        cell = self._cell
        for name in names:
            self._tell(f"{cell.key}: {name} gets ready")
            self._workers[name] = Worker(name, self._work)
            self._workers[name].order(
                "load",
                model=cell.model,
                size=cell.width_height,
                batch=cell.batch,
                device=cell.device,
                precision=cell.precision,
                mode=PYTHON_CONTENDERS[name],
            )
        for name in names:
            if said := self._attempt(name, lambda: self._workers[name].answer(self._ready_by)):
                self.found["device_name"] = said["device_name"]
                self.found.setdefault("load_secs", {})[name] = said["secs"]
            else:
                self._workers.pop(name).end()

    def _round(self):
        turns = ["pixio_node", *self._workers]
        random.shuffle(turns)
        n_runs = math.ceil(self._options.runs / self._options.rounds)
        for name in turns:
            if name == "pixio_node":
                self._turn_of_pixio_node(n_runs)
            else:
                self._turn_of_python(name, n_runs)

    def _turn_of_python(self, name: str, n_runs: int):
        worker = self._workers[name]
        worker.order("measure", n_runs=n_runs)
        if said := self._attempt(name, lambda: worker.answer(self._deadline)):
            self._keep(name, said)
        else:
            self._workers.pop(name).end()

    def _turn_of_pixio_node(self, n_runs: int):
        """All engines in one process, which goes on without those that fail."""
        for engine in self._attempt("pixio_node", lambda: self._bench(n_runs)) or []:
            if "error" in engine:
                name = "pixio_node eager" if engine["engine"] == "eager" else "pixio_node compiled"
                self.found["failed"].setdefault(name, one_line(engine["error"]))
            else:
                self._keep(f"pixio_node {engine['kind']}", engine)

    def _bench(self, n_runs: int) -> list[dict]:
        cell, out = self._cell, self._work / "bench.json"
        out.unlink(missing_ok=True)
        command = Command(
            [
                "bench",
                "--model",
                f"random:{cell.model}",
                "--size",
                cell.size,
                "--device",
                cell.device,
                "--precision",
                cell.precision,
                "--engine",
                ",".join(self._engines),
                "--batch",
                str(cell.batch),
                "--frames",
                str(n_runs),
                "--image",
                "1280x720",
                "--json",
                str(out),
            ],
            self._work / "bench.log",
        )
        try:
            command.finish(self._deadline)
        except StepFailed:
            # What it could not measure stands beside what it could.
            if not out.exists():
                raise
        finally:
            command.end()
        return json.loads(out.read_text())["engines"]

    def _keep(self, name: str, figures: dict):
        self.found["contenders"].setdefault(name, []).append(figures)
