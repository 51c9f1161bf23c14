"""The two tasks of a head: how its raw maps become an answer, what is learned from, and what is measured."""

from dataclasses import dataclass

import torch
from pixio_engine.heads import depth, labels, resized
from torch import Tensor

from .losses import cross_entropy, silog
from .metrics import DepthFigures, SegmentationFigures


@dataclass(frozen=True)
class Depth:
    """Metres along the optical axis, up to `max_depth`."""

    max_depth: float
    name = "depth"
    n_outputs = 1
    # Share of the training in which the learning rate rises, and the figure that says which epoch was best.
    warm_up = 0.1
    best = "delta1"

    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        """`truth` is metres [B, h, w]; what is farther than the head can say teaches nothing."""
        truth = torch.where(truth <= self.max_depth, truth, 0)
        return silog(depth(raw, truth.shape[1:], self.max_depth), truth)

    def answer(self, raw: Tensor, size: tuple[int, int]) -> Tensor:
        """[B, 1, height, width] metres. Answers of several windows may be averaged."""
        return depth(raw, size, self.max_depth)[:, None]

    def figures(self) -> DepthFigures:
        return DepthFigures(self.max_depth)

    @staticmethod
    def final(answer: Tensor) -> Tensor:
        return answer[0]

    def card(self, focal_length: float | None) -> dict:
        return {"kind": self.name, "max_depth": self.max_depth, "focal_length": focal_length}


@dataclass(frozen=True)
class Segmentation:
    """One of `classes` (name and color) per pixel, or none where the likeliest is less likely than
    `threshold`."""

    classes: list[dict]
    threshold: float = 0.0
    name = "segmentation"
    warm_up = 0.0
    best = "miou"

    @property
    def n_outputs(self) -> int:
        return len(self.classes)

    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        """`truth` is class numbers [B, h, w]."""
        return cross_entropy(resized(raw, truth.shape[1:]), truth)

    def answer(self, raw: Tensor, size: tuple[int, int]) -> Tensor:
        """[B, n, height, width] probabilities. Answers of several windows may be averaged."""
        return resized(raw, size).softmax(1)

    def figures(self) -> SegmentationFigures:
        return SegmentationFigures([one["name"] for one in self.classes])

    def final(self, answer: Tensor) -> Tensor:
        return labels(answer[None], self.threshold)[1][0]

    def card(self, focal_length: float | None) -> dict:
        return {"kind": self.name, "classes": self.classes, "threshold": self.threshold}


def of_card(task: dict) -> Depth | Segmentation:
    if task["kind"] == "depth":
        return Depth(task["max_depth"])
    return Segmentation(task["classes"], task.get("threshold", 0.0))
