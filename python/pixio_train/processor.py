"""preprocessor_config.json of a model's folder: how bytes became values for its weights. The node reads it in
src/pixio/processor.rs."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .errors import Refused

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
SCALE = 1 / 255


@dataclass(frozen=True)
class Processor:
    """A byte times `scale`, less `mean`, over `deviation`; the two of them per channel."""

    scale: float = SCALE
    mean: tuple[float, ...] = MEAN
    deviation: tuple[float, ...] = DEVIATION

    def normalized(self, values: Tensor) -> Tensor:
        """Of `values` from 0 to 1, [..., 3]."""
        return (values - torch.tensor(self.mean)) / torch.tensor(self.deviation)

    def identity(self) -> str:
        """What tells this processor from others where the weights are the same; nothing for that of the
        published models."""
        own, published = self.bits(), PUBLISHED.bits()
        return "" if own == published else own

    def bits(self) -> str:
        """The numbers as float32, hexadecimal."""
        return struct.pack(">7f", self.scale, *self.mean, *self.deviation).hex()


PUBLISHED = Processor()


def read_processor(folder: Path) -> Processor:
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return PUBLISHED
    try:
        written = json.loads(file.read_text())
        scale = 1.0 if written.get("do_rescale") is False else float(written.get("rescale_factor") or SCALE)
        mean, deviation = (
            each_channel(written.get(key), default)
            for key, default in (("image_mean", MEAN), ("image_std", DEVIATION))
        )
    except (OSError, ValueError, TypeError, AttributeError) as err:
        raise Refused(f"{file}: {err}") from None
    if written.get("do_normalize") is False:
        mean, deviation = (0.0,) * 3, (1.0,) * 3
    if not (scale > 0 and all(value > 0 for value in deviation)):
        raise Refused(f"{file}: rescale_factor and image_std must be positive")
    return Processor(scale, mean, deviation)


def each_channel(written: object, default: tuple[float, ...]) -> tuple[float, ...]:
    """One number stands for all channels."""
    if written is None:
        return default
    values = tuple(map(float, written)) if isinstance(written, list) else (float(written),) * 3
    if len(values) != 3:
        raise ValueError(f"{written} are not three channels")
    return values
