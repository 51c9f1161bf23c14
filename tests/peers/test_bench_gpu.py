"""bench-gpu's first run: what it keeps, what it leaves out and what it says. No figure is judged, and no
engine is built."""

import json
import os
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from node_process import BINARY, ROOT
from waiting import PATIENCE_SECS

PROGRAMS = ROOT / "bench" / "gpu"
SAID = """
running 2 tests
test gpu::replays ... WARN no CUDA graph for 256x256: it cannot be recorded
ok
test gpu::memory ...
thread 'gpu::memory' panicked at tests/it/gpu.rs:7:5:
12 bytes more
FAILED

failures:

failures:
    gpu::memory

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 69 filtered out; finished in 0.01s
"""


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAMS)
    monkeypatch.setenv("PIXIO_NODE", str(BINARY))


def first_run(folder: Path, steps: list, identity: str = "this node") -> dict:
    """What the file holds after `steps`."""
    from first import FirstRun
    from results import Results

    about = dict(model="tiny", size="256x256", batch=1, device="cpu", precision="float32")
    options = Namespace(**about, minutes=60, again=False, work=folder / "work")
    run = FirstRun(options, Results(folder / "results.json"), lambda _text: None)
    run.run(steps, {"node": identity})
    return json.loads((folder / "results.json").read_text())["first"]


def test_what_fails_or_does_not_fit_is_a_line_and_the_rest_goes_on(tmp_path):
    import first_table
    from first import Skipped, Step
    from processes import StepFailed

    def fails(_run, found, _until):
        found["seen"] = 1
        raise StepFailed("the reason")

    def skips(_run, _found, _until):
        raise Skipped("nothing to do")

    first = first_run(
        tmp_path,
        [
            Step("failing", 0, 1, fails),
            Step("broken", 0, 1, lambda _run, found, _until: found["missing"]),
            Step("skipping", 0, 1, skips),
            Step("long", 1e9, 1e9, fails),
            Step("gpu", 0, 1, fails, needs_gpu=True),
            Step("good", 0, 1, lambda _run, found, _until: found.update(seen=2)),
        ],
    )
    outcomes = {name: (found["outcome"], found.get("reason")) for name, found in first["steps"].items()}
    long = outcomes.pop("long")
    assert outcomes == {
        "failing": ("failed", "the reason"),
        "broken": ("failed", "KeyError: 'missing'"),
        "skipping": ("skipped", "nothing to do"),
        "gpu": ("skipped", "it needs a GPU"),
        "good": ("done", None),
    }
    assert long[0] == "skipped" and "are left" in long[1], long
    assert first["steps"]["failing"]["seen"] == 1 and first["steps"]["good"]["seen"] == 2
    table = first_table.table(first)
    assert "failing: failed: the reason" in table and "gpu: skipped: it needs a GPU" in table, table


def test_a_step_that_is_done_is_done_once_by_the_same_node(tmp_path):
    from first import Step

    calls = []
    steps = [Step("good", 0, 1, lambda _run, _found, _until: calls.append(1))]
    for identity, n_calls in [("one", 1), ("one", 1), ("another", 2)]:
        first_run(tmp_path, steps, identity)
        assert len(calls) == n_calls, identity


def test_a_run_that_is_stopped_keeps_what_was_done(tmp_path):
    from first import Step

    def stopped(_run, _found, _until):
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    first = first_run(
        tmp_path,
        [
            Step("good", 0, 1, lambda _run, _found, _until: None),
            Step("stopped", 0, 1, stopped),
            Step("never", 0, 1, stopped),
        ],
    )
    assert [found["outcome"] for found in first["steps"].values()] == ["done", "failed"]
    assert first["steps"]["stopped"]["reason"] == "it was stopped"


def test_the_outcome_of_the_gpu_tests_is_read():
    from steps import tested

    found = tested(SAID)
    assert (found["n_passed"], found["failed"], found["last"]) == (1, ["gpu::memory"], "gpu::memory"), found
    assert "12 bytes more" in found["panics"][0] and "no CUDA graph for 256x256" in found["no_graph"][0]
    cut_short = tested(SAID.partition("FAILED")[0])
    assert (cut_short["n_passed"], cut_short["failed"], cut_short["last"]) == (1, [], "gpu::memory")


def test_the_table_has_the_ratios(tmp_path):
    import first_table

    def engine(name: str, kind: str, device_ms: float, **more) -> dict:
        def spread(millis: float) -> dict:
            return {"n": 5, "p50": millis, "p95": millis, "p99": millis}

        figures = {"device_ms": device_ms, "forward": device_ms + 0.5, "host_ms": device_ms + 0.75}
        return {"engine": name, "kind": kind} | {key: spread(ms) for key, ms in figures.items()} | more

    graph = engine("/work/native", "compiled + graph", 2.0, gpu_memory_mb=1500.0, waits=1.0)
    contender = engine("", "", 4.0)
    first = {
        "cell": {
            "model": "vith16",
            "size": "256x256",
            "batch": 1,
            "precision": "bfloat16",
            "device": "cuda:0",
        },
        "floor": {"ms": 0.5},
        "steps": {
            "build": {
                "outcome": "done",
                "build_secs": 90.0,
                "packages": {
                    "backbone-256x256-batch1.pt2": {"cosine": 0.9998, "largest_difference": 0.02, "times": []}
                },
            },
            "frames": {"outcome": "done", "engines": [engine("eager", "eager", 8.0), graph]},
            "contenders": {"outcome": "done", "contenders": {"torch.compile reduce-overhead": [contender]}},
        },
    }
    table = first_table.table(first)
    row = next(line for line in table.splitlines() if line.startswith("compiled + graph native"))
    figures = " ".join(row.split()[4:])
    assert figures == "2.000 2.000 4.00 0.50 0.500 0.250 2.750 - 1 1500 0.9998000", row
    assert "build: the engine was built in 90 s" in table


def test_a_run_without_time_says_what_it_left_out_and_what_the_file_is_for(tmp_path):
    """As it is started by bench-gpu, with no time for anything but a look at the machine."""
    command = [
        sys.executable,
        PROGRAMS / "main.py",
        "--device",
        "cpu",
        "--model",
        "tiny",
        "--minutes",
        "0.09",
    ]
    done = subprocess.run(
        [*command, "--json", tmp_path / "results.json", "--work", tmp_path / "work"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
    )
    steps = json.loads((tmp_path / "results.json").read_text())["first"]["steps"]
    assert done.returncode == 0 and len(steps) == 15, done.stdout + done.stderr
    assert {found["outcome"] for name, found in steps.items() if name != "machine"} == {"skipped"}
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"keep {tmp_path / 'results.json'}: "), last


def test_random_heads_fit_their_model(tmp_path):
    command = [sys.executable, PROGRAMS / "make_heads.py", "tiny", tmp_path]
    subprocess.run(command, check=True, timeout=PATIENCE_SECS)
    options = [f"--{task}-head={tmp_path / task}.safetensors" for task in ("depth", "segmentation")]
    check = [BINARY, "bench", "--model", "random:tiny", "--frames", "1", "--engine", "eager", *options]
    done = subprocess.run(check, capture_output=True, text=True, timeout=PATIENCE_SECS)
    assert done.returncode == 0 and "segmentation" in done.stdout, done.stderr
