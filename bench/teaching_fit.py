"""Linear classifiers of patches, fitted to a few clicked ones, and the inputs that they read.

Every fit is the layer of a linear head: weight [n, C] and bias [n] over inputs that are brought to mean 0 and
variance 1 by statistics of their own, as its batch norm does.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pixio_engine.heads import resized
from pixio_train.dataset import Dataset
from pixio_train.encoder import Checkpoint
from pixio_train.features import Encoder
from pixio_train.views import covering_views
from torch import Tensor
from torch.nn import functional as F

SIZE = (256, 256)
# Batch norm's.
EPSILON = 1e-5
# Of L-BFGS: the pairs that it remembers, and how often a step is halved at most.
HISTORY, HALVINGS = 10, 10


@dataclass(frozen=True)
class Recipe:
    """How a classifier comes from exemplars."""

    # Blocks that are read, counted from 1.
    taps: tuple[int, ...] = (4, 8)
    # Further inputs: the mean class token of every tap, the patch's place, and the mean colour of its pixels.
    has_cls: bool = False
    has_position: bool = False
    has_colour: bool = False
    # What mean and variance are taken of: "nothing", the "exemplars", or all patches of the clicked "frames".
    statistics: str = "exemplars"
    # Variances count as no smaller than this share of the mean over all channels.
    floor: float = 0.1
    # "logistic", "ridge" or "mean", the nearest one.
    fit: str = "logistic"
    # Of L2 on the weights for every input, beside the mean of the losses.
    strength: float = 1 / 4000
    steps: int = 20
    # Every class weighs the same, however many exemplars it has.
    is_balanced: bool = True


@dataclass(frozen=True)
class Frames:
    """Images with what the encoder says of them."""

    names: list[str]
    classes: list[str]
    # [F, height, width], class numbers.
    truth: Tensor
    # Per block [F, P, D], and the mean class tokens [F, D].
    patches: list[Tensor]
    cls: list[Tensor]
    # [F, P, 3], from 0 to 1.
    colour: Tensor
    grid: tuple[int, int]

    @staticmethod
    @torch.no_grad()
    def of(checkpoint: Checkpoint, dataset: Dataset, step: int = 1) -> "Frames":
        """Every `step`-th image of a data set, stretched to the size of the input."""
        views = covering_views(dataset.images[::step], SIZE, "stretch")
        blocks = list(range(1, checkpoint.architecture.num_hidden_layers + 1))
        encoder = Encoder(checkpoint, SIZE, blocks, torch.device("cpu"))
        batches = [encoder.tokens(views[first : first + 8], blocks) for first in range(0, len(views), 8)]
        tokens = [torch.cat(some) for some in zip(*batches)]
        pixels = torch.stack([torch.from_numpy(view.pixels(SIZE).copy()) for view in views])
        rows, columns = encoder.model.grid
        colour = pixels.float().div(255).unflatten(2, (columns, -1)).unflatten(1, (rows, -1)).mean((2, 4))
        return Frames(
            [view.image.name for view in views],
            [one["name"] for one in dataset.classes],
            torch.stack([torch.from_numpy(view.image.labels()) for view in views]),
            [one[:, encoder.n_cls :] for one in tokens],
            [one[:, : encoder.n_cls].mean(1) for one in tokens],
            colour.flatten(1, 2),
            encoder.model.grid,
        )

    def inputs(self, recipe: Recipe) -> Tensor:
        """[F, P, C] as the recipe wants them."""
        n_frames, n_patches, _ = self.colour.shape
        parts = []
        for tap in recipe.taps:
            parts.append(self.patches[tap - 1])
            if recipe.has_cls:
                parts.append(self.cls[tap - 1][:, None].expand(-1, n_patches, -1))
        if recipe.has_colour:
            parts.append(self.colour)
        if recipe.has_position:
            parts.append(position(self.grid).expand(n_frames, -1, -1))
        return torch.cat(parts, 2)

    def answers(self, layer: "Layer", inputs: Tensor, frames: list[int]) -> Tensor:
        """Scores [n, height, width] of `frames`, as the node makes them from those of the patches."""
        raw = layer.scores(inputs[frames]).transpose(1, 2).unflatten(2, self.grid)
        return resized(raw, tuple(self.truth.shape[1:]))


@dataclass(frozen=True)
class Exemplars:
    """Clicked patches: their frame, patch and class, [N] each."""

    frame: Tensor
    patch: Tensor
    label: Tensor

    def __getitem__(self, which: Tensor) -> "Exemplars":
        return Exemplars(self.frame[which], self.patch[which], self.label[which])

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Layer:
    """`mean` and `deviation` [C] of the inputs, `weight` [n, C] and `bias` [n]."""

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    def scores(self, inputs: Tensor) -> Tensor:
        """[..., n] of [..., C]."""
        weight = self.weight / self.deviation
        return F.linear(inputs, weight, self.bias - weight @ self.mean)


def position(grid: tuple[int, int]) -> Tensor:
    """[P, 2]: x and y of every patch's centre, from -1 to 1 over the image."""
    y, x = (((torch.arange(n) + 0.5) / n) * 2 - 1 for n in grid)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), 2).flatten(0, 1)


