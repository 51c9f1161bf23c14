"""Compiled engines as a user meets them: built, served, swapped in while images come, and refused."""

import json
import os
import re
import shutil
from pathlib import Path

import compile_once
import head_files
import offline
import pytest
from engine_runs import MODEL, SIZE, build, build_once, infer
from node_process import run
from safetensors.numpy import load_file


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Path:
    """An engine of random:tiny in a cache folder: CACHE/engines/NAME."""
    cache = tmp_path_factory.mktemp("engines")
    done = build_once("--engine-cache", cache)
    assert done.returncode == 0, done.stderr
    [folder] = (cache / "engines").iterdir()
    assert f"engine: {folder}" in done.stdout and "backbone-64x64.pt2" in done.stdout, done.stdout
    return folder


def test_infer_gives_the_same_with_an_engine_and_without(tmp_path, engine):
    tokens = {}
    for name, options in (
        ("eager", ("--engine", "eager")),
        ("folder", ("--engine", engine)),
        ("auto", ("--engine-cache", engine.parents[1])),
    ):
        folder = tmp_path / name
        folder.mkdir()
        done, tokens[name] = infer(folder, *options)
        assert done.returncode == 0, done.stderr
        assert ("engine compiled from" in done.stderr) == (name != "eager"), done.stderr
    for name in ("folder", "auto"):
        assert 0 < offline.largest_difference(tokens[name], tokens["eager"]) <= 1e-5, name


@pytest.fixture(scope="module")
def heads(tmp_path_factory) -> tuple:
    """Options that give the node both heads."""
    folder = tmp_path_factory.mktemp("heads")
    return (
        "--depth-head",
        head_files.write(folder / "depth.safetensors", "depth"),
        "--segmentation-head",
        head_files.write(folder / "segmentation.safetensors", "segmentation", head="linear"),
    )


@pytest.fixture(scope="module")
def engine_with_heads(tmp_path_factory, heads) -> Path:
    out = tmp_path_factory.mktemp("engine") / "with-heads"
    done = build_once(*heads, "--out", out)
    assert done.returncode == 0, done.stderr
    assert all(
        re.search(rf"^{part}-64x64\.pt2 +1 +(1\.0|0\.9999)", done.stdout, re.MULTILINE)
        for part in ("depth", "segmentation")
    ), done.stdout
    return out


