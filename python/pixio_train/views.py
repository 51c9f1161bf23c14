"""Views: what of an image the encoder sees, and the truth in the same pixels.

`stretch` shows the whole image at the size of the input, as the node does unless told otherwise. `crop`
shows windows of the size of the input at the image's own scale, as the paper trains; heads made so want the
node's `fit: window`.
"""

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .dataset import DatasetImage
from .errors import Refused


@dataclass(frozen=True)
class View:
    """One input to the encoder. `box` is left, top, right, bottom in pixels of the image."""

    image: DatasetImage
    box: tuple[int, int, int, int]
    is_mirrored: bool = False

    def pixels(self, size: tuple[int, int]) -> np.ndarray:
        """uint8 [height, width, 3] of `size` (width, height)."""
        image = self.image.pixels().crop(self.box)
        # Antialiased, as the node's `resize_filter: exact`.
        pixels = np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BICUBIC))
        return pixels[:, ::-1] if self.is_mirrored else pixels

    def truth(self, whole: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """`whole` is the truth of the image; result [height, width] of `size` (width, height)."""
        left, top, right, bottom = self.box
        seen = picked(whole[top:bottom, left:right], size)
        return seen[:, ::-1] if self.is_mirrored else seen


def picked(whole: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[..., height, width] in another size (width, height). Values are picked, never mixed over an edge,
    where a head's maps are interpolated to: first and last pixel of both sizes lie on each other."""
    width, height = size
    rows, columns = (
        np.linspace(0, n - 1, m).round().astype(int) for n, m in zip(whole.shape[-2:], (height, width))
    )
    return whole[..., rows[:, None], columns]


def training_views(
    images: list[DatasetImage], size: tuple[int, int], fit: str, n_crops: int, is_mirrored: bool, seed: int
) -> list[list[View]]:
    """Per image the views of which each epoch takes one."""
    result = []
    for image in images:
        boxes = [whole(image)]
        if fit == "crop":
            # By name, so that other images in the set do not move the windows.
            place = random.Random(f"{seed} {image.name}")
            room = room_in(image, size)
            corners = [(place.randint(0, room[0]), place.randint(0, room[1])) for _ in range(n_crops)]
            boxes = [(left, top, left + size[0], top + size[1]) for left, top in corners]
        mirrored = (False, True) if is_mirrored else (False,)
        result.append([View(image, box, mirror) for box in boxes for mirror in mirrored])
    return result


def covering_views(images: list[DatasetImage], size: tuple[int, int], fit: str) -> list[View]:
    """The views that show every pixel of the images, those of one image together."""
    result = []
    for image in images:
        if fit == "stretch":
            result.append(View(image, whole(image)))
            continue
        room = room_in(image, size)
        result += [
            View(image, (left, top, left + size[0], top + size[1]))
            for top in spread(room[1], size[1])
            for left in spread(room[0], size[0])
        ]
    return result


def whole(image: DatasetImage) -> tuple[int, int, int, int]:
    return (0, 0, *image.size)


def room_in(image: DatasetImage, size: tuple[int, int]) -> tuple[int, int]:
    """How far a window can move right and down, in pixels."""
    room = image.size[0] - size[0], image.size[1] - size[1]
    if min(room) < 0:
        raise Refused(
            f"{image.rgb} is {image.size[0]}x{image.size[1]}, too small for windows of "
            f"{size[0]}x{size[1]}: use --fit stretch or a smaller --size"
        )
    return room


def spread(room: int, side: int) -> list[int]:
    """Starts of windows that overlap by a third or more, first to last."""
    n_steps = -(-room // (side * 2 // 3))
    return [room * step // n_steps for step in range(n_steps + 1)] if n_steps else [0]