def fitted(recipe: Recipe, inputs: Tensor, exemplars: Exemplars, n_classes: int) -> Layer:
    """A classifier of `inputs` [F, P, C]. A class without exemplars is never the answer."""
    some = inputs[exemplars.frame, exemplars.patch]
    mean, variance = statistics(recipe, inputs, some, exemplars)
    deviation = (variance + EPSILON).sqrt()
    x, y = (some - mean) / deviation, F.one_hot(exemplars.label, n_classes).float()
    counts = y.sum(0)
    share = 1 / counts[exemplars.label] if recipe.is_balanced else torch.ones(len(exemplars))
    share = share / share.sum()
    solve = {"logistic": logistic, "ridge": ridge, "mean": nearest_mean}[recipe.fit]
    weight, bias = solve(recipe, x, y, share)
    return Layer(mean, deviation, weight, torch.where(counts > 0, bias, -1e4))


def statistics(recipe: Recipe, inputs: Tensor, some: Tensor, exemplars: Exemplars) -> tuple[Tensor, Tensor]:
    """Mean and variance [C]."""
    if recipe.statistics == "nothing":
        return torch.zeros(inputs.shape[2]), torch.ones(inputs.shape[2])
    of = some if recipe.statistics == "exemplars" else inputs[exemplars.frame.unique()].flatten(0, 1)
    variance, mean = torch.var_mean(of, 0, correction=0)
    return mean, variance.clamp(min=recipe.floor * variance.mean())


def ridge(recipe: Recipe, x: Tensor, y: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares towards 1 for the own class and 0 for others, in the dual form."""
    root = share.sqrt()[:, None]
    x_mean, y_mean = share @ x, share @ y
    centred = (x - x_mean) * root
    gram = centred @ centred.T + recipe.strength * x.shape[1] * torch.eye(len(x))
    weight = torch.linalg.solve(gram, (y - y_mean) * root).T @ centred
    return weight, y_mean - weight @ x_mean


def nearest_mean(_recipe: Recipe, x: Tensor, y: Tensor, _share: Tensor) -> tuple[Tensor, Tensor]:
    means = y.T @ x / y.sum(0).clamp(min=1)[:, None]
    return means, -means.square().sum(1) / 2


def logistic(recipe: Recipe, x: Tensor, y: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression; the bias is not held small, and unseen classes take no part."""
    seen = y.sum(0) > 0
    target, (n, c) = y[:, seen], (int(seen.sum()), x.shape[1])
    strength = recipe.strength * c
    # The bias then bends the loss apart from the weights: the same minimum, found in half the steps.
    x_mean = share @ x
    x = x - x_mean

    def loss(flat: Tensor) -> tuple[float, Tensor]:
        weight, bias = flat[: n * c].view(n, c), flat[n * c :]
        log_p = F.linear(x, weight, bias).log_softmax(1)
        slope = (log_p.exp() - target) * share[:, None]
        value = -(share * (log_p * target).sum(1)).sum() + strength / 2 * weight.square().sum()
        of_weight = slope.T @ x + strength * weight
        return value.item(), torch.cat([of_weight.flatten(), slope.sum(0)])

    flat = minimised(loss, torch.zeros(n * c + n), recipe.steps)
    weight, bias = torch.zeros(len(seen), c), torch.zeros(len(seen))
    weight[seen], bias[seen] = flat[: n * c].view(n, c), flat[n * c :]
    return weight, bias - weight @ x_mean


def minimised(loss: Callable[[Tensor], tuple[float, Tensor]], at: Tensor, steps: int) -> Tensor:
    """Where `loss`, which returns value and gradient, is smallest: L-BFGS (Nocedal and Wright, algorithm 7.5)
    whose steps are halved until the loss falls."""
    value, slope = loss(at)
    past: deque[tuple[Tensor, Tensor]] = deque(maxlen=HISTORY)
    for _ in range(steps):
        way = -direction(slope, past)
        length = 1.0 if past else min(1.0, 1 / slope.norm().item())
        fall = (slope @ way).item()
        for _ in range(HALVINGS):
            there = at + length * way
            next_value, next_slope = loss(there)
            if next_value <= value + 1e-4 * length * fall:
                break
            length /= 2
        else:
            return at
        moved, turned = there - at, next_slope - slope
        if moved @ turned > 1e-10 * turned.square().sum():
            past.append((moved, turned))
        at, value, slope = there, next_value, next_slope
        if slope.norm() < 1e-6:
            break
    return at


def direction(slope: Tensor, past: deque[tuple[Tensor, Tensor]]) -> Tensor:
    """The gradient times the estimate of the inverse Hessian."""
    way, shares = slope.clone(), []
    for moved, turned in reversed(past):
        shares.append((moved @ way) / (moved @ turned))
        way -= shares[-1] * turned
    if past:
        moved, turned = past[-1]
        way *= (moved @ turned) / turned.square().sum()
    for (moved, turned), share in zip(past, reversed(shares)):
        way += (share - (turned @ way) / (moved @ turned)) * moved
    return way
