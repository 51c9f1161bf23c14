"""Times pixio_node's engines against transformers and torch.compile, cell by cell. Start it by bench-gpu.

A cell is a model, an input size and a batch size. Its engine is built, every contender gets ready in a process of its own,
and then they take turns in random order, one at a time, each warmed up anew. A figure is the median over the rounds of that
round's percentile. The Python contenders' processes stay and wait between their turns; `pixio_node bench` starts anew and
times all of its engines in one turn. While the engine is built, the Python contenders without autotuning load and compile.

What fails becomes a line with its reason, and the rest goes on. Figures are written after every round; a cell that was
interrupted is run again the next time.
"""

import argparse
import contextlib
import ctypes
import importlib.metadata
import itertools
import json
import math
import os
import random
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
BINARY = Path(os.environ.get("PIXIO_NODE", FOLDER / "pixio_node"))
PATCH = 16
N_CLS = 8
# Hidden size, blocks, heads.
MODELS = {"tiny": (192, 4, 3), "vitb16": (768, 12, 12), "vitl16": (1024, 24, 16), "vith16": (1280, 32, 16)}
# Models vary fastest, so that a run that is cut short has seen all of them.
CELLS = list(itertools.product(("256x256", "512x384"), (1, 4), ("vith16", "vitl16", "vitb16")))
# What an H100 was measured to do: bf16 matrix products and reading of device memory.
FLOPS_PER_SEC = 790e12
BYTES_PER_SEC = 3e12
# Cards lower their clocks when idle.
WARM_SECS = 0.5
LONGEST_CELL_SECS = 480
EXPECTED_CELL_SECS = 240
PYTHON_CONTENDERS = {"transformers eager": None, "torch.compile reduce-overhead": "reduce-overhead",
                     "torch.compile max-autotune": "max-autotune"}
AUTOTUNED = "torch.compile max-autotune"
# How pixio_node begins the line that says why it ends.
ERROR = re.compile(r"error: |\[ERROR\] \[[\d.]+\] \[\w+\]: ")
COLUMNS = "{:31}{:>9}{:>9}{:>8}{:>10}{:>10}{:>10}{:>8}{:>6}  {}"