def written(tmp_path, *options: str) -> tuple[str, dict]:
    """What `infer` says and writes about a photograph."""
    tmp_path.mkdir()
    done, _ = infer(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    return done.stderr, load_file(tmp_path / "out" / "coffee.safetensors")


# Its work on an image is that of the eager model and of eight products of 1024 x 1024 matrices: hundreds of
# times as much.
SLOW = """#!/bin/sh
cat >> "$(dirname "$1")/pixio_engine/model.py" <<'END'


quickly = Pixio.forward


def forward(self, images):
    tokens = quickly(self, images)
    wide = tokens[0][:1, :1, :1].expand(1, 1024, 1024)[0].contiguous()
    for _ in range(8):
        wide = torch.tanh(wide @ wide)
    return tuple(tap + 1e-30 * wide.mean() for tap in tokens)


Pixio.forward = forward
END
exec {python} "$@"
"""
FIGURES = (
    r"slower than eager execution on this machine: compiled [\d.]+ m?s, "
    r"eager [\d.]+ m?s for one image of 64x64"
)


@pytest.fixture(scope="module")
def slow_engine(tmp_path_factory) -> Path:
    """An engine that is right and slow on every machine, in a cache folder."""
    cache = tmp_path_factory.mktemp("slow")
    compiler = cache / "slow-python"
    compiler.write_text(SLOW.replace("{python}", str(compile_once.program())))
    compiler.chmod(0o755)
    done = build("--batch", "1", "--engine-cache", cache, "--python", compiler)
    assert done.returncode == 0, done.stderr
    # The build says it at once.
    assert re.search(FIGURES, done.stderr), done.stderr
    assert "batch of 1: proving it against the eager model" in done.stdout, done.stdout
    assert re.search(
        r"^backbone-64x64\.pt2, batch of 1: compiled [\d.]+ m?s, eager [\d.]+ m?s$", done.stdout, re.MULTILINE
    ), done.stdout
    [folder] = (cache / "engines").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    [times] = manifest["packages"][0]["times"]
    assert (
        manifest["machine"]["name"] and 2 < times["ratio"] and 0 < times["eager_ms"] < times["engine_ms"]
    ), manifest
    return folder


def test_an_engine_that_is_slower_than_the_eager_model_does_not_serve_under_auto(tmp_path, slow_engine):
    done, tokens = infer(tmp_path, "--engine-cache", slow_engine.parents[1])
    warned = [line for line in done.stderr.splitlines() if "WARN" in line and str(slow_engine) in line]
    assert done.returncode == 0 and tokens is not None and "engine eager" in done.stderr, done.stderr
    assert len(warned) == 1 and re.search(FIGURES, warned[0]), done.stderr
    # To build it again would not help.
    assert "compiles one" not in done.stderr, done.stderr
    done = run("check", *MODEL, "--engine-cache", slow_engine.parents[1])
    assert re.search(f"engine +fell back to eager: .*{FIGURES}", done.stdout), done.stdout


def test_a_slow_engine_serves_who_names_it_and_says_so(tmp_path, slow_engine):
    done, tokens = infer(tmp_path, "--engine", slow_engine)
    assert done.returncode == 0 and tokens is not None, done.stderr
    warned = [
        line for line in done.stderr.splitlines() if "WARN" in line and "because `engine` names it" in line
    ]
    assert len(warned) == 1 and re.search(FIGURES, warned[0]), done.stderr


def test_an_int8_engine_is_named_after_the_kernel_that_was_measured(tmp_path):
    done = build_once("--precision", "int8", "--batch", "1", "--engine-cache", tmp_path)
    assert done.returncode == 0, done.stderr
    said = re.search(
        r"^int8 kernel for 24 tokens, CPU time of a block's products: (\w+) (over )?[\d.]+ ms",
        done.stdout,
        re.MULTILINE,
    )
    [folder] = (tmp_path / "engines").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert said and manifest["int8_kernel"] == said[1] and f"-int8-{said[1]}-cpu-" in folder.name, done.stdout
    done, tokens = infer(tmp_path, "--precision", "int8", "--engine", folder)
    assert done.returncode == 0 and tokens is not None, done.stderr


def test_heads_are_compiled_beside_the_backbone_and_give_the_same(tmp_path, engine_with_heads, heads):
    said, compiled = written(tmp_path / "compiled", "--engine", engine_with_heads, *heads)
    assert all(f"{task} compiled, from {engine_with_heads}" in said for task in ("depth", "segmentation")), (
        said
    )
    said, eager = written(tmp_path / "eager", "--engine", "eager", *heads)
    assert "compiled" not in said, said
    assert offline.largest_difference(compiled["depth"], eager["depth"]) < 1e-4
    assert offline.labels_agree(compiled["labels"], eager["labels"])


def test_a_head_on_several_blocks_and_places_is_compiled_and_gives_the_same(tmp_path):
    head = head_files.write(tmp_path / "head.safetensors", "depth", head="taps")
    out = tmp_path / "engine"
    done = build_once("--depth-head", head, "--out", out)
    assert done.returncode == 0, done.stderr
    said, compiled = written(tmp_path / "compiled", "--engine", out, "--depth-head", head)
    assert f"depth compiled, from {out}" in said, said
    _, eager = written(tmp_path / "eager", "--engine", "eager", "--depth-head", head)
    assert offline.largest_difference(compiled["depth"], eager["depth"]) < 1e-4


def test_bench_measures_heads_as_the_engine_runs_them(tmp_path, engine_with_heads, heads):
    file = tmp_path / "figures.json"
    done = run(
        "bench",
        *MODEL,
        *heads,
        "--engine",
        f"eager,{engine_with_heads}",
        "--frames",
        "3",
        "--image",
        "320x240",
        "--json",
        file,
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"compiled, from {engine_with_heads}") == 2, done.stderr
    assert [
        [head["name"] for head in one["heads"]] for one in json.loads(file.read_text())["engines"]
    ] == 2 * [["depth", "segmentation"]]


def test_an_engine_without_the_head_runs_it_eagerly_and_says_so(tmp_path, engine_with_heads, heads):
    other = head_files.write(tmp_path / "other.safetensors", "depth", head="linear")
    said, _ = written(tmp_path / "other", "--engine", engine_with_heads, "--depth-head", other)
    assert "depth runs eagerly" in said and "--depth-head" in said, said


def test_a_spoilt_package_of_a_head_is_refused_and_auto_runs_it_eagerly(tmp_path, engine_with_heads, heads):
    cache = tmp_path / "cache"
    folder = cache / "engines" / "spoilt"
    shutil.copytree(engine_with_heads, folder)
    with (folder / "depth-64x64.pt2").open("ab") as file:
        file.write(b"!")
    done, tokens = infer(tmp_path, "--engine", folder, *heads)
    errors = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert done.returncode == 2 and tokens is None and len(errors) == 1 and "depth-64x64.pt2" in errors[0], (
        done.stderr
    )
    done, tokens = infer(tmp_path, "--engine-cache", cache, *heads)
    assert done.returncode == 0 and tokens is not None, done.stderr
    assert "depth runs eagerly: " in done.stderr and "segmentation compiled" in done.stderr, done.stderr


def test_bench_puts_engines_side_by_side(tmp_path, engine):
    file = tmp_path / "figures.json"
    done = run(
        "bench",
        *MODEL,
        "--engine",
        f"eager,{engine}",
        "--frames",
        "5",
        "--batch",
        "2",
        "--image",
        "320x240",
        "--json",
        file,
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    assert [(one["engine"], one["kind"]) for one in figures["engines"]] == [
        ("eager", "eager"),
        (str(engine), "compiled"),
    ]
    assert figures["batch"] == 2
    for one in figures["engines"]:
        assert (
            one["forward"]["n"] == 5
            and "spans_ms" not in one
            and one["device_ms"] is one["gpu_memory_mb"] is None
        )
        assert 0 < one["forward"]["p50"] and 0 < one["host_ms"]["p95"] and 0 < one["forward_cpu_ms"]
        assert re.search(rf"^{one['kind']} +\d", done.stdout, re.MULTILINE), done.stdout


def test_bench_measures_what_it_can(tmp_path, engine):
    file = tmp_path / "figures.json"
    done = run(
        "bench",
        *MODEL,
        "--engine",
        f"eager,{tmp_path / 'none'}",
        "--frames",
        "2",
        "--image",
        "320x240",
        "--json",
        file,
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert done.returncode == 1 and f"engine {tmp_path / 'none'}: " in done.stderr, done.stderr
    measured, missing = json.loads(file.read_text())["engines"]
    assert measured["kind"] == "eager" and "No such file" in missing["error"]


def spoil(engine: Path, tmp_path: Path, how) -> Path:
    """A copy of the engine's cache in which `how` has changed the engine's folder."""
    cache = tmp_path / "spoilt"
    copy = cache / "engines" / engine.name
    shutil.copytree(engine, copy)
    how(copy)
    return copy


def rewrite(folder: Path, old: str, new: str):
    manifest = folder / "manifest.json"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))


def truncate(folder: Path):
    os.truncate(folder / f"backbone-{SIZE}.pt2", 1000)


# how an engine is spoilt, what the error must name
SPOILT = {
    "truncated": (truncate, [f"backbone-{SIZE}.pt2", "build the engine again"]),
    "half written": (lambda folder: (folder / "manifest.json").unlink(), ["manifest.json", "no engine"]),
    "newer": (lambda folder: rewrite(folder, '"format": 3', '"format": 7'), ["format 7", "newer"]),
    "older": (lambda folder: rewrite(folder, '"format": 3', '"format": 2'), ["format 2", "older"]),
    "another torch": (lambda folder: rewrite(folder, '"2.11.0"', '"2.99.0"'), ["2.99.0", "2.11.0"]),
    "another architecture": (
        lambda folder: rewrite(folder, '"hidden_size": 192', '"hidden_size": 384'),
        ["384", "192"],
    ),
    "another GPU": (
        lambda folder: rewrite(folder, '"kind": "cpu"', '"kind": "cuda", "capability": "9.0"'),
        ["compute capability 9.0", "CPU"],
    ),
    "open to others": (lambda folder: folder.chmod(0o777), ["written by others", "chmod go-w"]),
    "missing": (shutil.rmtree, ["No such file", "pixio_node build"]),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_engine_is_refused_and_auto_goes_on_without_it(tmp_path, engine, how):
    spoilt, names = SPOILT[how][0], SPOILT[how][1]
    folder = spoil(engine, tmp_path, spoilt)
    done, tokens = infer(tmp_path, "--engine", folder)
    errors = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert done.returncode == 2 and tokens is None and len(errors) == 1, done.stderr
    assert str(folder) in errors[0] and all(name in errors[0] for name in names), errors[0]
    done, tokens = infer(tmp_path, "--engine-cache", folder.parents[1])
    assert done.returncode == 0 and tokens is not None and "engine eager" in done.stderr, done.stderr


def test_a_folder_that_belongs_to_somebody_else_is_refused(tmp_path, engine):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder = spoil(engine, tmp_path, lambda folder: os.chown(folder, 12345, 12345))
    done, _ = infer(tmp_path, "--engine", folder)
    assert done.returncode == 2 and "belongs to user 12345" in done.stderr, done.stderr
