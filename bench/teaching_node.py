"""The same clicks taught to the program: `pixio_node infer --exemplars` on frames that were not clicked."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from node_process import BINARY
from pixio_train.metrics import SegmentationFigures
from safetensors.numpy import load_file

UNLABELLED = 255


def miou(
    model: Path, classes: list[str], clicks: list[tuple[Path, float, float, int]], judged: dict
) -> float:
    """Mean IoU of images in `judged`, each with its true labels, after clicks of (image, x, y, class)."""
    with tempfile.TemporaryDirectory(prefix="pixio-teaching-") as folder:
        table = Path(folder, "clicks.csv")
        # The program numbers classes as it meets them, image by image.
        clicks = sorted(clicks, key=lambda click: click[0])
        rows = [f"{image},{x},{y},{classes[label]}" for image, x, y, label in clicks]
        table.write_text("\n".join(["image,x,y,class", *rows]) + "\n")
        command = [BINARY, "infer", "--model", model, "--exemplars", table, "--out", folder]
        subprocess.run([*command, "--image", *judged], check=True, capture_output=True)
        met = list(dict.fromkeys(label for *_, label in clicks))
        # Number 0 is what belongs to no class.
        label_of = np.full(256, UNLABELLED)
        label_of[1 : 1 + len(met)] = met
        figures = SegmentationFigures(classes)
        for image, truth in judged.items():
            found = load_file(Path(folder, f"{image.stem}.safetensors"))["labels"].astype(int)
            rows, columns = (np.arange(n) * m // n for n, m in zip(truth.shape, found.shape, strict=True))
            figures.add(label_of[found[np.ix_(rows, columns)]], truth)
        return figures.result()["miou"]
