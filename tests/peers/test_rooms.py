"""Rendered rooms, and the small model that learns from nothing but them."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import rooms_data
import torch
from PIL import Image
from pixio_train.dataset import Dataset, read_camera
from pixio_train.rooms.draw import SPLITS, Draw
from pixio_train.rooms.textures import PATTERNS
from programs import command
from safetensors.torch import load_file
from training_data import read_card
from transformers import PixioModel
from waiting import LONG_SECS

FLOOR, WALL, CEILING = 0, 1, 2


@pytest.fixture(scope="module")
def rooms(tmp_path_factory) -> Path:
    return rooms_data.render(
        tmp_path_factory.mktemp("rooms") / "rooms", "--scenes", 12, "--frames", 5, "--seed", 9
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_the_same_arguments_give_the_same_bytes(tmp_path, rooms):
    again = rooms_data.render(tmp_path / "again", "--scenes", 2, "--frames", 5, "--seed", 9, "--workers", 1)
    expected = files(rooms)
    assert all(expected[name] == content for name, content in files(again).items())
    # An interrupted run goes on where it stopped.
    for part in ("rgb", "depth", "labels"):
        for file in (again / part).glob("scene0001_*"):
            file.unlink()
    rooms_data.render(again, "--scenes", 2, "--frames", 5, "--seed", 9)
    assert all(expected[name] == content for name, content in files(again).items())
    other = rooms_data.render(tmp_path / "other", "--scenes", 1, "--frames", 1, "--seed", 10)
    assert files(other)["rgb/scene0000_frame0000.jpg"] != expected["rgb/scene0000_frame0000.jpg"]


def test_floors_and_ceilings_are_planes_at_their_true_depth(rooms):
    rays, n_judged = rooms_data.rays(read_camera(rooms / "camera.yaml")), 0
    images = zip(Dataset.open(rooms, "depth").images, Dataset.open(rooms, "segmentation").images, strict=True)
    for with_depth, with_labels in images:
        depth, labels = with_depth.depth(), with_labels.labels()
        normals = []
        for label in (FLOOR, CEILING):
            points = (rays * depth[..., None])[labels == label]
            if len(points) < 3000:
                continue
            middle = points.mean(0)
            normal = np.linalg.svd(points - middle, full_matrices=False)[2][2]
            away = np.abs((points - middle) @ normal)
            # Depth is kept in whole millimetres.
            assert np.percentile(away, 99) < 0.004, with_depth.name
            height = abs(middle @ normal)
            assert 0.85 < height < 1.95 and abs(normal[1]) > 0.9, (with_depth.name, height)
            normals.append(normal)
            n_judged += 1
        if len(normals) == 2:
            assert abs(normals[0] @ normals[1]) > 0.9999
    assert n_judged > 20


def test_the_splits_share_neither_patterns_nor_lengths():
    assert not set(PATTERNS["train"]) & set(PATTERNS["held-out"])
    bands = [{int(Draw(3, split, scene).length(0, 8)) for scene in range(200)} for split in SPLITS]
    assert bands == [{0, 1, 3, 4, 6, 7}, {2, 5}]


def trained(rooms: Path, work: Path, n_steps: int) -> str:
    train = command("train_tiny", rooms, rooms, work / "model", "--work", work / "work", "--steps", n_steps)
    done = subprocess.run(train, capture_output=True, text=True, timeout=LONG_SECS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def abs_rel(said: str) -> float:
    return float(said.split("AbsRel ")[-1].split()[0])


N_STEPS = 30


def test_a_few_steps_of_training_make_a_model_that_every_peer_reads(tmp_path, rooms):
    before, said = (trained(rooms, tmp_path / str(n), n) for n in (0, N_STEPS))
    # It is judged by the images that it has seen: it must have begun to learn them.
    assert abs_rel(said) < 0.9 * abs_rel(before), (before, said)
    # What is finished is not trained again.
    assert abs_rel(trained(rooms, tmp_path / str(N_STEPS), N_STEPS)) == abs_rel(said)
    model = tmp_path / str(N_STEPS) / "model"
    check_reads_the_same(model, rooms / "rgb/scene0000_frame0000.jpg", tmp_path)
    for task in ("depth", "segmentation"):
        card = read_card(model / f"{task}.safetensors")
        assert card["task"]["kind"] == task and card["taps"] == [2, 4, 6, 8]


def check_reads_the_same(model: Path, file: Path, out: Path) -> None:
    """transformers and the node make the same tokens of an image, and the node's heads read them."""
    from node_process import run

    # Both get the same pixels: nothing is left to resize.
    with Image.open(file) as image:
        small = image.convert("RGB").resize((256, 256), Image.Resampling.BICUBIC)
    pixels = np.asarray(small)
    small.save(out / "small.png")
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = ((torch.from_numpy(pixels.copy()) / 255 - mean) / deviation).permute(2, 0, 1)[None]
    theirs = PixioModel.from_pretrained(model, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = theirs(images).last_hidden_state[0]
    done = run(
        "infer",
        "--model",
        model,
        "--device",
        "cpu",
        "--image",
        out / "small.png",
        "--out",
        out,
        "--depth-head",
        model / "depth.safetensors",
        "--segmentation-head",
        model / "segmentation.safetensors",
    )
    assert done.returncode == 0, done.stderr
    found = load_file(out / "small.safetensors")
    tokens = torch.cat([found["class_tokens"], found["patch_tokens"].flatten(0, 1)])
    assert (tokens - expected).abs().max() / expected.abs().max() < 1e-3
    assert found["depth"].shape == found["labels"].shape == (256, 256)


def test_the_models_folder_is_read_the_same_by_transformers(tmp_path):
    check_reads_the_same(rooms_data.TINY, min((rooms_data.ROOM_WALK / "rgb").iterdir()), tmp_path)


def test_what_ships_is_small():
    def megabytes(folder):
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6

    assert megabytes(rooms_data.TINY) < 12 and megabytes(rooms_data.ROOM_WALK) < 3


@pytest.mark.parametrize("task", ("depth", "segmentation"))
def test_the_model_does_what_its_card_says(tmp_path, task):
    measured, told = (
        rooms_data.evaluated(task, rooms_data.held_out(), tmp_path / "figures.json"),
        read_card(rooms_data.TINY / f"{task}.safetensors")["held_out"],
    )
    # Another graphics library may round a pixel the other way.
    names = ("abs_rel", "rmse_m", "delta1") if task == "depth" else ("miou", "accuracy")
    assert {name: measured[name] for name in names} == pytest.approx(
        {name: told[name] for name in names}, rel=0.01
    )
    card = (rooms_data.TINY / "README.md").read_text()
    assert all(f"{told[name]:.3f}" in card for name in names), told
