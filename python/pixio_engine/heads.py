"""Depth and segmentation heads on a frozen Pixio encoder: what is trained, and the reference for src/heads.

A head reads, per tapped block, the patch tokens after the final norm with the mean of the class tokens beside
each: 2 D channels on the patch grid. It returns one map per class, or one for depth, at its own resolution;
`resized` brings that to the size of the image. The linear head is a batch norm and a 1x1 convolution on one
to four taps, and on the place of each patch if its card says so; DPT (arXiv 2103.13413, as the Pixio paper
uses it) is four taps at four scales, merged from coarse to fine. Parameters have the paper's names.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The class number of a pixel without a label.
UNLABELLED = 255


@dataclass(frozen=True)
class Tap:
    """Tokens of one block after the final norm: `patches` [B, D, rows, columns] and the mean class token
    `cls` [B, D]."""

    patches: Tensor
    cls: Tensor

    @staticmethod
    def of(tokens: Tensor, n_cls: int, grid: tuple[int, int]) -> "Tap":
        """From [B, n_cls + P, D], class tokens first."""
        # Not by indices: on a GPU's tensor they ask for the GPU, which need not be where this is compiled.
        patches = tokens.narrow(1, n_cls, tokens.shape[1] - n_cls).transpose(1, 2).unflatten(2, grid)
        return Tap(patches, tokens.narrow(1, 0, n_cls).mean(1))

    def joined(self) -> Tensor:
        """[B, 2 D, rows, columns]: patch tokens first."""
        return torch.cat([self.patches, on_grid(self.cls).expand_as(self.patches)], dim=1)


class LinearHead(nn.Module):
    """Taps, shallow to deep, to [B, n, rows, columns]. Inputs are 2 D channels of each tap and then, with
    `has_position`, x and y of the patch's centre."""

    def __init__(self, hidden: int, n_outputs: int, n_taps: int = 1, has_position: bool = False) -> None:
        super().__init__()
        self.has_position = has_position
        n_inputs = linear_inputs(hidden, n_taps, has_position)
        self.norm = nn.BatchNorm2d(n_inputs)
        self.conv = nn.Conv2d(n_inputs, n_outputs, 1)

    def forward(self, taps: list[Tap]) -> Tensor:
        inputs = [tap.joined() for tap in taps]
        if self.has_position:
            patches = taps[0].patches
            inputs.append(position(patches).expand(patches.shape[0], -1, -1, -1))
        return self.conv(self.norm(torch.cat(inputs, dim=1)))


def linear_inputs(hidden: int, n_taps: int, has_position: bool) -> int:
    """Channels that a linear head reads of each patch."""
    return n_taps * 2 * hidden + (2 if has_position else 0)


def position(patches: Tensor) -> Tensor:
    """[1, 2, rows, columns]: x and y of the centres of `patches` [B, D, rows, columns], from -1 at the left
    and upper edge of the model input to 1 at the right and lower one."""
    y, x = (
        (torch.arange(n, dtype=patches.dtype, device=patches.device) + 0.5) / n * 2 - 1
        for n in patches.shape[2:]
    )
    return torch.stack(torch.meshgrid(x, y, indexing="xy")).unsqueeze(0)


class Projection(nn.Conv2d):
    """A tap to [B, n, rows, columns]: a 1x1 convolution."""

    def __init__(self, hidden: int, n_outputs: int) -> None:
        super().__init__(2 * hidden, n_outputs, 1)

    def forward(self, tap: Tap) -> Tensor:
        return super().forward(tap.joined())


class FoldedProjection(nn.Module):
    """The same, as src/heads computes it: what comes of the class token is the same for all patches of an
    image."""

    def __init__(self, hidden: int, n_outputs: int) -> None:
        super().__init__()
        self.of_patches = nn.Parameter(torch.zeros(n_outputs, hidden))
        self.of_cls = nn.Parameter(torch.zeros(n_outputs, hidden))
        self.bias = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, tap: Tap) -> Tensor:
        same = F.linear(tap.cls, self.of_cls, self.bias)
        return F.conv2d(tap.patches, on_grid(self.of_patches)) + on_grid(same)


class ResidualUnit(nn.Module):
    """[B, C, h, w] to the same: two convolutions, each after a ReLU, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Fusion(nn.Module):
    """Adds a finer level to what came from the coarser ones and brings both to `size`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resConfUnit1 = ResidualUnit(channels)
        self.resConfUnit2 = ResidualUnit(channels)
        self.out_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, level: Tensor | None, size: tuple[int, int]) -> Tensor:
        if level is not None:
            x = x + self.resConfUnit1(level)
        return self.out_conv(resized(self.resConfUnit2(x), size))


