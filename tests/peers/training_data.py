"""Small models and data sets for the tests of pixio_train, and its programs in this process."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from transformers import PixioConfig, PixioModel

# Threads that wait for each other on a busy machine make small models a hundred times slower.
torch.set_num_threads(1)

CLASSES = [("floor", (90, 90, 90)), ("red", (220, 40, 40)), ("blue", (40, 40, 220))]
# Millimetres of the things of each class.
DEPTHS_MM = (3000, 1000, 1800)


def model_folder(path: Path, **changes) -> Path:
    """A random model of four blocks."""
    torch.manual_seed(7)
    config = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 1} | changes
    PixioModel(PixioConfig(**config)).save_pretrained(path)
    return path


def data_folder(path: Path, n: int = 6, width: int = 96, height: int = 64) -> Path:
    """Boxes on a floor, with depth and labels: names scene0_0, scene0_1, scene1_2, …"""
    for part in ("rgb", "depth", "labels"):
        (path / part).mkdir(parents=True)
    draw = np.random.default_rng(5)
    for i in range(n):
        labels = np.zeros((height, width), np.uint8)
        for number in (1, 2):
            left, top = draw.integers(0, width // 2), draw.integers(0, height // 2)
            labels[top : top + height // 2, left : left + width // 3] = number
        save(path, f"scene{i // 2}_{i}", labels)
    write_classes(path / "classes.yaml")
    return path


def save(path: Path, name: str, labels: np.ndarray) -> None:
    """The image, depth and labels of a scene of classes."""
    rgb = np.array([color for _, color in CLASSES], np.uint8)[labels]
    Image.fromarray(rgb).save(path / f"rgb/{name}.png")
    Image.fromarray(np.array(DEPTHS_MM, np.uint16)[labels]).save(path / f"depth/{name}.png")
    Image.fromarray(labels).save(path / f"labels/{name}.png")


def write_classes(file: Path, n: int = 3) -> None:
    lines = [f"- {{name: {name}, color: {list(color)}}}" for name, color in CLASSES[:n]]
    file.write_text("classes:\n" + "\n".join(lines) + "\n")


def tool(name: str, *arguments) -> None:
    """Runs a program of pixio_train here; what it refuses comes as SystemExit."""
    before, sys.argv = sys.argv, [name, *map(str, arguments)]
    try:
        importlib.import_module(f"pixio_train.commands.{name}").main()
    finally:
        sys.argv = before


def train(
    model: Path,
    data: Path,
    out: Path,
    *options,
    task: str = "depth",
    head: str = "linear",
    size: str | None = "64x64",
) -> tuple[dict, dict]:
    """Trains a head: its held-out figures and its card. Without `size` the program's own is taken."""
    kind = ("--task", task, "--head", head, *(("--size", size) if size else ()))
    tool("train_head", model, data, "--out", out, "--device", "cpu", *kind, *options)
    card = read_card(out)
    return card["held_out"], card


def read_card(file: Path) -> dict:
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["card"])
