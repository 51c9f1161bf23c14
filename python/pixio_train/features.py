"""Tokens of the frozen encoder for a list of views: computed when asked for, or once and kept on disk.

The cache is a folder per encoder, size and list of views, with one file per block: float16 tokens, view after
view. An interrupted file is as many views long as it got. Images count by path, size and time of change, so
that a changed one makes a folder of its own; folders may be deleted at any time.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from pixio_engine.model import Pixio
from torch import Tensor
from tqdm import tqdm

from .encoder import Checkpoint
from .errors import Refused
from .views import View

# Views that go through the encoder at once.
BATCH = {"cpu": 8, "cuda": 64}
THREADS = 4
GIGABYTE = 1e9


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/pixio_node/features`, else in `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "pixio_node/features")


class Encoder:
    """The frozen encoder on its device. `size` is width and height of its input."""

    def __init__(
        self, checkpoint: Checkpoint, size: tuple[int, int], taps: list[int], device: torch.device
    ) -> None:
        if (
            taps != sorted(set(taps))
            or not 1 <= taps[0] <= taps[-1] <= checkpoint.architecture.num_hidden_layers
        ):
            n_blocks = checkpoint.architecture.num_hidden_layers
            raise Refused(f"taps {taps}: blocks 1 to {n_blocks} of {checkpoint.name}, ascending")
        self.card = checkpoint.card()
        self.size, self.taps, self.device = size, taps, device
        self.model: Pixio = checkpoint.load(size, taps).to(device)
        self.n_cls = checkpoint.architecture.n_cls_tokens
        rows, columns = self.model.grid
        # Of one tap: tokens and channels.
        self.shape = (self.n_cls + rows * columns, checkpoint.architecture.hidden_size)

    @torch.no_grad()
    def tokens(self, views: list[View], taps: list[int]) -> list[Tensor]:
        """One [B, n_cls + P, D] per tap, float32 on the encoder's device."""
        with ThreadPoolExecutor(THREADS) as threads:
            images = np.stack(list(threads.map(lambda view: view.pixels(self.size), views)))
        tapped = self.model(torch.from_numpy(images).to(self.device))
        return [tokens for tap, tokens in zip(self.taps, tapped) if tap in taps]


class Computed:
    """Tokens of views, computed whenever they are asked for."""

    def __init__(self, encoder: Encoder, views: list[View]) -> None:
        self.encoder, self.views = encoder, views

    def of(self, indices: list[int]) -> list[Tensor]:
        """One [B, n_cls + P, D] per tap."""
        return self.encoder.tokens([self.views[i] for i in indices], self.encoder.taps)


class Cached:
    """Tokens of views, read from files that are completed first."""

    def __init__(self, encoder: Encoder, views: list[View], cache: Path) -> None:
        self.shape = (len(views), *encoder.shape)
        folder = cache / identity(encoder, views)
        with locked(folder):
            complete(encoder, views, folder)
        self.maps = [
            np.memmap(block_file(folder, tap), np.float16, "r", shape=self.shape) for tap in encoder.taps
        ]

    def of(self, indices: list[int]) -> list[Tensor]:
        """One [B, n_cls + P, D] per tap, float16 on the CPU."""
        return [torch.from_numpy(tokens[indices]) for tokens in self.maps]


def features(encoder: Encoder, views: list[View], cache: Path | None) -> Computed | Cached:
    return Computed(encoder, views) if cache is None else Cached(encoder, views, cache)


def identity(encoder: Encoder, views: list[View]) -> str:
    """Changes when tokens would. Blocks are not in it: each has a file of its own."""
    sha = hashlib.sha256(json.dumps([encoder.card, encoder.size]).encode())
    for view in views:
        about = view.image.rgb.stat()
        entry = [
            str(view.image.rgb.resolve()),
            about.st_size,
            about.st_mtime_ns,
            view.box,
            view.is_mirrored,
        ]
        sha.update(json.dumps(entry).encode())
    return sha.hexdigest()[:16]


def block_file(folder: Path, tap: int) -> Path:
    return folder / f"block{tap}.f16"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time fills a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as err:
        raise Refused(
            f"the cache {folder} cannot be made: {err.strerror}; give --cache another folder, or --no-cache"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process fills {folder}: waiting", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def complete(encoder: Encoder, views: list[View], folder: Path) -> None:
    """Computes the tokens that are not on disk yet."""
    n_bytes = 2 * encoder.shape[0] * encoder.shape[1]
    done = {tap: n_whole(block_file(folder, tap), n_bytes) for tap in encoder.taps}
    taps = [tap for tap in encoder.taps if done[tap] < len(views)]
    total = len(views) * len(encoder.taps) * n_bytes
    amount = f"{len(views)} views of {len(encoder.taps)} blocks, {total / GIGABYTE:.2f} GB"
    print(f"features: {amount} in {folder}", flush=True)
    if not taps:
        return
    start = min(done[tap] for tap in taps)
    needed, free = (len(views) - start) * len(taps) * n_bytes, shutil.disk_usage(folder).free
    if needed > 0.95 * free:
        raise Refused(
            f"the features need {needed / GIGABYTE:.2f} GB more, {free / GIGABYTE:.2f} GB are free in "
            f"{folder}: give --cache another folder, or --limit, --no-flip or --no-cache"
        )
    files = [block_file(folder, tap).open("ab") for tap in taps]
    try:
        for file in files:
            file.truncate(start * n_bytes)
        append(encoder, views, start, taps, files)
    except OSError as err:
        raise Refused(f"the features cannot be written to {folder}: {err.strerror}") from None
    finally:
        for file in files:
            file.close()


def append(encoder: Encoder, views: list[View], start: int, taps: list[int], files: list) -> None:
    batch = BATCH[encoder.device.type]
    with tqdm(total=len(views), initial=start, desc="features", unit="view", disable=None) as bar:
        for first in range(start, len(views), batch):
            some = views[first : first + batch]
            for file, tokens in zip(files, encoder.tokens(some, taps)):
                half = tokens.half()
                if not half.isfinite().all():
                    raise Refused(f"tokens of {some[0].image.rgb} are too large for float16: use --no-cache")
                file.write(half.cpu().numpy().tobytes())
            bar.update(len(some))


def n_whole(file: Path, n_bytes: int) -> int:
    return file.stat().st_size // n_bytes if file.exists() else 0
