"""Figures of a head over all known pixels of a set of images."""

import math

import numpy as np
from numpy.typing import ArrayLike

from .truth import MIN_DEPTH, UNLABELLED


class DepthFigures:
    """AbsRel, RMSE in metres and the share within a factor of 1.25, over the pixels with a depth up to
    `max_depth`."""

    def __init__(self, max_depth: float) -> None:
        self.max_depth = max_depth
        self.n = 0
        self.relative = self.squared = self.within = 0.0

    def add(self, predicted: ArrayLike, truth: ArrayLike) -> None:
        """One image: metres of the same shape, 0 unknown; arrays, or tensors in main memory."""
        predicted, truth = np.asarray(predicted), np.asarray(truth)
        known = (truth > 0) & (truth <= self.max_depth)
        predicted, truth = (
            predicted[known].astype(np.float64).clip(min=MIN_DEPTH),
            truth[known].astype(np.float64),
        )
        self.n += truth.size
        self.relative += float((np.abs(predicted - truth) / truth).sum())
        self.squared += float(((predicted - truth) ** 2).sum())
        self.within += int((np.maximum(predicted / truth, truth / predicted) < 1.25).sum())

    def result(self) -> dict:
        n = self.n or math.nan
        return {
            "abs_rel": self.relative / n,
            "rmse_m": math.sqrt(self.squared / n),
            "delta1": self.within / n,
            "pixels": self.n,
        }


class SegmentationFigures:
    """Intersection over union per class, and its mean over the classes that occur in truth or answer. A pixel
    that the answer leaves unlabelled is a miss of its class."""

    def __init__(self, classes: list[str]) -> None:
        self.classes = classes
        # Truth by row, answer by column, in pixels; the last column is of those that the answer leaves
        # unlabelled.
        self.confusion = np.zeros((len(classes), len(classes) + 1), np.int64)

    def add(self, predicted: ArrayLike, truth: ArrayLike) -> None:
        """One image: class numbers of the same shape; arrays, or tensors in main memory."""
        predicted, truth = np.asarray(predicted), np.asarray(truth)
        n, known = len(self.classes), truth != UNLABELLED
        predicted = np.where(predicted == UNLABELLED, n, predicted)
        pairs = (n + 1) * truth[known].astype(np.int64) + predicted[known].astype(np.int64)
        self.confusion += np.bincount(pairs, minlength=n * (n + 1)).reshape(n, n + 1)

    def result(self) -> dict:
        hit = self.confusion.diagonal()
        union = self.confusion[:, :-1].sum(0) + self.confusion.sum(1) - hit
        iou = {
            name: float(one / whole) if whole else None for name, one, whole in zip(self.classes, hit, union)
        }
        known = [value for value in iou.values() if value is not None]
        pixels = int(self.confusion.sum())
        return {
            "miou": sum(known) / len(known) if known else math.nan,
            "accuracy": float(hit.sum()) / pixels if pixels else math.nan,
            "iou": iou,
            "pixels": pixels,
        }


def in_words(figures: dict) -> str:
    """On one line."""
    if "delta1" in figures:
        return (
            f"AbsRel {figures['abs_rel']:.4f}  RMSE {figures['rmse_m']:.4f} m  delta1 {figures['delta1']:.4f}"
        )
    return f"mIoU {figures['miou']:.4f}  accuracy {figures['accuracy']:.4f}"


def table(figures: dict) -> str:
    """All of them; classes one a line."""
    lines = [in_words(figures)]
    for name, iou in figures.get("iou", {}).items():
        lines.append(f"  {name:<24} IoU {'does not occur' if iou is None else f'{iou:.4f}'}")
    return "\n".join(lines)
