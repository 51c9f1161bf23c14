"""Random choices of which the two splits never make the same.

A range is cut into eight bands: held-out rooms take lengths from the third and the sixth, training rooms from
the others. Textures and constructions are listed per split where they are defined.
"""

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

SPLITS = ("train", "held-out")
BANDS = {"train": (0, 1, 3, 4, 6, 7), "held-out": (2, 5)}


class Draw:
    """Choices for one scene: the same seed, split and scene give the same ones."""

    def __init__(self, seed: int, split: str, scene: int) -> None:
        self.split = split
        self.rng = np.random.default_rng([seed, SPLITS.index(split), scene])

    def length(self, low: float, high: float) -> float:
        """In the bands of the split."""
        return low + (high - low) * (self.rng.choice(BANDS[self.split]) + self.rng.random()) / 8

    def between(self, low: float, high: float) -> float:
        """Anywhere: for what is no property of a shape, such as a place or a light."""
        return float(self.rng.uniform(low, high))

    def whole(self, low: int, high: int) -> int:
        """Both ends included."""
        return int(self.rng.integers(low, high + 1))

    def happens(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def one_of(self, options: Sequence[T]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def color(
        self, saturation: tuple[float, float], value: tuple[float, float], hue: tuple[float, float] = (0, 1)
    ) -> np.ndarray:
        """Red, green and blue from 0 to 1."""
        return np.array(
            colorsys.hsv_to_rgb(self.between(*hue), self.between(*saturation), self.between(*value))
        )
