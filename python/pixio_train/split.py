"""Which images are held out from pixio_train."""

import random
from pathlib import Path

from .dataset import Dataset, DatasetImage
from .errors import Refused


def split(
    dataset: Dataset, held_out: str, seed: int, limit: int | None = None
) -> tuple[list[DatasetImage], list[DatasetImage]]:
    """Images to train on and images to judge by. `held_out` is a share of the data set, or another
    folder."""
    share = as_share(held_out)
    if share is not None:
        return by_scene(dataset.images, share, seed)
    other = Dataset.open(Path(held_out), dataset.task, limit)
    if other.classes != dataset.classes:
        raise Refused(f"{held_out} has other classes than {dataset.folder}")
    return dataset.images, other.images


def as_share(text: str) -> float | None:
    """A number between 0 and 1, or nothing for the name of a folder."""
    try:
        share = float(text)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise Refused(f"--held-out {text}: a share must be between 0 and 1, or give a folder")
    return share


def by_scene(
    images: list[DatasetImage], share: float, seed: int
) -> tuple[list[DatasetImage], list[DatasetImage]]:
    """Whole scenes are held out: neighbours in a film are nearly the same image. One scene is cut in
    two."""
    if len(images) < 2:
        raise Refused("one image cannot be split: give --held-out another folder")
    n_wanted = max(1, round(share * len(images)))
    scenes = sorted({scene(image) for image in images})
    if len(scenes) == 1:
        return images[:-n_wanted], images[-n_wanted:]
    random.Random(seed).shuffle(scenes)
    chosen, n_chosen = set(), 0
    for name in scenes[:-1]:
        if n_chosen >= n_wanted:
            break
        chosen.add(name)
        n_chosen += sum(scene(image) == name for image in images)
    return (
        [image for image in images if scene(image) not in chosen],
        [image for image in images if scene(image) in chosen],
    )


def scene(image: DatasetImage) -> str:
    """What stands before the last `_` of its name; without one, every image is a scene of its own."""
    return image.name.rpartition("_")[0] or image.name
