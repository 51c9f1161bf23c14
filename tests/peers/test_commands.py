"""The commands beside the node: what check, bench and infer print and write, and their exit codes."""

import contextlib
import itertools
import json
import os
import re
import subprocess

import images
import numpy as np
import pytest
from cameras import Camera, Cameras
from node_process import BINARY, end_with_parent, environment, run
from PIL import Image as Pillow
from safetensors.numpy import load_file
from waiting import until

PHOTOGRAPH = images.photograph("coffee", 320, 240)
RATE_HZ = 20
SPANS = {"fit", "wait", "forward", "heads", "publish", "total", "age"}


def check(tmp_path, topic: str, *options, model: str = "random:tiny"):
    """`check` behind the camera `topic`: its exit code, its rows as {what: (verdict, detail)}, and all that
    it said."""
    done = run(
        "check",
        "--model",
        model,
        "--device",
        "cpu",
        *options,
        "--ros-args",
        "-r",
        f"image:={topic}",
        XDG_CACHE_HOME=str(tmp_path),
    )
    rows = {line[6:24].strip(): (line[:5].strip(), line[25:]) for line in done.stdout.splitlines()}
    return done.returncode, rows, done.stdout + done.stderr


def test_check_passes_without_a_camera_and_says_so(tmp_path):
    code, rows, said = check(tmp_path, "/nobody/image_raw")
    assert code == 0, said
    verdict, detail = rows.pop("camera")
    assert verdict == "WARN" and "/nobody/image_raw" in detail, said
    # The machine's own setting decides.
    rows.pop("receive buffers")
    assert {what: verdict for what, (verdict, _) in rows.items()} == dict.fromkeys(
        ["model", "engine", "PCA basis", "frame path", "environment", "network", "transport", "node"], "ok"
    ), said
    assert "pixio_node build --model random:tiny" in rows["engine"][1], said
    assert "random:tiny" in rows["model"][1] and "16x16" in rows["frame path"][1], said


def test_on_a_terminal_check_shows_its_rows_and_what_is_wrong(tmp_path):
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [BINARY, "check", "--model", "random:tiny", "--device", "cpu", "--ros-args", "-r", "image:=/nobody"],
        env=environment(XDG_CACHE_HOME=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=end_with_parent,
    )
    os.close(theirs)
    shown = b""
    # A terminal whose other end is closed is an error to read.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 1 << 16):
            shown += piece
    os.close(ours)
    lines = shown.decode().splitlines()
    assert process.wait() == 0, lines
    rows = [line for line in lines if re.match(r"(ok|WARN|FAIL) ", line)]
    assert len(rows) > 6 and not [line for line in lines if "[INFO]" in line], lines


def check_hears(tmp_path, topic: str, *options, verdict: str):
    """`check` as above, again until it gives this verdict of the camera: the two may meet later than it
    listens."""

    def checked():
        code, rows, said = check(tmp_path, topic, *options)
        return rows["camera"][0] == verdict and (code, rows["camera"][1], said)

    return until(checked, f"a check that finds the camera {verdict}")


def test_check_tells_the_rate_of_the_camera(peer, tmp_path):
    feed = Camera("/checked/image_raw", PHOTOGRAPH, RATE_HZ)
    with Cameras(peer, [feed]):
        code, detail, said = check_hears(tmp_path, feed.topic, verdict="ok")
    assert code == 0, said
    told_hz = float(re.search(r"([\d.]+) Hz", detail)[1])
    sent_hz = (len(feed.stamps) - 1) / (feed.stamps[-1] - feed.stamps[0]) * 1e9
    # Of a few frames in three seconds, of which some may have come late together.
    assert sent_hz / 4 < told_hz < sent_hz * 4, said


def test_check_names_the_cure_for_a_camera_that_offers_less(peer, tmp_path):
    with Cameras(peer, [Camera("/lossy/image_raw", PHOTOGRAPH, RATE_HZ, reliable=False)]):
        code, detail, said = check_hears(
            tmp_path, "/lossy/image_raw", "--image-reliability", "reliable", verdict="FAIL"
        )
    assert code == 1, said
    assert "/lossy/image_raw" in detail and "image_reliability:=best_effort" in detail, said


def test_check_fails_over_a_model_that_does_not_exist(tmp_path):
    code, rows, said = check(tmp_path, "/nobody/image_raw", model="random:enormous")
    assert code == 1 and rows["model"][0] == "FAIL" and "enormous" in rows["model"][1], said


def test_check_fails_over_a_statistics_file_that_cannot_be_written(tmp_path):
    code, rows, said = check(tmp_path, "/nobody/image_raw", "--stats-file", "/nonexistent/x.jsonl")
    assert code == 1 and rows["reports"][0] == "FAIL" and "/nonexistent/x.jsonl" in rows["reports"][1], said


