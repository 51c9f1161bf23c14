"""Images of a data set in memory, at the size of the model's input."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from pixio_train.views import picked

THREADS = 2


@dataclass(frozen=True)
class Frames:
    """`rgb` uint8 [N, side, side, 3], `depth` uint16 millimetres [N, side, side], `labels` uint8 [N, side,
    side].

    Truth is picked where the heads answer: first and last pixel of both sizes lie on each other."""

    rgb: np.ndarray
    depth: np.ndarray
    labels: np.ndarray

    @staticmethod
    def load(folder: Path, side: int) -> "Frames":
        names = names_in(folder)
        frames = Frames(
            np.empty((len(names), side, side, 3), np.uint8),
            np.empty((len(names), side, side), np.uint16),
            np.empty((len(names), side, side), np.uint8),
        )

        def read(i: int) -> None:
            frames.rgb[i] = stretched(folder, names[i], side)
            depth, labels = truth(folder, names[i])
            frames.depth[i], frames.labels[i] = picked(depth, (side, side)), picked(labels, (side, side))

        with ThreadPoolExecutor(THREADS) as threads:
            for _ in tqdm(
                threads.map(read, range(len(names))),
                f"reading {folder.name}",
                len(names),
                unit="image",
                disable=None,
            ):
                pass
        return frames

    def batch(self, chosen: np.ndarray, side: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Augmented images [B, side, side, 3] from 0 to 1; depth [B, side / 2, side / 2] in metres and
        classes of the same."""
        rgb = torch.from_numpy(self.rgb[chosen]).float() / 255
        if side != rgb.shape[1]:
            rgb = F.interpolate(
                rgb.permute(0, 3, 1, 2), (side, side), mode="bilinear", antialias=True
            ).permute(0, 2, 3, 1)
        half = (side // 2, side // 2)
        depth = torch.from_numpy(picked(self.depth[chosen], half) / np.float32(1000))
        labels = torch.from_numpy(picked(self.labels[chosen], half)).long()
        mirrored = torch.from_numpy(rng.random(len(chosen)) < 0.5)
        rgb, depth, labels = (
            torch.where(mirrored.view(-1, *[1] * (x.ndim - 1)), x.flip(2), x) for x in (rgb, depth, labels)
        )
        return recolored(rgb, rng), depth, labels


def names_in(folder: Path) -> list[str]:
    return sorted(file.stem for file in (folder / "rgb").iterdir())


def stretched(folder: Path, name: str, side: int) -> np.ndarray:
    """uint8 [side, side, 3], as the node resizes."""
    with Image.open(folder / "rgb" / f"{name}.jpg") as image:
        return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def truth(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres and class numbers, [height, width] of the image."""
    with (
        Image.open(folder / "depth" / f"{name}.png") as depth,
        Image.open(folder / "labels" / f"{name}.png") as labels,
    ):
        return np.array(depth, np.uint16), np.array(labels, np.uint8)


def recolored(rgb: Tensor, rng: np.random.Generator) -> Tensor:
    """Other light, tint and saturation, drawn per image."""

    def draw(low: float, high: float, n_channels: int = 1) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (len(rgb), 1, 1, n_channels)).astype(np.float32))

    grey = rgb.mean(3, keepdim=True)
    rgb = grey + (rgb - grey) * draw(0.6, 1.3)
    return (rgb * draw(0.7, 1.3) * draw(0.9, 1.1, 3) + draw(-0.08, 0.08)).clamp(0, 1)
