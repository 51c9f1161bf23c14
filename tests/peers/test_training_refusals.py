"""What the training programs refuse in one line: bad data sets, wrong options, heads of other encoders."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pixio_engine.heads import LinearHead
from pixio_train import encoder as encoders
from pixio_train import head_file
from programs import command
from training_data import data_folder, model_folder, tool, train
from waiting import PATIENCE_SECS


def remove(folder: Path, name: str):
    (folder / name).unlink()


def rewrite(file: Path, pixels: np.ndarray):
    Image.fromarray(pixels).save(file)


def micrometres(folder: Path):
    for file in folder.glob("depth/*.png"):
        rewrite(file, np.full((64, 96), 2, np.uint16))


def label_seven(folder: Path):
    labels = np.zeros((64, 96), np.uint8)
    labels[3, 4] = 7
    rewrite(folder / "labels/scene1_2.png", labels)


def emptied(folder: Path):
    for file in folder.glob("rgb/*"):
        file.unlink()


DEPTH = "scene0_1.png"
CAMERA = "{width: 640, height: 480, fx: 1, fy: 1, cx: 0, cy: 0}"
# task, how the folder is spoilt, what the one line must name
BAD = {
    "no depth for an image": (
        "depth",
        lambda d: remove(d, f"depth/{DEPTH}"),
        [DEPTH, "none of their name in depth/"],
    ),
    "no image for a depth": ("depth", lambda d: remove(d, f"rgb/{DEPTH}"), [DEPTH, "no image in rgb/"]),
    "no images": ("depth", emptied, ["rgb", "no images"]),
    "another size": (
        "depth",
        lambda d: rewrite(d / f"depth/{DEPTH}", np.ones((64, 95), np.uint16)),
        [DEPTH, "96x64", "95x64"],
    ),
    "8-bit depth": (
        "depth",
        lambda d: rewrite(d / f"depth/{DEPTH}", np.ones((64, 96), np.uint8)),
        [DEPTH, "16 bit"],
    ),
    "metres": ("depth", micrometres, ["scene0_0.png", "0.002 m", "value 2", "metres were probably written"]),
    "half an image": (
        "depth",
        lambda d: (d / f"depth/{DEPTH}").write_bytes((d / f"depth/{DEPTH}").read_bytes()[:90]),
        [DEPTH, "not a whole image"],
    ),
    "no image at all": ("depth", lambda d: (d / f"rgb/{DEPTH}").write_text("hello"), [DEPTH, "no image"]),
    "another camera": (
        "depth",
        lambda d: (d / "camera.yaml").write_text(CAMERA),
        ["96x64", "is for 640x480"],
    ),
    "half a camera": (
        "depth",
        lambda d: (d / "camera.yaml").write_text("{width: 96}"),
        ["camera.yaml", "height"],
    ),
    "a number without class": ("segmentation", label_seven, ["scene1_2.png", "value 7", "3 classes"]),
    "16-bit labels": (
        "segmentation",
        lambda d: rewrite(d / "labels/scene1_2.png", np.ones((64, 96), np.uint16)),
        ["8 bit"],
    ),
    "no classes": ("segmentation", lambda d: remove(d, "classes.yaml"), ["classes.yaml is missing"]),
    "no color": (
        "segmentation",
        lambda d: (d / "classes.yaml").write_text("classes: [{name: a}]"),
        ["class 0", "color"],
    ),
    "no list": (
        "segmentation",
        lambda d: (d / "classes.yaml").write_text("names: [a]"),
        ["`classes` must be a list"],
    ),
    "no yaml": ("segmentation", lambda d: (d / "classes.yaml").write_text("classes: ["), ["classes.yaml"]),
}


@pytest.mark.parametrize("why", BAD)
def test_a_bad_data_set_is_refused_in_one_line(tmp_path, small_model, why):
    task, spoil, names = BAD[why]
    folder = data_folder(tmp_path / "data")
    spoil(folder)
    with pytest.raises(SystemExit) as ended:
        train(
            small_model,
            folder,
            tmp_path / "head.safetensors",
            "--no-cache",
            task=task,
        )
    said = str(ended.value)
    assert all(name in said for name in names) and "\n" not in said, said
    assert not (tmp_path / "head.safetensors").exists()


# options, what must be said
WRONG = {
    "size": (["--size", "100x64"], ["multiples of 16"]),
    "taps": (["--taps", "1,2,3,4,5"], ["reads 1 to 4 blocks"]),
    "block": (["--taps", "9"], ["blocks 1 to 4"]),
    "share": (["--held-out", "1.5"], ["between 0 and 1"]),
    "folder": (["--held-out", "/nowhere"], ["/nowhere is no folder"]),
    "out": (["--out", "/proc/head.safetensors"], ["cannot be written"]),
    "cache": (["--cache", "/proc/cache"], ["/proc/cache", "--no-cache"]),
}


@pytest.mark.parametrize("why", WRONG)
def test_wrong_options_are_refused(tmp_path, small_model, boxes, why, capsys):
    options, names = WRONG[why]
    with pytest.raises(SystemExit) as ended:
        train(small_model, boxes, tmp_path / "head.safetensors", *options)
    said = f"{ended.value} {capsys.readouterr().err}"
    assert all(name in said for name in names), said


def test_a_script_ends_with_one_line_and_status_1(tmp_path, small_model):
    train_head = command("train_head", small_model, tmp_path, "--task", "depth", "--out", tmp_path / "head")
    done = subprocess.run(train_head, capture_output=True, text=True, timeout=PATIENCE_SECS)
    assert done.returncode == 1, done.stderr
    assert done.stderr == f"error: {tmp_path / 'rgb'} has no images (.png or .jpg)\n"


def test_a_head_for_another_encoder_is_refused(tmp_path, small_model, boxes):
    other = model_folder(tmp_path / "other", num_hidden_layers=5)
    network = LinearHead(64, 1)
    card = head_file.card(
        {"kind": "depth", "max_depth": 10.0, "focal_length": None},
        {"kind": "linear"},
        encoders.Checkpoint.find(str(small_model)).card(),
        [4],
        (64, 64),
    )
    file = tmp_path / "head.safetensors"
    head_file.write(file, network.state_dict(), card)
    with pytest.raises(SystemExit, match=r"4 blocks of 64 .* the model is other \(5 blocks of 64"):
        tool("evaluate_head", file, other, boxes)
    with pytest.raises(SystemExit, match="no head file"):
        tool("evaluate_head", small_model / "model.safetensors", small_model, boxes)
