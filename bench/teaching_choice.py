"""Chooses the classifier that pointing teaches, by figures. Started by scripts/bench --teaching.

Clicks are drawn from the truth of rendered images: a number for each class, spread over four frames, at
pixels of the class; the patch under the pixel is the exemplar. Judged are all pixels of frames that were not
clicked, by mean IoU over the classes, mean over five draws. The walk (data/room-walk) is one room that
models/pixio-tiny has not seen. Of the rooms, those of its card, four frames of four rooms are clicked, and
all other rooms judged. Comparisons of one thing about the recipe are judged at a quarter of the images' size;
the parts clicks, threshold and leaving at all of it. It takes one core a quarter of an hour; docs/teaching.md
has the tables.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pixio_engine.heads import Tap, resized
from pixio_train import head_file
from pixio_train.dataset import Dataset
from pixio_train.encoder import Checkpoint
from pixio_train.metrics import SegmentationFigures
from pixio_train.views import picked
from rooms_data import ROOM_WALK, TINY, held_out
from torch import Tensor

from .teaching_fit import Exemplars, Frames, Layer, Recipe, fitted
from .teaching_store import POLICIES, joined, kept

CLICKS = (1, 3, 5, 10, 20)
N_FRAMES, SEEDS = 4, range(5)
# Every so many of the rooms' images.
ROOMS_STEP = 4
# Images whose scores are brought to their size at once.
BATCH = 8
# Width and height at which recipes are compared.
COMPARED = (80, 60)

CHOSEN = Recipe()
BASELINE = Recipe(taps=(), has_colour=True, has_position=True)


def changed(**of: object) -> Recipe:
    return replace(CHOSEN, **of)


TAPS = ((8,), (6,), (4,), (6, 8), (4, 8), (4, 6, 8), (2, 4, 6, 8), (1, 2, 4, 8), (5, 6, 7, 8))
COMPARISONS = {
    "method": {
        "logistic": CHOSEN,
        "ridge, L2 1/4000": changed(fit="ridge"),
        "ridge, L2 1/400": changed(fit="ridge", strength=1 / 400),
        "ridge, L2 1/40": changed(fit="ridge", strength=1 / 40),
        "nearest mean": changed(fit="mean"),
    },
    "strength": {
        f"L2 1/{inverse}": changed(strength=1 / inverse) for inverse in (100, 400, 1000, 4000, 16000, 100000)
    },
    "taps": {f"blocks {', '.join(map(str, taps))}": changed(taps=taps) for taps in TAPS},
    "further inputs": {
        "none": CHOSEN,
        "position": changed(has_position=True),
        "class tokens": changed(has_cls=True),
        "both": changed(has_cls=True, has_position=True),
    },
    "statistics": {
        "exemplars, no floor": changed(floor=0.0),
        "exemplars, 0.1": CHOSEN,
        "exemplars, 1": changed(floor=1.0),
        "all patches of the frames": changed(statistics="frames"),
        "nothing": changed(statistics="nothing"),
    },
    "steps": {f"{steps}": changed(steps=steps) for steps in (3, 5, 10, 20, 30, 50)},
    # Of classes with from a fifth of the clicks to five times as many.
    "balance": {"exemplars weigh the same": changed(is_balanced=False), "classes weigh the same": CHOSEN},
}


class Draws:
    """Draws of clicks on a set of images."""

    def __init__(self, name: str, frames: Frames) -> None:
        self.name, self.frames = name, frames
        self.scenes = np.array([one.split("_")[0] for one in frames.names])
        self.key, self.kept = None, torch.empty(0)

    def clicked(self, seed: int) -> list[int]:
        """Four frames: one of each quarter, so that they show different things."""
        draw = np.random.default_rng([seed, 1])
        return [int(draw.choice(part)) for part in np.array_split(np.arange(len(self.scenes)), N_FRAMES)]

    def judged(self, clicked: list[int]) -> list[int]:
        """Frames that were not clicked; of several rooms, those of rooms without a click."""
        if len(set(self.scenes)) == 1:
            return [i for i in range(len(self.scenes)) if i not in clicked]
        return [i for i, scene in enumerate(self.scenes) if scene not in set(self.scenes[clicked])]

    def clicks(self, seed: int, frames: list[int], count: Callable[[int], int]) -> Exemplars:
        """`count` of every class, as far as the frames show it, each click in a frame drawn for it."""
        found = []
        for label in range(len(self.frames.classes)):
            # Fewer clicks are the first of more.
            draw = np.random.default_rng([seed, 2, label])
            places = [(self.frames.truth[i] == label).nonzero() for i in frames]
            shown = [(i, some) for i, some in zip(frames, places) if len(some)]
            for _ in range(count(label) if shown else 0):
                i, some = shown[draw.integers(len(shown))]
                found.append((i, self.patch(some[draw.integers(len(some))]), label))
        return Exemplars(*torch.tensor(found).T)

    def patch(self, pixel: Tensor) -> int:
        """The number of the patch that shows a pixel (row, column)."""
        (height, width), (rows, columns) = self.frames.truth.shape[1:], self.frames.grid
        return int(pixel[0]) * rows // height * columns + int(pixel[1]) * columns // width

    def fits(
        self, recipe: Recipe, n_clicks: int, is_uneven: bool = False
    ) -> Iterator[tuple[Layer, list[int]]]:
        """Of every draw the classifier and the frames to judge it by."""
        for seed in SEEDS:
            count = partial(uneven, seed, n_clicks) if is_uneven else lambda _: n_clicks
            frames = self.clicked(seed)
            exemplars = self.clicks(seed, frames, count)
            yield self.fit(recipe, exemplars), self.judged(frames)

    def fit(self, recipe: Recipe, exemplars: Exemplars) -> Layer:
        return fitted(recipe, self.inputs(recipe), exemplars, len(self.frames.classes))

    def inputs(self, recipe: Recipe) -> Tensor:
        """Those of the last recipe are kept."""
        key = (recipe.taps, recipe.has_cls, recipe.has_position, recipe.has_colour)
        if key != self.key:
            self.key, self.kept = key, self.frames.inputs(recipe)
        return self.kept

    def miou(self, recipe: Recipe, layer: Layer, judged: list[int]) -> float:
        figures, inputs = SegmentationFigures(self.frames.classes), self.inputs(recipe)
        for some in batches(judged):
            figures.add(self.frames.answers(layer, inputs, some).argmax(1), self.frames.truth[some])
        return figures.result()["miou"]

    def mean_miou(self, recipe: Recipe, n_clicks: int, is_uneven: bool) -> float:
        found = self.fits(recipe, n_clicks, is_uneven)
        return float(np.mean([self.miou(recipe, layer, judged) for layer, judged in found]))


def batches(frames: list[int]) -> Iterator[list[int]]:
    return (frames[first : first + BATCH] for first in range(0, len(frames), BATCH))


def uneven(seed: int, n_clicks: int, label: int) -> int:
    """From a fifth of `n_clicks` to five times as many."""
    return max(1, round(n_clicks * 5 ** np.random.default_rng([seed, label]).uniform(-1, 1)))


def say_rows(sets: list[Draws], recipes: dict[str, Recipe], is_uneven: bool = False) -> None:
    """A line for each recipe, a column for each set and number of clicks."""
    columns = [(one, k) for one in sets for k in CLICKS]
    print(f"| | {' | '.join(f'{one.name} {k}' for one, k in columns)} |\n|{'---|' * (1 + len(columns))}")
    for name, recipe in recipes.items():
        found = [f"{one.mean_miou(recipe, k, is_uneven):.3f}" for one, k in columns]
        print(f"| {name} | {' | '.join(found)} |", flush=True)


def clicks(sets: list[Draws]) -> None:
    """The recipe beside the baseline and the trained head."""
    say_rows(sets, {"colour and position": BASELINE, "taught": CHOSEN})
    card, head = head_file.read(TINY / "segmentation.safetensors")
    for one in sets:
        print(f"the trained head on the {one.name}: {trained(one.frames, card, head):.3f}")


@torch.no_grad()
def trained(frames: Frames, card: dict, head: torch.nn.Module) -> float:
    """Mean IoU of a head over all frames."""
    figures = SegmentationFigures(frames.classes)
    for some in batches(list(range(len(frames.names)))):
        patches = [frames.patches[tap - 1][some].transpose(1, 2) for tap in card["taps"]]
        cls = [frames.cls[tap - 1][some] for tap in card["taps"]]
        taps = [Tap(one.unflatten(2, frames.grid), mean) for one, mean in zip(patches, cls)]
        scores = resized(head(taps), tuple(frames.truth.shape[1:]))
        figures.add(scores.argmax(1), frames.truth[some])
    return figures.result()["miou"]


def threshold(sets: list[Draws]) -> None:
    """The share of pixels that keep their label at a probability, and how good those are."""
    for one, k in [(one, k) for one in sets for k in (3, 20)]:
        least = torch.arange(10) / 10
        n, n_pixels, inputs = len(one.frames.classes), 0, one.inputs(CHOSEN)
        counts, total = torch.zeros(len(least), n * n, dtype=torch.long), 0.0
        for layer, judged in one.fits(CHOSEN, k):
            for some in batches(judged):
                sure, answer = one.frames.answers(layer, inputs, some).softmax(1).max(1)
                pairs = n * one.frames.truth[some].long() + answer
                n_pixels, total = n_pixels + pairs.numel(), total + float(sure.sum())
                counts += torch.stack([pairs[sure >= t].bincount(minlength=n * n) for t in least])
        print(f"\n{one.name}, {k} clicks: the mean probability is {total / n_pixels:.3f}\n")
        print("| threshold | labelled | mean IoU | right |\n|---|---|---|---|")
        for of, t in zip(counts.view(-1, n, n), least):
            hit, n_labelled = of.diagonal(), max(1, int(of.sum()))
            iou = hit / (of.sum(0) + of.sum(1) - hit).clamp(min=1)
            figures = (t, n_labelled / n_pixels, iou.mean(), hit.sum() / n_labelled)
            print("| {:.1f} | {:.3f} | {:.3f} | {:.3f} |".format(*map(float, figures)), flush=True)


def leaving(sets: list[Draws]) -> None:
    """Which exemplars leave a full store first: the walk is taught in every other frame as it goes on, ten
    clicks for each class that is seen, and judged in the others."""
    one, n = sets[0], len(sets[0].frames.classes)
    inputs = one.inputs(CHOSEN)
    vectors = inputs / inputs.norm(dim=2, keepdim=True)
    taught, judged = (list(range(first, len(one.frames.names), 2)) for first in (0, 1))
    streams = [joined([one.clicks(1000 * seed + i, [i], lambda _: 10) for i in taught]) for seed in SEEDS]
    everything = [one.miou(CHOSEN, one.fit(CHOSEN, stream), judged) for stream in streams]
    print(f"all {len(streams[0])} kept: {np.mean(everything):.3f}\n")
    print(f"| of a class | {' | '.join(POLICIES)} |\n|{'---|' * (1 + len(POLICIES))}")
    for capacity in (10, 20, 50, 100, 200):
        found = []
        for policy in POLICIES.values():
            draw = np.random.default_rng(0)
            stores = [kept(stream, n, capacity, partial(policy, draw, vectors)) for stream in streams]
            found.append(np.mean([one.miou(CHOSEN, one.fit(CHOSEN, store), judged) for store in stores]))
        print(f"| {capacity} | {' | '.join(f'{some:.3f}' for some in found)} |", flush=True)


MEASURES = {part.__name__: part for part in (clicks, threshold, leaving)}


def main() -> None:
    names = [*COMPARISONS, *MEASURES]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teaching", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}; all of them")
    parser.add_argument("--rooms", type=Path, help="images of the rooms, which else are rendered first")
    args = parser.parse_args()
    if strange := set(args.parts) - set(names):
        parser.error(f"no part is called {min(strange)}")
    torch.set_num_threads(1)
    checkpoint = Checkpoint.find(str(TINY))
    sets, small = [], []
    for name, folder, step in (("walk", ROOM_WALK, 1), ("rooms", args.rooms or held_out(), ROOMS_STEP)):
        frames = Frames.of(checkpoint, Dataset.open(folder, "segmentation"), step)
        sets.append(Draws(name, frames))
        truth = torch.from_numpy(picked(frames.truth.numpy(), COMPARED).copy())
        small.append(Draws(name, replace(frames, truth=truth)))
    for name in args.parts or names:
        print(f"\n## {name}\n", flush=True)
        if name in COMPARISONS:
            say_rows(small, COMPARISONS[name], is_uneven=name == "balance")
        else:
            MEASURES[name](sets)


if __name__ == "__main__":
    main()
