"""The steps of the first run on a GPU, most important first."""

import json
import os
import random
import re
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import machine
from cell import MODELS
from first import FirstRun, Skipped, Step
from processes import BINARY, Command, StepFailed, Worker
from run import PYTHON_CONTENDERS

PACK = Path(__file__).resolve().parents[2]
NATIVE, DEPRIORITIZED, AUTOTUNED = "native", "without cuDNN attention", "max-autotune"
TINY = PACK / "pixio-tiny"
# Has torch pass over cuDNN's attention, where it is traced and where it runs.
NO_CUDNN = {"TORCH_CUDNN_SDPA_DEPRIORITIZED": "1"}
# Where the GPU tests leave the engine that they build.
TESTED_ENGINE = Path(tempfile.gettempdir()) / "pixio-gpu-tests"
FRAMES = 200


def facts(run: FirstRun, found: dict, until: float):
    """What the machine is, before anything can go wrong on it."""
    found.update(machine.facts())
    if run.is_gpu:
        run.log("nvidia-smi").write_text(machine.said_by(["nvidia-smi", "-q"]) + "\n")
        if not found["gpu"]:
            raise StepFailed("nvidia-smi names no GPU")


def heads(run: FirstRun, found: dict, until: float):
    """Head files of the model's width."""
    command = [str(Path(__file__).with_name("make_heads.py")), run.cell.model, str(run.heads)]
    finish(Command(command, run.log("heads"), program=sys.executable), until)
    found["mb"] = {file.stem: file.stat().st_size / 1e6 for file in sorted(run.heads.glob("*.safetensors"))}


def tests(run: FirstRun, found: dict, until: float):
    """The tests that need a GPU, beside the build."""
    build_native(run)
    run_tests(run, found, until, "tests", lambda test: "full" not in test)


def full_memory(run: FirstRun, found: dict, until: float):
    """The test that leaves no memory to anybody else."""
    run_tests(run, found, until, "full memory", lambda test: "full" in test)


def run_tests(run: FirstRun, found: dict, until: float, name: str, is_wanted: Callable[[str], bool]):
    listed = re.findall(
        r"^(gpu::\w+): test$", machine.said_by([str(PACK / "gpu-tests"), "--list"]), re.MULTILINE
    )
    which = [test for test in listed if is_wanted(test)]
    if not which:
        raise StepFailed("gpu-tests names no such test")
    env = {"PIXIO_GPU_TESTS": "1", "PIXIO_TINY": str(PACK / "pixio-tiny"), "PYTHON": sys.executable}
    log = run.log(name)
    command = [*which, "--exact", "--nocapture", "--test-threads=1"]
    try:
        finish(Command(command, log, program=PACK / "gpu-tests", env=env), until)
    finally:
        found.update(tested(log.read_text(errors="replace")))


def tested(said: str) -> dict:
    """What the test binary has told. Its own words stand between a test's name and its outcome."""
    names = re.findall(r"^test (\S+) \.\.\.", said, re.MULTILINE)
    summary = re.search(r"test result: \w+\. (\d+) passed; (\d+) failed", said)
    failed = re.findall(r"^    (\S+)$", said.rpartition("\nfailures:\n")[2], re.MULTILINE) if summary else []
    found = {"n_begun": len(names), "failed": failed, "last": names[-1] if names else None}
    found["n_passed"] = int(summary[1]) if summary else max(0, len(names) - 1)
    found["panics"] = re.findall(r"panicked at (.*(?:\n.*)?)", said)
    # A recording that fails is no failure of a test, and is what is to be found.
    found["no_graph"] = sorted(set(re.findall(r".*no CUDA graph for.*", said)))
    return found


def build_native(run: FirstRun):
    if not run.has_engine(NATIVE):
        run.start_build(NATIVE, head_options(run))


def head_options(run: FirstRun) -> list[str]:
    """The head files that there are."""
    files = [(task, run.heads / f"{task}.safetensors") for task in ("depth", "segmentation")]
    return [word for task, file in files if file.exists() for word in (f"--{task}-head", str(file))]


def native(run: FirstRun, found: dict, until: float):
    """The engine of the model and its heads, made here."""
    build_native(run)
    await_engine(run, found, until, NATIVE, head_options(run))


def await_engine(run: FirstRun, found: dict, until: float, name: str, arguments: list[str]):
    if not run.has_engine(name):
        build = run.start_build(name, arguments)
        build.finish(until)
        found["build_secs"] = build.secs
    found["packages"] = proven(run.engine(name))


def proven(folder: Path) -> dict:
    """How well each package agreed with the reference, and its times, from the engine's manifest."""
    packages = json.loads((folder / "manifest.json").read_text())["packages"]
    return {
        package["file"]: {
            "cosine": min((parity["cosine"] for parity in package["parity"]), default=None),
            "largest_difference": max(
                (parity["largest_difference"] for parity in package["parity"]), default=None
            ),
            "times": package["times"],
        }
        for package in packages
    }


