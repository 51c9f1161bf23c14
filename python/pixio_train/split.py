"""Which pictures are held out from pixio_train."""

import random
from pathlib import Path

from .dataset import Dataset, Picture
from .errors import Refused


def split(
    dataset: Dataset, held_out: str, seed: int, limit: int | None = None
) -> tuple[list[Picture], list[Picture]]:
    """Pictures to train on and pictures to judge by. `held_out` is a share of the data set, or another
    folder."""
    share = as_share(held_out)
    if share is not None:
        return by_scene(dataset.pictures, share, seed)
    other = Dataset.open(Path(held_out), dataset.task, limit)
    if other.classes != dataset.classes:
        raise Refused(f"{held_out} has other classes than {dataset.folder}")
    return dataset.pictures, other.pictures


def as_share(text: str) -> float | None:
    """A number between 0 and 1, or nothing for the name of a folder."""
    try:
        share = float(text)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise Refused(f"--held-out {text}: a share must be between 0 and 1, or give a folder")
    return share


def by_scene(pictures: list[Picture], share: float, seed: int) -> tuple[list[Picture], list[Picture]]:
    """Whole scenes are held out: neighbours in a film are nearly the same picture. One scene is cut in
    two."""
    if len(pictures) < 2:
        raise Refused("one picture cannot be split: give --held-out another folder")
    n_wanted = max(1, round(share * len(pictures)))
    scenes = sorted({scene(picture) for picture in pictures})
    if len(scenes) == 1:
        return pictures[:-n_wanted], pictures[-n_wanted:]
    random.Random(seed).shuffle(scenes)
    chosen, n_chosen = set(), 0
    for name in scenes[:-1]:
        if n_chosen >= n_wanted:
            break
        chosen.add(name)
        n_chosen += sum(scene(picture) == name for picture in pictures)
    return (
        [picture for picture in pictures if scene(picture) not in chosen],
        [picture for picture in pictures if scene(picture) in chosen],
    )


def scene(picture: Picture) -> str:
    """What stands before the last `_` of its name; without one, every picture is a scene of its own."""
    return picture.name.rpartition("_")[0] or picture.name