class DptHead(nn.Module):
    """Four taps, shallow to deep, to [B, n, 8 rows, 8 columns]."""

    def __init__(self, hidden: int, n_outputs: int, features: int, out_channels: list[int]) -> None:
        super().__init__()
        one, two, _, four = out_channels
        self.projects = nn.ModuleList(Projection(hidden, channels) for channels in out_channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(one, one, 4, stride=4),
                nn.ConvTranspose2d(two, two, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(four, four, 3, stride=2, padding=1),
            ]
        )
        scratch = {
            f"layer{i}_rn": nn.Conv2d(channels, features, 3, padding=1, bias=False)
            for i, channels in enumerate(out_channels, start=1)
        }
        scratch |= {f"refinenet{i}": Fusion(features) for i in range(1, 5)}
        scratch["output_conv"] = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, n_outputs, 1)
        )
        self.scratch = nn.ModuleDict(scratch)
        # The coarsest level has nothing coarser to be added to.
        del self.scratch["refinenet4"].resConfUnit1

    def forward(self, taps: list[Tap]) -> Tensor:
        levels = [
            self.scratch[f"layer{i + 1}_rn"](self.resize_layers[i](self.projects[i](tap)))
            for i, tap in enumerate(taps)
        ]
        x = None
        for i in reversed(range(4)):
            finer = levels[i - 1].shape[2:] if i else [2 * side for side in levels[0].shape[2:]]
            level, x = (None, levels[i]) if x is None else (levels[i], x)
            x = self.scratch[f"refinenet{i + 1}"](x, level, tuple(finer))
        return self.scratch["output_conv"](x)


class FoldedLinear(nn.Module):
    """The linear head on one tap, with the batch norm folded in."""

    def __init__(self, hidden: int, n_outputs: int) -> None:
        super().__init__()
        self.projection = FoldedProjection(hidden, n_outputs)

    def forward(self, taps: list[Tap]) -> Tensor:
        return self.projection(taps[0])


class FoldedTap(nn.Module):
    """What one tap adds to a linear head: [B, n, rows, columns]."""

    def __init__(self, hidden: int, n_outputs: int) -> None:
        super().__init__()
        self.of_patches = nn.Parameter(torch.zeros(n_outputs, hidden))
        self.of_cls = nn.Parameter(torch.zeros(n_outputs, hidden))

    def forward(self, tap: Tap) -> Tensor:
        return F.conv2d(tap.patches, on_grid(self.of_patches)) + on_grid(F.linear(tap.cls, self.of_cls))


class FoldedTaps(nn.Module):
    """The linear head on several taps, or with the position, with the batch norm folded in."""

    def __init__(self, hidden: int, n_outputs: int, n_taps: int, has_position: bool) -> None:
        super().__init__()
        self.projections = nn.ModuleList(FoldedTap(hidden, n_outputs) for _ in range(n_taps))
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        if has_position:
            self.of_position = nn.Parameter(torch.zeros(n_outputs, 2))
        self.has_position = has_position

    def forward(self, taps: list[Tap]) -> Tensor:
        x = self.bias.view(1, -1, 1, 1)
        if self.has_position:
            x = x + F.conv2d(position(taps[0].patches), on_grid(self.of_position))
        for projection, tap in zip(self.projections, taps):
            x = x + projection(tap)
        return x


class OnTokens(nn.Module):
    """Tokens of all taps [B, n_taps, n_cls + P, D] to the head's maps, with the parameters that src/heads
    holds.

    `kind` is the card's `head`; `grid` is rows and columns of patches."""

    def __init__(
        self, kind: dict, n_taps: int, hidden: int, n_cls: int, n_outputs: int, grid: tuple[int, int]
    ) -> None:
        super().__init__()
        self.n_cls, self.grid = n_cls, grid
        if kind["kind"] == "linear":
            has_position = kind.get("position", False)
            # Engines that were built before there were several taps have the names of the first.
            self.head = (
                FoldedLinear(hidden, n_outputs)
                if n_taps == 1 and not has_position
                else FoldedTaps(hidden, n_outputs, n_taps, has_position)
            )
        else:
            self.head = DptHead(hidden, n_outputs, kind["features"], kind["out_channels"])
            self.head.projects = nn.ModuleList(
                FoldedProjection(hidden, channels) for channels in kind["out_channels"]
            )

    def forward(self, tokens: Tensor) -> tuple[Tensor]:
        return (self.head([Tap.of(one, self.n_cls, self.grid) for one in tokens.unbind(1)]),)


def on_grid(x: Tensor) -> Tensor:
    """[n, m] as [n, m, 1, 1]."""
    return x.unsqueeze(2).unsqueeze(3)


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corners aligned, as the paper does it everywhere."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def depth(raw: Tensor, size: tuple[int, int], max_depth: float) -> Tensor:
    """[B, height, width] metres from [B, 1, h, w]. Resized before the sigmoid, as in training."""
    return torch.sigmoid(resized(raw, size))[:, 0] * max_depth


def labels(probabilities: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Confidence and class of every pixel, [B, height, width] each, from [B, n, height, width]: the likeliest
    class, or UNLABELLED where that is less likely than `threshold`."""
    confidence, classes = probabilities.max(1)
    return confidence, classes.masked_fill(confidence < threshold, UNLABELLED)