def frames(run: FirstRun, found: dict, until: float):
    """Forward passes and the frame path without heads."""
    bench(run, found, until, "frames", ["eager", *engines(run, NATIVE)])


def frames_with_heads(run: FirstRun, found: dict, until: float):
    options = head_options(run)
    if not options:
        raise Skipped("there are no head files")
    bench(run, found, until, "frames with heads", ["eager", *engines(run, NATIVE)], options)


def engines(run: FirstRun, *names: str) -> list[str]:
    return [str(run.engine(name)) for name in names if run.has_engine(name)]


def bench(
    run: FirstRun,
    found: dict,
    until: float,
    name: str,
    which: list[str],
    options: list[str] | None = None,
    *,
    model: str | None = None,
    size: str | None = None,
    image: str = "1280x720",
    env: dict[str, str] | None = None,
):
    """`pixio_node bench` of some engines in turn; those that fail leave the others."""
    cell, out = run.cell, run.log(name).with_suffix(".json")
    out.unlink(missing_ok=True)
    arguments = ["bench", "--model", model or f"random:{cell.model}", "--size", size or cell.size]
    arguments += ["--device", cell.device, "--precision", cell.precision, "--engine", ",".join(which)]
    arguments += ["--batch", "1", "--frames", str(min(FRAMES, run.options.runs)), "--image", image]
    try:
        finish(Command([*arguments, "--json", str(out), *(options or [])], run.log(name), env=env), until)
    except StepFailed:
        # What it could not measure stands beside what it could.
        if not out.exists():
            raise
    report = json.loads(out.read_text())
    found["engines"] = [entry for entry in report["engines"] if "error" not in entry]
    found["errors"] = {entry["engine"]: entry["error"] for entry in report["engines"] if "error" in entry}
    if found["errors"]:
        raise StepFailed("; ".join(found["errors"].values()))


def compiled_elsewhere(run: FirstRun, found: dict, until: float):
    """Engines that another machine has compiled: each is proven, and timed beside the native one."""
    folders = sorted(file.parent for file in (PACK / "cross").glob("*/manifest.json"))
    if not folders:
        raise Skipped("the pack has no folder cross/")
    reasons = []
    for folder in folders:
        manifest = json.loads((folder / "manifest.json").read_text())
        model = model_of(manifest["architecture"])
        found[folder.name] = entry = {"model": model}
        beside = engines(run, NATIVE) if model == f"random:{run.cell.model}" else []
        size = manifest["packages"][0]["size"]
        try:
            if model is None:
                raise StepFailed("its architecture is that of no model of this benchmark")
            name = f"compiled elsewhere {folder.name}"
            # What the proof at start finds is logged for those who look closely.
            options, which = ["--log-level", "debug"], ["eager", *beside, str(folder)]
            bench(run, entry, until, name, which, options, model=model, size=size)
        except StepFailed as err:
            entry["reason"] = str(err)
            reasons.append(f"{folder.name}: {err}")
        if model is not None:
            said = run.log(name).read_text(errors="replace")
            # Of several engines it is loaded last.
            entry["cosine"] = next(map(float, re.findall(r"backbone\S*: cosine ([\d.]+)", said)[::-1]), None)
    if reasons:
        raise StepFailed("; ".join(reasons))


def model_of(architecture: dict) -> str | None:
    """The model that an engine of this architecture is timed with."""
    shape = architecture["hidden_size"], architecture["num_hidden_layers"]
    tiny = json.loads((TINY / "config.json").read_text())
    if shape == (tiny["hidden_size"], tiny["num_hidden_layers"]):
        return str(TINY)
    return next((f"random:{name}" for name, about in MODELS.items() if about[:2] == shape), None)


def contenders(run: FirstRun, found: dict, until: float):
    """transformers as it is and compiled for graphs; an engine is built while they get ready."""
    if run.is_gpu and run.left_secs > 150 and not run.has_engine(DEPRIORITIZED):
        start_deprioritized(run)
    race(run, found, until, ["transformers eager", "torch.compile reduce-overhead"])


def autotuned_contender(run: FirstRun, found: dict, until: float):
    race(run, found, until, ["torch.compile max-autotune"])