@dataclass(frozen=True)
class Cell:
    """What one table is about. `size` is WIDTHxHEIGHT."""

    model: str
    size: str
    batch: int
    device: str
    precision: str

    @property
    def key(self) -> str:
        return f"{self.model} {self.size} batch {self.batch} {self.precision} {self.device.partition(':')[0]}"

    @property
    def width_height(self) -> tuple[int, int]:
        width, height = map(int, self.size.split("x"))
        return width, height

    def floor(self) -> dict:
        """The least time by arithmetic and by reading the weights: `2 (L (12 N D^2 + 2 N^2 D) + 768 P D)` a frame."""
        hidden, n_blocks, _ = MODELS[self.model]
        width, height = self.width_height
        n_patches = (width // PATCH) * (height // PATCH)
        n_tokens = n_patches + N_CLS
        blocks = n_blocks * (12 * n_tokens * hidden**2 + 2 * n_tokens**2 * hidden)
        flops = self.batch * 2 * (blocks + 3 * PATCH**2 * n_patches * hidden)
        n_weights = n_blocks * (12 * hidden**2 + 13 * hidden) + hidden * (3 * PATCH**2 + 256 + 2 * N_CLS + 3)
        times = flops / FLOPS_PER_SEC * 1e3, 2 * n_weights / BYTES_PER_SEC * 1e3
        return {"gflop": flops / 1e9, "weights_mb": 2 * n_weights / 1e6, "flops_ms": times[0], "weights_ms": times[1],
                "ms": max(times)}


class StepFailed(Exception):
    """A step of a cell that did not work out, with the reason in one line."""


# The Python contenders: each in a process of its own, told on standard input what to do, a JSON object a line.


def percentiles(millis: list[float]) -> dict:
    import numpy as np
    p50, p95, p99 = np.percentile(millis, [50, 95, 99])
    return {"n": len(millis), "p50": p50, "p95": p95, "p99": p99}


class PythonContender:
    """transformers' PixioModel with random weights, as it is or compiled."""

    def load(self, model: str, size: list[int], batch: int, device: str, precision: str, mode: str | None) -> dict:
        """Makes the model and has it compiled, which the first passes do."""
        import torch
        from transformers import PixioConfig, PixioModel
        started = time.monotonic()
        self._torch, self._device, self._cuda = torch, torch.device(device), device.startswith("cuda")
        if self._cuda:
            torch.cuda.set_device(self._device)
        self._hidden, n_blocks, n_heads = MODELS[model]
        config = PixioConfig(hidden_size=self._hidden, num_hidden_layers=n_blocks, num_attention_heads=n_heads,
                             attn_implementation="sdpa")
        self._dtype = getattr(torch, precision)
        torch.manual_seed(0)
        with torch.device(self._device):
            network = PixioModel(config)
        network = network.to(self._dtype).eval()
        self._model = torch.compile(network, mode=mode) if mode else network
        self._make_inputs(batch, *size)
        # With CUDA graphs the first pass compiles, the second records, the third replays.
        for _ in range(4):
            self._host_to_host()
        if self._cuda:
            # What float32 weights and autotuning took does not count.
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
        name = torch.cuda.get_device_name(self._device) if self._cuda else "CPU"
        return {"secs": time.monotonic() - started, "device_name": name}

    def _make_inputs(self, batch: int, width: int, height: int):
        torch = self._torch
        self._frames = torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8)
        n_patches = (width // PATCH) * (height // PATCH)
        self._features = torch.empty(batch, n_patches, self._hidden, dtype=torch.float16)
        if self._cuda:
            self._frames, self._features = self._frames.pin_memory(), self._features.pin_memory()
        self._mean = torch.tensor([0.485, 0.456, 0.406], device=self._device).view(3, 1, 1) * 255
        self._deviation = torch.tensor([0.229, 0.224, 0.225], device=self._device).view(3, 1, 1) * 255
        self._pixels = self._normalised(self._frames.to(self._device))

    def _normalised(self, frames):
        pixels = (frames.permute(0, 3, 1, 2).float() - self._mean) / self._deviation
        return pixels.to(self._dtype).contiguous()

    def _forward(self, pixels):
        # Tells CUDA graphs that the outputs of the pass before are no longer needed.
        self._torch.compiler.cudagraph_mark_step_begin()
        with self._torch.inference_mode():
            return self._model(pixel_values=pixels).last_hidden_state

    def _host_to_host(self):
        tokens = self._forward(self._normalised(self._frames.to(self._device, non_blocking=True)))
        self._features.copy_(tokens[:, N_CLS:].half(), non_blocking=True)
        self._synchronise()

    def _synchronise(self):
        if self._cuda:
            self._torch.cuda.synchronize(self._device)

    def _warm(self):
        until, n_passes = time.monotonic() + WARM_SECS, 0
        while n_passes < 5 or time.monotonic() < until:
            self._host_to_host()
            n_passes += 1

    def measure(self, n_runs: int) -> dict:
        """One turn: single passes, then whole ways from host memory to host memory."""
        self._warm()
        forward, device, host = [], [], []
        cpu = time.process_time()
        for _ in range(n_runs):
            wall_millis, device_millis = self._timed_pass()
            forward.append(wall_millis)
            device.append(device_millis)
        cpu_millis = (time.process_time() - cpu) / n_runs * 1e3
        for _ in range(n_runs):
            started = time.perf_counter()
            self._host_to_host()
            host.append((time.perf_counter() - started) * 1e3)
        memory = self._torch.cuda.max_memory_reserved(self._device) / 1e6 if self._cuda else None
        return {"forward": percentiles(forward), "forward_cpu_ms": cpu_millis, "host_ms": percentiles(host),
                "device_ms": percentiles(device) if self._cuda else None, "gpu_memory_mb": memory}

    def _timed_pass(self) -> tuple[float, float | None]:
        """Wall time of a synchronised pass and, on CUDA, the time between two events around it."""
        events = [self._torch.cuda.Event(enable_timing=True) for _ in range(2)] if self._cuda else []
        started = time.perf_counter()
        if self._cuda:
            events[0].record()
        self._forward(self._pixels)
        if self._cuda:
            events[1].record()
        self._synchronise()
        wall_millis = (time.perf_counter() - started) * 1e3
        return wall_millis, events[0].elapsed_time(events[1]) if self._cuda else None


def serve_contender():
    """Carries out orders until standard input ends."""
    # Compilers print to standard output too.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contender = PythonContender()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            said = getattr(contender, order.pop("do"))(**order)
        except Exception as err:
            said = {"error": one_line(f"{type(err).__name__}: {err}")}
        print(json.dumps(said), file=answers, flush=True)


# The side that gives the orders.


def one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else "no reason given"


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
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
                                           start_new_session=True, preexec_fn=end_with_parent)

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()


class Worker(Process):
    """A Python contender."""

    def __init__(self, name: str, work: Path):
        super().__init__([sys.executable, str(Path(__file__).resolve()), "--contender"], work / f"{name.replace(' ', '-')}.log")

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
    """A pixio_node that runs to its end; both its outputs go to the log."""

    def __init__(self, arguments: list[str], log: Path):
        self._log = log
        with log.open("w") as said:
            self._child = subprocess.Popen([str(BINARY), *arguments], stdin=subprocess.DEVNULL, stdout=said,
                                           stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=end_with_parent)

    def finish(self, until: float):
        try:
            code = self._child.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.end()
            raise StepFailed("it took longer than there was time") from None
        if code:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
            raise StepFailed(f"{how}: {last_words(self._log)}")


