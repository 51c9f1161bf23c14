"""What one table of bench-gpu is about, and the least time that its arithmetic takes."""

import itertools
from dataclasses import dataclass

PATCH = 16
N_CLS = 8
# Hidden size, blocks, heads.
MODELS = {"tiny": (192, 4, 3), "vitb16": (768, 12, 12), "vitl16": (1024, 24, 16), "vith16": (1280, 32, 16)}
# Models vary fastest, so that a run that is cut short has seen all of them.
CELLS = list(itertools.product(("256x256", "512x384"), (1, 4), ("vith16", "vitl16", "vitb16")))
# What an H100 was measured to do: bf16 matrix products and reading of device memory.
FLOPS_PER_SEC = 790e12
BYTES_PER_SEC = 3e12


@dataclass(frozen=True)
class Cell:
    """What one table is about. `size` is WIDTHxHEIGHT."""

    model: str
    size: str
    batch: int
    device: str
    precision: str

    @property
    def key(self) -> str:
        return f"{self.model} {self.size} batch {self.batch} {self.precision} {self.device.partition(':')[0]}"

    @property
    def width_height(self) -> tuple[int, int]:
        width, height = map(int, self.size.split("x"))
        return width, height

    def floor(self) -> dict:
        """The least time by arithmetic and by reading the weights: `2 (L (12 N D^2 + 2 N^2 D) + 768 P D)` a
        frame."""
        hidden, n_blocks, _ = MODELS[self.model]
        width, height = self.width_height
        n_patches = (width // PATCH) * (height // PATCH)
        n_tokens = n_patches + N_CLS
        blocks = n_blocks * (12 * n_tokens * hidden**2 + 2 * n_tokens**2 * hidden)
        flops = self.batch * 2 * (blocks + 3 * PATCH**2 * n_patches * hidden)
        n_weights = n_blocks * (12 * hidden**2 + 13 * hidden) + hidden * (3 * PATCH**2 + 256 + 2 * N_CLS + 3)
        times = flops / FLOPS_PER_SEC * 1e3, 2 * n_weights / BYTES_PER_SEC * 1e3
        return {
            "gflop": flops / 1e9,
            "weights_mb": 2 * n_weights / 1e6,
            "flops_ms": times[0],
            "weights_ms": times[1],
            "ms": max(times),
        }
