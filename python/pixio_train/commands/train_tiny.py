"""Trains a small Pixio with a depth and a segmentation head, all together and from nothing, on rendered
rooms.

    pixio-train-tiny TRAIN HELD_OUT OUT --minutes 60 --work target/tiny

TRAIN and HELD_OUT are folders of pixio-render-rooms. OUT gets config.json, model.safetensors,
depth.safetensors and segmentation.safetensors in float16. Small images come first, as most is learned on
them at a fifth of the cost; the last ones have the size of the model's input. The weights that are written
are a running mean. A checkpoint is kept in the work folder every five minutes, and a run that finds one goes
on from it. Figures are of held-out images at the size of their truth. Needs torch; no GPU.
"""

import argparse
import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pixio_engine import heads
from pixio_engine.heads import resized
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from pixio_train.dataset import read_camera, read_classes
from pixio_train.errors import program
from pixio_train.losses import silog
from pixio_train.metrics import DepthFigures, SegmentationFigures, in_words, table
from pixio_train.rooms import network
from pixio_train.rooms.frames import Frames, names_in, stretched, truth
from pixio_train.rooms.network import SIDE, Tiny

MAX_DEPTH = 10.0
# Share of the training up to which images have this side, and how many make a step.
STAGES = ((0.45, 128, 32), (0.75, 192, 24), (1.0, 256, 16))
# Of the blocks' matrices, which Muon trains, and of the rest.
MATRIX_RATE, OTHER_RATE, WARM_UP_STEPS = 3e-3, 1.5e-3, 100
MEAN_OVER_STEPS = 300
CHECKPOINT_SECONDS = 300
# Held-out images that a checkpoint is judged by; the end takes all.
N_JUDGED = 100


@program
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("out", type=Path, help="folder to write, e.g. models/pixio-tiny")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=60, help="of training (default: 60)")
    length.add_argument("--steps", type=int, help="train this many steps instead, however long they take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("target/tiny"),
        help="where the checkpoint is (default: target/tiny)",
    )
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.work.mkdir(parents=True, exist_ok=True)
    classes = read_classes(args.train / "classes.yaml")
    frames = Frames.load(args.train, SIDE)
    training = Training(frames, len(classes), Length(60 * args.minutes, args.steps), args.seed)
    checkpoint = args.work / "checkpoint.pt"
    if checkpoint.exists():
        training.resume(torch.load(checkpoint, weights_only=True))
    for _ in training.rounds():
        torch.save(training.state(), checkpoint)
        report(training, figures(training.mean, args.held_out, classes, N_JUDGED))

    training.mean.half().float()
    final = figures(training.mean, args.held_out, classes)
    camera = read_camera(args.train / "camera.yaml")
    tasks = {
        "depth": {"kind": "depth", "max_depth": MAX_DEPTH, "focal_length": camera.focal_length((SIDE, SIDE))},
        "segmentation": {"kind": "segmentation", "classes": classes},
    }
    network.write(training.mean, args.out, tasks, {"fit": "stretch"})
    print("\n".join(table(one) for one in final))


@dataclass(frozen=True)
class Length:
    """How long to train: so many seconds, or so many steps if they are given."""

    seconds: float
    steps: int | None

    def share(self, elapsed: float, step: int) -> float:
        """How much of it is done, up to 1."""
        done, whole = (elapsed, self.seconds) if self.steps is None else (step, self.steps)
        return min(1.0, done / whole) if whole else 1.0