class Run:
    """One cell from the build of its engine to its figures. `deadline` is on the monotonic clock."""

    def __init__(self, cell: Cell, options: argparse.Namespace, autotune: bool, deadline: float, tell):
        self._cell, self._options, self._autotune, self._deadline, self._tell = cell, options, autotune, deadline, tell
        self._work = options.work / cell.key.replace(" ", "-")
        self._work.mkdir(parents=True, exist_ok=True)
        self._engines = ["eager"]
        self._workers: dict[str, Worker] = {}
        # What the rounds, which come last, are left.
        self._ready_by = deadline - min(150, (deadline - time.monotonic()) / 3)
        self.found = {"cell": vars(cell), "floor": cell.floor(), "complete": False, "failed": {}, "contenders": {}}

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
        return Command(["build", "--model", f"random:{cell.model}", "--size", cell.size, "--batch", str(cell.batch),
                        "--precision", cell.precision, "--device", cell.device, "--out", str(self._engine),
                        "--python", sys.executable], self._work / "build.log")

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
            self._workers[name].order("load", model=cell.model, size=cell.width_height, batch=cell.batch, device=cell.device,
                                      precision=cell.precision, mode=PYTHON_CONTENDERS[name])
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
        command = Command(["bench", "--model", f"random:{cell.model}", "--size", cell.size, "--device", cell.device,
                           "--precision", cell.precision, "--engine", ",".join(self._engines), "--batch", str(cell.batch),
                           "--frames", str(n_runs), "--picture", "1280x720", "--json", str(out)], self._work / "bench.log")
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


# From rounds to a table.


def median(rounds: list[dict], group: str, figure: str) -> float:
    """Median over the rounds; NaN where there is no such figure."""
    found = [figures[group][figure] for figures in rounds if figures.get(group)]
    return statistics.median(found) if found else math.nan


def pass_group(rounds: list[dict]) -> str:
    """Which time of a pass counts: the device's where it was taken."""
    return "device_ms" if rounds[0].get("device_ms") else "forward"


def row(name: str, rounds: list[dict], batch: int, floor_ms: float) -> str:
    group = pass_group(rounds)
    p50 = median(rounds, group, "p50")
    each = "  ".join(f"{figures[group]['p50']:.3f}" for figures in rounds)
    host_ms = median(rounds, "host_ms", "p50")
    memory = [figures["gpu_memory_mb"] for figures in rounds if figures.get("gpu_memory_mb")]
    ratio = f"{p50 / floor_ms:.2f}" if group == "device_ms" else "-"
    return COLUMNS.format(name, f"{p50:.3f}", f"{median(rounds, group, 'p99'):.3f}", ratio,
                          f"{host_ms:.3f}", f"{median(rounds, 'host_ms', 'p99'):.3f}", f"{batch * 1e3 / host_ms:.1f}",
                          f"{max(memory):.0f}" if memory else "-",
                          sum(figures[group]["n"] for figures in rounds), each)


def fastest(found: dict, prefixes: tuple[str, ...]) -> tuple[str, float] | None:
    medians = {name: median(rounds, pass_group(rounds), "p50") for name, rounds in found["contenders"].items()
               if name.startswith(prefixes)}
    return min(medians.items(), key=lambda item: item[1]) if medians else None


def table(found: dict) -> str:
    cell, floor, machine = found["cell"], found["floor"], found["machine"]
    lines = [f"\n{cell['model']} {cell['size']}, batch {cell['batch']}, {cell['precision']}"
             f" on {found.get('device_name', cell['device'])}, driver {machine['driver']}, torch {machine['torch']}",
             f"floor of an H100 {floor['ms']:.3f} ms: {floor['gflop']:.1f} GFLOP at 790 TFLOP/s take"
             f" {floor['flops_ms']:.3f} ms, {floor['weights_mb']:.0f} MB of bf16 weights at 3 TB/s"
             f" {floor['weights_ms']:.3f} ms",
             COLUMNS.format("ms", "p50", "p99", "x floor", "host p50", "host p99", "frames/s", "GPU MB", "runs",
                            "p50 of each round")]
    lines += [row(name, rounds, cell["batch"], floor["ms"]) for name, rounds in sorted(found["contenders"].items())]
    lines += [f"{name:31}failed: {reason}" for name, reason in found["failed"].items()]
    ours, theirs = fastest(found, ("pixio_node",)), fastest(found, ("transformers", "torch.compile"))
    if ours and theirs:
        lines.append(f"{ours[0]} / {theirs[0]} = {ours[1] / theirs[1]:.3f}")
    return "\n".join(lines)