def race(run: FirstRun, found: dict, until: float, names: list[str]):
    cell, workers, reasons = run.cell, {}, []
    found["contenders"], found["load_secs"] = {}, {}

    def attempt(name: str, order: Callable[[], dict]) -> dict | None:
        try:
            return order()
        except StepFailed as err:
            reasons.append(f"{name}: {err}")
            workers.pop(name).end()
            return None

    try:
        for name in names:
            workers[name] = Worker(name, run.logs)
            what = dict(model=cell.model, size=cell.width_height, batch=cell.batch, device=cell.device)
            workers[name].order("load", **what, precision=cell.precision, mode=PYTHON_CONTENDERS[name])
        for name in names:
            if said := attempt(name, lambda: workers[name].answer(until)):
                found["load_secs"][name] = said["secs"]
        run.await_builds(until)
        n_rounds = min(2, run.options.rounds)
        for _ in range(n_rounds):
            for name in random.sample(list(workers), len(workers)):
                workers[name].order("measure", n_runs=-(-run.options.runs // n_rounds))
                if said := attempt(name, lambda: workers[name].answer(until)):
                    found["contenders"].setdefault(name, []).append(said)
    finally:
        for worker in workers.values():
            worker.end()
    if reasons:
        raise StepFailed("; ".join(reasons))


def start_deprioritized(run: FirstRun):
    run.start_build(DEPRIORITIZED, [], NO_CUDNN)


def deprioritized(run: FirstRun, found: dict, until: float):
    """The same engine with flash attention instead of cuDNN's."""
    if not run.has_engine(DEPRIORITIZED):
        start_deprioritized(run)
    await_engine(run, found, until, DEPRIORITIZED, [])
    bench(run, found, until, DEPRIORITIZED, ["eager", *engines(run, NATIVE, DEPRIORITIZED)], env=NO_CUDNN)


def autotuned(run: FirstRun, found: dict, until: float):
    """The same engine with autotuned products."""
    await_engine(run, found, until, AUTOTUNED, ["--max-autotune"])
    bench(run, found, until, AUTOTUNED, ["eager", *engines(run, NATIVE, AUTOTUNED)])


def starts(run: FirstRun, found: dict, until: float):
    """How long it takes from nothing to the first frame: twice, for the second finds what the first left."""
    image, out = run.work / "grey.png", run.work / "infer"
    write_png(image, 640, 480)
    for name in ("eager", *engines(run, NATIVE)):
        found[Path(name).name] = secs = []
        for turn in (1, 2):
            started, cell = time.monotonic(), run.cell
            arguments = ["infer", "--model", f"random:{cell.model}", "--size", cell.size, "--engine", name]
            arguments += ["--device", cell.device, "--precision", cell.precision]
            arguments += ["--image", str(image), "--out", str(out)]
            # A cache that the first start finds empty.
            env = {"XDG_CACHE_HOME": str(run.work / f"cache of {Path(name).name}")}
            finish(Command(arguments, run.log(f"start {Path(name).name} {turn}"), env=env), until)
            secs.append(time.monotonic() - started)


def write_png(file: Path, width: int, height: int):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes((x * 255 // width + y) % 256 for x in range(width)) for y in range(height))
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + image)


def cameras(run: FirstRun, found: dict, until: float):
    """Four cameras against one."""
    options = ["--cameras", "front,left,right,rear"]
    bench(run, found, until, "four cameras", ["eager"], options, image="640x480")


def memcheck(run: FirstRun, found: dict, until: float):
    """compute-sanitizer on a small bench: pinned memory, streams, graphs and, where the tests have built it,
    a compiled engine. Races between streams are not seen by it."""
    tool = Path("/usr/local/cuda/bin/compute-sanitizer")
    places = [Path(folder, tool.name) for folder in os.environ.get("PATH", "").split(":")]
    tool = next((file for file in [*places, tool] if os.access(file, os.X_OK)), None)
    if tool is None:
        raise Skipped("there is no compute-sanitizer on PATH or in /usr/local/cuda/bin")
    which = ["eager"] + ([str(TESTED_ENGINE)] if (TESTED_ENGINE / "manifest.json").is_file() else [])
    log = run.log("memcheck")
    arguments = ["--tool", "memcheck", "--target-processes", "application-only", str(BINARY), "bench"]
    arguments += ["--model", "random:tiny", "--size", "256x256", "--device", run.cell.device]
    arguments += ["--precision", "bfloat16", "--engine", ",".join(which), "--frames", "3"]
    try:
        finish(Command(arguments, log, program=tool), until)
    finally:
        said = log.read_text(errors="replace")
        found["summary"] = re.findall(r"ERROR SUMMARY: .*", said)[-1:]
        found["errors"] = re.findall(
            r"^========= (?:Invalid|Program hit|Leaked|Error).*", said, re.MULTILINE
        )[:20]
    if found["summary"] != ["ERROR SUMMARY: 0 errors"]:
        raise StepFailed("; ".join(found["summary"] or ["it says no summary"]))


def finish(command: Command, until: float):
    try:
        command.finish(until)
    finally:
        command.end()


STEPS = [
    Step("machine", 0, 60, facts),
    Step("heads", 20, 60, heads),
    Step("tests", 60, 240, tests, needs_gpu=True),
    Step("build", 30, 300, native),
    Step("full memory", 20, 60, full_memory, needs_gpu=True),
    Step("frames", 20, 90, frames),
    Step("frames with heads", 30, 90, frames_with_heads),
    Step("compiled elsewhere", 20, 90, compiled_elsewhere),
    Step("contenders", 45, 180, contenders),
    Step("without cuDNN attention", 30, 180, deprioritized, needs_gpu=True),
    Step("starts", 20, 60, starts),
    Step("max-autotune", 90, 240, autotuned),
    Step("four cameras", 20, 60, cameras),
    Step("torch.compile max-autotune", 90, 300, autotuned_contender),
    Step("memcheck", 30, 120, memcheck, needs_gpu=True),
]