class Training:
    """Steps until the training is over."""

    def __init__(self, frames: Frames, n_classes: int, length: Length, seed: int) -> None:
        self.frames, self.length, self.seed = frames, length, seed
        self.network = Tiny(n_classes)
        self.network.whiten(frames.rgb[:1500])
        # The heads' convolutions are faster by a half.
        self.network.to(memory_format=torch.channels_last)
        self.mean = copy.deepcopy(self.network)
        matrices = [value for value in self.network.encoder.blocks.parameters() if value.ndim == 2]
        chosen = {id(value) for value in matrices}
        rest = [value for value in self.network.parameters() if id(value) not in chosen]
        self.optimizers = {
            torch.optim.Muon(matrices, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"): MATRIX_RATE,
            torch.optim.AdamW(rest, weight_decay=0.02, betas=(0.9, 0.98)): OTHER_RATE,
        }
        self.elapsed, self.step, self.loss = 0.0, 0, math.nan
        # Rare classes count more, but less than in proportion.
        share = np.bincount(frames.labels.flatten(), minlength=256)[:n_classes] / frames.labels.size
        weights = torch.tensor((share + 1e-4) ** -0.3, dtype=torch.float32)
        self.weights = weights / (weights * torch.tensor(share)).sum().float()

    def rounds(self) -> Iterator[None]:
        """Trains; comes back every five minutes and at the end. What is done in between is not counted."""
        bar = tqdm(total=100, initial=round(100 * self.share), unit="%", desc="training", mininterval=10)
        while self.share < 1:
            began, before = time.monotonic(), self.elapsed
            while self.share < 1 and self.elapsed < before + CHECKPOINT_SECONDS:
                self.advance()
                self.elapsed = before + time.monotonic() - began
                bar.update(round(100 * self.share) - bar.n)
                bar.set_postfix(step=self.step, loss=f"{self.loss:.3f}", refresh=False)
            yield

    @property
    def share(self) -> float:
        """How much of the training is done."""
        return self.length.share(self.elapsed, self.step)

    def advance(self) -> None:
        share = self.share
        side, n = next((side, n) for end, side, n in STAGES if share <= end)
        pace = min(1, (self.step + 1) / WARM_UP_STEPS) * (0.01 + 0.99 * math.cos(share * math.pi / 2) ** 2)
        for optimizer, rate in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rate * pace
        rng = np.random.default_rng([self.seed, self.step])
        images, depth, labels = self.frames.batch(rng.integers(len(self.frames.rgb), size=n), side, rng)
        with torch.autocast("cpu", torch.bfloat16):
            raw_depth, scores = self.network(images)
        loss = self.depth_loss(raw_depth.float(), depth) + F.cross_entropy(
            scores.float(), labels, self.weights, ignore_index=255
        )
        self.network.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.loss = loss.item() if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * loss.item()
        pace = 1 / min(self.step, MEAN_OVER_STEPS)
        with torch.no_grad():
            for mean, value in zip(self.mean.parameters(), self.network.parameters()):
                mean.lerp_(value, pace)

    @staticmethod
    def depth_loss(raw: Tensor, depth: Tensor) -> Tensor:
        depth = torch.where(depth <= MAX_DEPTH, depth, 0)
        predicted = heads.depth(raw, depth.shape[1:], MAX_DEPTH)
        known = depth > 0
        # The first forgives a wrong scale, the second does not and minds outliers less.
        return silog(predicted, depth) + (predicted[known].log() - depth[known].log()).abs().mean()

    def state(self) -> dict:
        return {
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "elapsed": self.elapsed,
            "step": self.step,
        }

    def resume(self, state: dict) -> None:
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        for optimizer, its in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(its)
        self.elapsed, self.step = state["elapsed"], state["step"]


@torch.no_grad()
def figures(model: Tiny, folder: Path, classes: list[dict], n: int | None = None) -> tuple[dict, dict]:
    """Of depth and of segmentation, over `n` images spread over the folder."""
    names = names_in(folder)
    names = [names[i * len(names) // n] for i in range(n)] if n and n < len(names) else names
    depths, labels = DepthFigures(MAX_DEPTH), SegmentationFigures([one["name"] for one in classes])
    for name in names:
        depth, truth_labels = (torch.from_numpy(one) for one in truth(folder, name))
        image = torch.from_numpy(stretched(folder, name, SIDE).copy())[None].float() / 255
        raw, scores = model(image)
        depths.add(heads.depth(raw, depth.shape, MAX_DEPTH)[0], depth.float() / 1000)
        labels.add(resized(scores, truth_labels.shape)[0].argmax(0), truth_labels)
    return depths.result(), labels.result()


def report(training: Training, found: tuple[dict, dict]) -> None:
    tqdm.write(
        f"{training.elapsed / 60:5.1f} min  step {training.step}  loss {training.loss:.3f}  "
        + "  ".join(in_words(one) for one in found)
    )


if __name__ == "__main__":
    main()