FOOTNOTES = """
p50 and p99: one synchronised forward pass of a batch, by CUDA events (on a CPU by the wall clock), input on the device:
uint8 frames for pixio_node, normalised pixel values in the model's precision for the others, who are spared that step.
The host's work between the events counts: launching kernels or a graph, and in Python the way to there.
host: uint8 frames of the model's size in host memory to float16 patch features in host memory, whole batch.
frames/s: such batches one after the other, by their p50.
GPU MB: the most that PyTorch's allocator reserved in the process, without the CUDA context.
Weights are random. transformers' compiled graph resizes the position embedding in every pass; eager does beside 256x256."""


def nvidia_driver() -> str:
    try:
        said = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True,
                              text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return one_line(said.stdout) if said.returncode == 0 else "none"


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def torch_version() -> str:
    # The wheel's metadata lacks the part after the plus sign.
    code = "import torch; print(torch.__version__)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() or version("torch")


class Results:
    """The JSON file with every cell that was run."""

    def __init__(self, path: Path):
        self._path = path
        self.cells = json.loads(path.read_text())["cells"] if path.exists() else {}

    def keep(self, key: str, found: dict):
        self.cells[key] = found
        part = self._path.with_name(self._path.name + ".part")
        part.write_text(json.dumps({"cells": self.cells}, indent=1) + "\n")
        part.replace(self._path)

    def has(self, cell: Cell) -> bool:
        return self.cells.get(cell.key, {}).get("complete", False)

    def expected_secs(self) -> float:
        """The longest that a cell has taken, autotuning aside."""
        known = [found["secs"] - found.get("max_autotune_secs", 0) for found in self.cells.values() if found["complete"]]
        return max(known, default=EXPECTED_CELL_SECS)


def wanted(options: argparse.Namespace) -> Iterator[Cell]:
    cells = CELLS if options.all else [(options.size, options.batch, options.model)]
    for size, batch, model in cells:
        yield Cell(model, size, batch, options.device, options.precision)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-gpu", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="bench-gpu --tests runs the tests that need a GPU instead.")
    parser.add_argument("--model", choices=MODELS, default="vith16")
    parser.add_argument("--size", default="256x256", help="WIDTHxHEIGHT of the model's input (default 256x256)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="ViT-H, L and B in 256x256 and 512x384, batch 1 and 4")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no cell that would not fit")
    parser.add_argument("--again", action="store_true", help="run cells that are in the file too")
    parser.add_argument("--json", type=Path, default=Path("results.json"), help="read and added to (results.json)")
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or cpu, where times are taken by the wall clock")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16", "float16"], default="auto")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender (default 3)")
    parser.add_argument("--runs", type=int, default=200, help="measured passes of each contender (default 200)")
    parser.add_argument("--max-autotune", action="store_true", help="in every cell, not only in ViT-H 256x256 batch 1")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "pixio-bench-gpu", help="engines and logs")
    options = parser.parse_args(arguments)
    if options.precision == "auto":
        options.precision = "float32" if options.device == "cpu" else "bfloat16"
    return options


def main():
    options = parse(sys.argv[1:])
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(options.work / "inductor")
    os.environ["HF_HUB_OFFLINE"] = "1"
    started = time.monotonic()

    def tell(text: str):
        print(f"[{time.monotonic() - started:4.0f} s] {text}", file=sys.stderr, flush=True)

    results, n_failed = Results(options.json), 0
    machine = {"driver": nvidia_driver(), "torch": torch_version(), "transformers": version("transformers"),
               "triton": version("triton"), "python": sys.version.split()[0]}
    for cell in wanted(options):
        if results.has(cell) and not options.again:
            tell(f"{cell.key} is in {options.json} already")
            print(table(results.cells[cell.key]), flush=True)
            continue
        autotune = options.max_autotune or (cell.model, cell.size, cell.batch) == ("vith16", "256x256", 1)
        left_secs = options.minutes * 60 - (time.monotonic() - started)
        expected_secs = LONGEST_CELL_SECS if autotune else results.expected_secs()
        if options.all and left_secs < expected_secs:
            tell(f"{cell.key} would not fit: about {expected_secs:.0f} s, {max(left_secs, 0):.0f} s are left")
            break
        run = Run(cell, options, autotune, time.monotonic() + min(left_secs, LONGEST_CELL_SECS), tell)
        run.found["machine"] = machine
        run.run(lambda: results.keep(cell.key, run.found))
        print(table(run.found), flush=True)
        n_failed += len(run.found["failed"])
    print(FOOTNOTES)
    sys.exit(1 if n_failed else 0)


if __name__ == "__main__":
    serve_contender() if sys.argv[1:] == ["--contender"] else main()