def test_bench_measures_every_span_and_the_rate(tmp_path):
    file = tmp_path / "figures.json"
    done = run(
        "bench",
        "--model",
        "random:tiny",
        "--device",
        "cpu",
        "--frames",
        "5",
        "--image",
        "320x240",
        "--json",
        file,
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    assert (figures["frames"], figures["image"], figures["size"]) == (5, [320, 240], [256, 256])
    [engine] = figures["engines"]
    assert engine["kind"] == "eager" and set(engine["spans_ms"]) == SPANS
    for name, span in engine["spans_ms"].items():
        assert span["n"] == 5, (name, span)
        assert 0 < span["p50"] <= span["p95"] <= span["p99"], (name, span)
        assert name in done.stdout
    assert engine["spans_ms"]["forward"]["p50"] < engine["spans_ms"]["total"]["p50"]
    assert engine["frames_per_second_at_saturation"] > 0


def infer(tmp_path, files, *options):
    """`infer` into the folder `out`."""
    return run(
        "infer",
        "--model",
        "random:tiny",
        "--device",
        "cpu",
        "--image",
        *files,
        "--out",
        tmp_path / "out",
        *options,
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )


def written(tmp_path) -> set[str]:
    """Names of the files in `out`, if there is one."""
    return {path.name for path in tmp_path.glob("out/*")}


@pytest.fixture
def two_images(tmp_path):
    files = [tmp_path / "coffee.png", tmp_path / "rocket.jpg"]
    for file in files:
        kind = "PNG" if file.suffix == ".png" else "JPEG"
        file.write_bytes(images.file_bytes(images.photograph(file.stem), kind))
    return files


def test_infer_writes_tokens_and_colours(tmp_path, two_images):
    done = infer(tmp_path, two_images)
    assert done.returncode == 0, done.stderr
    names = [file.stem for file in two_images]
    assert written(tmp_path) == {f"{name}{end}" for name in names for end in (".safetensors", ".pca.png")}
    colours = []
    for name in names:
        tensors = load_file(tmp_path / "out" / f"{name}.safetensors")
        assert {key: tensor.shape for key, tensor in tensors.items()} == {
            "patch_tokens": (16, 16, 192),
            "class_tokens": (8, 192),
            "pooled": (192,),
        }
        with Pillow.open(tmp_path / "out" / f"{name}.pca.png") as image:
            assert (image.size, image.mode) == ((128, 128), "RGB")
            colours.append(np.asarray(image))
    # One basis for all; and an image shows something.
    assert not np.array_equal(*colours) and all(image.std() > 10 for image in colours)


def test_infer_writes_the_hidden_states_before_the_final_norm(tmp_path, two_images):
    done = infer(tmp_path, two_images[:1], "--layers")
    assert done.returncode == 0, done.stderr
    tensors = load_file(tmp_path / "out" / "coffee.safetensors")
    states = [tensors.pop(f"hidden_states.{k}") for k in range(5)]
    assert set(tensors) == {"patch_tokens", "class_tokens", "pooled"}
    assert all(state.shape == (8 + 256, 192) for state in states)
    assert all(np.abs(before - after).max() > 0.01 for before, after in itertools.pairwise(states))

    tokens = np.concatenate([tensors["class_tokens"], tensors["patch_tokens"].reshape(256, 192)])
    last = states[-1].astype(np.float64)
    assert np.abs(last - tokens).max() > 0.1
    # The norm's scale and shift are not written: they are what remains of each channel, the same for all
    # tokens.
    even = (last - last.mean(axis=1, keepdims=True)) / last.std(axis=1, keepdims=True)
    for channel in range(192):
        scale, shift = np.polyfit(even[:, channel], tokens[:, channel], 1)
        assert np.abs(scale * even[:, channel] + shift - tokens[:, channel]).max() < 1e-3


# a file that is no image: its name, what it holds
NO_IMAGES = [
    ("letter.png", b"Dear Sir or Madam, this is not an image.\n"),
    ("half.jpg", images.file_bytes(PHOTOGRAPH, "JPEG")[:3000]),
    ("nothing.png", b""),
]


@pytest.mark.parametrize(("name", "data"), NO_IMAGES, ids=[row[0] for row in NO_IMAGES])
def test_a_file_that_is_no_image_costs_only_itself(tmp_path, two_images, name, data):
    (tmp_path / name).write_bytes(data)
    done = infer(tmp_path, [tmp_path / name, two_images[0]])
    assert done.returncode == 1 and name in done.stderr and "panicked" not in done.stderr, done.stderr
    assert "coffee.png" not in done.stderr, done.stderr
    assert written(tmp_path) == {"coffee.safetensors", "coffee.pca.png"}


def test_two_images_of_one_name_are_refused_before_anything_is_written(tmp_path, two_images):
    twin = tmp_path / "coffee.jpg"
    twin.write_bytes(images.file_bytes(PHOTOGRAPH, "JPEG"))
    done = infer(tmp_path, [two_images[0], twin])
    assert done.returncode == 2, done.stderr
    assert str(two_images[0]) in done.stderr and str(twin) in done.stderr, done.stderr
    assert not written(tmp_path)


def test_a_name_that_is_not_utf8_is_refused_in_one_line(tmp_path):
    done = infer(tmp_path, [os.fsdecode(bytes(tmp_path) + b"/caf\xe9.png")])
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1 and "UTF-8" in done.stderr and "caf" in done.stderr, done.stderr
    assert not written(tmp_path)
