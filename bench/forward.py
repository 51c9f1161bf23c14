"""Compares forward passes on this CPU: pixio_node, transformers, torch.compile and ONNX Runtime. Started by
scripts/bench.

One frame of 256x256, float32 and int8, random weights. Contenders take turns in random order, round after
round, with the same number of threads and passive waiting: the Python ones in processes that stay, pixio_node
in a short `pixio_node bench` for each turn. Every turn has passes that are not counted first. A figure is the
median over the rounds of a turn's median wall time, or of its median CPU time (all threads of the process),
which depends less on what else runs here. A ratio is the median of the rounds' own, to the better one of
transformers and torch.compile. pixio_node gets uint8 frames and normalises them, the others get normalised
pixels. int8 is pixio_node's int8 engine and ONNX Runtime's dynamic quantisation, int8 weights in both.
--quick takes about two minutes, everything about six, of which two build engines.

What cannot be measured becomes a line with its reason.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from node_process import BINARY, ROOT, end_with_parent, run
from waiting import LONG_SECS

from .forward_workers import MODELS, SIDE, environment, one_line, threads

CACHE = ROOT / "target" / "peers"
TORCH_CONTENDERS = ("transformers", "torch.compile")
PRECISIONS = {"pixio_node eager": "float32", "pixio_node compiled": "float32", "pixio_node int8": "int8"}
# How pixio_node begins the line that says why it ends.
ERROR = re.compile(r"error: |\[ERROR\] \[[\d.]+\] \[\w+\]: ")
COLUMNS = "{:22}{:>9}{:>9}{:>14}{:>14}  {}"


class Failed(Exception):
    """Why something could not be measured, in one line."""


def reason(said: subprocess.CompletedProcess) -> str:
    """Why pixio_node ended, from its last words."""
    if said.returncode < 0:
        return f"it was ended by {signal.Signals(-said.returncode).name}"
    lines = [line.strip() for line in said.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.match(line)]
    return ERROR.sub("", (errors or lines or [f"exit status {said.returncode}"])[-1])[:200]


class Worker:
    """A Python contender; its standard error goes to a file of the cache."""

    def __init__(self, kind: str, name: str):
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / f"forward-{name.replace(' ', '-')}.log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.forward_workers", kind],
                env=os.environ | environment(),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=end_with_parent,
            )
        self._log = log.name

    def __call__(self, do: str, **order) -> dict:
        """Has an order carried out. The process ends on its own errors, and so does this wait."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do} | order) + "\n")
            self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise Failed(f"its process ended, see {self._log}")
        said = json.loads(line)
        if "error" in said:
            raise Failed(said["error"])
        return said

    def end(self):
        self._process.kill()
        self._process.wait()


class Python:
    """A contender in a worker."""

    def __init__(self, name: str, kind: str, **load):
        self._worker = Worker(kind, name)
        try:
            self._worker("load", **load)
            # The first pass of torch.compile is the compilation.
            self._worker("measure", n_runs=1)
        except Failed:
            self._worker.end()
            raise

    def turn(self, n_runs: int) -> dict:
        return self._worker("measure", n_runs=n_runs)

    def end(self):
        self._worker.end()


class Ours:
    """One engine of pixio_node."""

    def __init__(self, name: str, model: str):
        self._model, self._precision = model, PRECISIONS[name]
        self._engine = "eager" if name == "pixio_node eager" else engine(model, self._precision)
        self.turn(1)

    def turn(self, n_runs: int) -> dict:
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            said = run(
                "bench",
                "--model",
                f"random:{self._model}",
                "--size",
                f"{SIDE}x{SIDE}",
                "--device",
                "cpu",
                "--precision",
                self._precision,
                "--engine",
                self._engine,
                "--batch",
                1,
                "--frames",
                n_runs,
                "--image",
                "640x480",
                "--threads",
                threads(),
                "--json",
                out.name,
                patience_secs=LONG_SECS,
                **environment(),
            )
            if said.returncode:
                raise Failed(reason(said))
            figures = json.loads(Path(out.name).read_text())["engines"][0]
        return {"wall_ms": figures["forward"]["p50"], "cpu_ms": figures["forward_cpu_ms"]}

    def end(self):
        """Its process ended with the turn."""


def engine(model: str, precision: str) -> Path:
    """An engine folder, built anew whenever pixio_node is."""
    folder = CACHE / "engines" / f"{model}-{precision}"
    manifest = folder / "manifest.json"
    if manifest.exists() and manifest.stat().st_mtime >= BINARY.stat().st_mtime:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    said = run(
        "build",
        "--model",
        f"random:{model}",
        "--size",
        f"{SIDE}x{SIDE}",
        "--batch",
        1,
        "--precision",
        precision,
        "--device",
        "cpu",
        "--out",
        folder,
        "--python",
        sys.executable,
        patience_secs=LONG_SECS,
        **environment(),
    )
    if said.returncode:
        raise Failed(reason(said))
    return folder


