"""Figures of a head over whole images, at the size of their truth."""

from collections.abc import Iterator
from itertools import groupby

import torch
from pixio_engine.heads import Tap
from torch import Tensor, nn
from tqdm import tqdm

from .features import Cached, Computed, Encoder
from .tasks import Depth, Segmentation
from .views import View

BATCH = 16


def taps_of(tokens: list[Tensor], encoder: Encoder) -> list[Tap]:
    """What a head reads, from [B, n_cls + P, D] per tap."""
    return [
        Tap.of(one.to(encoder.device, torch.float32), encoder.n_cls, encoder.model.grid) for one in tokens
    ]


@torch.no_grad()
def evaluate(
    network: nn.Module,
    task: Depth | Segmentation,
    encoder: Encoder,
    source: Computed | Cached,
    views: list[View],
) -> dict:
    """Views of one image stand together; where they overlap their answers are averaged."""
    network.eval()
    figures = task.figures()
    answers = tqdm(
        all_answers(network, task, encoder, source, views),
        "judging",
        len(views),
        unit="view",
        leave=False,
        disable=None,
    )
    for image, group in groupby(answers, key=lambda pair: pair[0].image):
        truth = torch.from_numpy(image.labels() if task.name == "segmentation" else image.depth())
        figures.add(task.final(merged(list(group), image.size)), truth)
    return figures.result() | {"images": len({view.image for view in views})}


def all_answers(
    network: nn.Module,
    task: Depth | Segmentation,
    encoder: Encoder,
    source: Cached | Computed,
    views: list[View],
) -> Iterator[tuple[View, Tensor]]:
    """Every view with its answer [n, height, width] at the size of its box, on the CPU."""
    for first in range(0, len(views), BATCH):
        indices = list(range(first, min(first + BATCH, len(views))))
        raw = network(taps_of(source.of(indices), encoder))
        for index, one in zip(indices, raw):
            left, top, right, bottom = views[index].box
            yield views[index], task.answer(one[None], (bottom - top, right - left))[0].cpu()


def merged(answers: list[tuple[View, Tensor]], size: tuple[int, int]) -> Tensor:
    """[n, height, width] of the whole image of `size` (width, height)."""
    if len(answers) == 1:
        return answers[0][1]
    total = torch.zeros(answers[0][1].shape[0], size[1], size[0])
    times = torch.zeros(size[1], size[0])
    for view, answer in answers:
        left, top, right, bottom = view.box
        total[:, top:bottom, left:right] += answer
        times[top:bottom, left:right] += 1
    return total / times
