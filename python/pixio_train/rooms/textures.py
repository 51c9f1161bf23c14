"""Procedural textures: uint8 [SIDE, SIDE, 3] from two colours (0 to 1). Each split has patterns of its
own."""

import numpy as np
from PIL import Image

from .draw import Draw

SIDE = 128
Y, X = np.mgrid[0:SIDE, 0:SIDE] / SIDE


def texture(draw: Draw, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    share = draw.one_of(PATTERNS[draw.split])(draw)
    return as_bytes(one + (two - one) * np.clip(share, 0, 1)[..., None] + 0.05 * grain(draw, SIDE)[..., None])


def picture(draw: Draw) -> np.ndarray:
    """Something to hang on a wall: shapes of strong colours."""
    image = np.broadcast_to(draw.color((0, 1), (0.2, 1)), (SIDE, SIDE, 3)).copy()
    for _ in range(draw.whole(3, 9)):
        x, y, radius = draw.between(0, 1), draw.between(0, 1), draw.between(0.05, 0.35)
        if draw.split == "train":
            inside = (X - x) ** 2 + (Y - y) ** 2 < radius**2
        else:
            inside = np.maximum(np.abs(X - x), 2 * np.abs(Y - y)) < radius
        image[inside] = draw.color((0.2, 1), (0.2, 1))
    return as_bytes(image)


def blobs(draw: Draw) -> np.ndarray:
    return 0.5 + 0.5 * grain(draw, draw.one_of((4, 8, 16)))


def checker(draw: Draw) -> np.ndarray:
    n = draw.one_of((2, 4, 6))
    return (np.floor(X * n) + np.floor(Y * n)) % 2


def planks(draw: Draw) -> np.ndarray:
    n = draw.one_of((4, 6, 8))
    tone = draw.rng.random(n)[(X * n).astype(int)]
    fibre = 0.15 * np.sin(2 * np.pi * (12 * X + 1.5 * grain(draw, 4)))
    return 0.6 * tone + fibre + 0.4 * (X * n % 1 < 0.05)


def bricks(draw: Draw) -> np.ndarray:
    n = draw.one_of((4, 6, 8))
    row = np.floor(Y * 2 * n)
    return ((X * n + row % 2 / 2) % 1 < 0.06) | (Y * 2 * n % 1 < 0.1)


def dots(draw: Draw) -> np.ndarray:
    n = draw.one_of((3, 5, 8))
    return (X * n % 1 - 0.5) ** 2 + (Y * n % 1 - 0.5) ** 2 < draw.between(0.03, 0.12)


def clouds(draw: Draw) -> np.ndarray:
    return 0.5 + sum(grain(draw, n) / k for k, n in enumerate((3, 6, 12, 24, 48), start=2))


def diamonds(draw: Draw) -> np.ndarray:
    n = draw.one_of((2, 4, 6))
    return np.abs(X * n % 1 - 0.5) + np.abs(Y * n % 1 - 0.5) < draw.between(0.3, 0.5)


def plaid(draw: Draw) -> np.ndarray:
    n = draw.one_of((2, 4, 6))
    return 0.5 * (X * n % 1 < 0.35) + 0.5 * (Y * n % 1 < 0.35)


def herringbone(draw: Draw) -> np.ndarray:
    n = draw.one_of((3, 4, 6))
    zigzag = Y * n + np.abs(X * n % 1 - 0.5)
    return 0.7 * draw.rng.random(64)[(2 * zigzag).astype(int)] + 0.3 * (2 * zigzag % 1 < 0.1)


def speckles(draw: Draw) -> np.ndarray:
    return grain(draw, draw.one_of((32, 48, 64))) > draw.between(0.4, 0.8)


PATTERNS = {
    "train": (blobs, checker, planks, bricks, dots),
    "held-out": (clouds, diamonds, plaid, herringbone, speckles),
}


def grain(draw: Draw, n: int) -> np.ndarray:
    """Smooth noise from -1 to 1 with `n` knots a side."""
    knots = Image.fromarray(draw.rng.uniform(-1, 1, (n, n)).astype(np.float32))
    return np.asarray(knots.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def as_bytes(image: np.ndarray) -> np.ndarray:
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)