def exported(model: str) -> Path:
    """A folder with model.onnx and int8.onnx, made once for each set of versions."""
    try:
        versions = [
            importlib.metadata.version(name)
            for name in ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
        ]
    except importlib.metadata.PackageNotFoundError as err:
        raise Failed(f"{err.name} is not installed") from err
    key = sha256(json.dumps([versions, MODELS[model], SIDE]).encode()).hexdigest()[:16]
    folder = CACHE / "onnx" / f"{model}-{key}"
    if not folder.exists():
        part = Path(f"{folder}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        worker = Worker("export", "export")
        try:
            worker("export", model=model, folder=str(part))
        finally:
            worker.end()
        part.rename(folder)
    return folder


def contenders(model: str) -> dict:
    """Name to a function that gets it ready."""
    return {
        "transformers": lambda name: Python(name, "transformers", model=model, compiled=False),
        "torch.compile": lambda name: Python(name, "transformers", model=model, compiled=True),
        "ONNX Runtime": lambda name: Python(name, "onnx", path=str(exported(model) / "model.onnx")),
        "ONNX Runtime int8": lambda name: Python(name, "onnx", path=str(exported(model) / "int8.onnx")),
    } | {name: lambda name: Ours(name, model) for name in PRECISIONS}


def compare(model: str, n_rounds: int, n_runs: int, tell) -> tuple[dict[str, list[dict]], dict[str, str]]:
    """Figures of every turn, and the reasons of those that have none."""
    ready, rows, failed = {}, {}, {}

    def attempt(name: str, step):
        try:
            return step()
        except (Failed, OSError, subprocess.TimeoutExpired) as err:
            failed[name] = one_line(str(err))
            tell(f"{name} failed: {failed[name]}")
            return None

    try:
        for name, start in contenders(model).items():
            tell(f"{model}: {name} gets ready")
            if contender := attempt(name, lambda: start(name)):
                ready[name], rows[name] = contender, []
        for turn in range(n_rounds):
            tell(f"{model}: round {turn + 1} of {n_rounds}")
            for name in random.sample(sorted(ready), len(ready)):
                if figures := attempt(name, lambda: ready[name].turn(n_runs)):
                    rows[name].append(figures)
                else:
                    ready.pop(name).end()
    finally:
        for contender in ready.values():
            contender.end()
    return {name: figures for name, figures in rows.items() if figures}, failed


def ratio(rows: dict[str, list[dict]], name: str, key: str) -> float | None:
    """To the better torch contender; within a round, because the machine's load changes from round to
    round."""
    ratios = [
        statistics.median(ours[key] / theirs[key] for ours, theirs in zip(rows[name], rows[other]))
        for other in TORCH_CONTENDERS
        if other in rows
    ]
    return max(ratios, default=None)


def summary(rows: dict[str, list[dict]]) -> dict[str, dict]:
    """What is printed of each contender."""
    return {
        name: {key: statistics.median(turn[key] for turn in turns) for key in ("wall_ms", "cpu_ms")}
        | {"wall_ratio": ratio(rows, name, "wall_ms"), "cpu_ratio": ratio(rows, name, "cpu_ms")}
        for name, turns in rows.items()
    }


def table(model: str, rows: dict[str, list[dict]], failed: dict[str, str], n_rounds: int, n_runs: int) -> str:
    lines = [
        (
            f"forward pass of {model}, {SIDE}x{SIDE}, one frame, {threads()} threads, {n_rounds} rounds "
            f"of {n_runs} passes"
        ),
        COLUMNS.format("ms", "wall", "CPU", "wall / torch", "CPU / torch", "wall of each round"),
    ]
    for name, figures in sorted(summary(rows).items(), key=lambda item: ("int8" in item[0], item[0])):
        ratios = (
            "-" if figures[key] is None else f"{figures[key]:.2f}" for key in ("wall_ratio", "cpu_ratio")
        )
        each = " ".join(f"{turn['wall_ms']:.1f}" for turn in rows[name])
        lines.append(
            COLUMNS.format(name, f"{figures['wall_ms']:.1f}", f"{figures['cpu_ms']:.1f}", *ratios, each)
        )
    lines += [f"{name:22}not measured: {why}" for name, why in failed.items()]
    return "\n".join(
        [
            *lines,
            "float32 but for the int8 rows; torch is the better one of " + " and ".join(TORCH_CONTENDERS),
        ]
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the tiny model, two rounds")
    parser.add_argument("--rounds", type=int, help="turns of each contender (default 5)")
    parser.add_argument(
        "--runs", type=int, help="measured passes of a turn (default 6, of the tiny model 60)"
    )
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    model = "tiny" if options.quick else "vitb16"
    n_rounds, n_runs = (
        options.rounds or (2 if options.quick else 5),
        options.runs or (60 if options.quick else 6),
    )
    started = time.monotonic()

    def tell(text: str):
        print(f"[{time.monotonic() - started:4.0f} s] {text}", file=sys.stderr, flush=True)

    rows, failed = compare(model, n_rounds, n_runs, tell)
    print(table(model, rows, failed, n_rounds, n_runs))
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    "model": model,
                    "threads": threads(),
                    "turns": rows,
                    "failed": failed,
                    "summary": summary(rows),
                },
                indent=1,
            )
        )
    sys.exit(0 if rows else 1)


if __name__ == "__main__":
    main()
