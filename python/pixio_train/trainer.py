"""The training of a head: batches, schedule, the best epoch, and going on after an interrupt."""

import io
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .errors import Refused
from .evaluate import taps_of
from .features import Cached, Computed, Encoder
from .head_file import write_whole
from .metrics import in_words
from .tasks import Depth, Segmentation
from .views import View

WEIGHT_DECAY = 0.01
POWER = 0.9
# Seconds between two checkpoints within an epoch.
CHECKPOINT_EVERY = 300
THREADS = 2
# Batches that are made ready while one is learned from.
AHEAD = 2


@dataclass
class Examples:
    """What is learned from: per image the views of which each epoch takes one."""

    encoder: Encoder
    task: Depth | Segmentation
    source: Computed | Cached
    # In the order of `source`.
    views: list[list[View]]

    def __post_init__(self) -> None:
        counts = [len(some) for some in self.views]
        self.starts = np.cumsum([0, *counts[:-1]])

    def batches(self, size: int, seed: int, epoch: int) -> list[list[tuple[int, int]]]:
        """Image and view of every example of an epoch: the same whenever asked. A last batch that is not
        full is left out, unless it is the only one: batch norm wants company."""
        draw = np.random.default_rng([seed, epoch])
        order = draw.permutation(len(self.views))
        chosen = [(int(i), int(draw.integers(len(self.views[i])))) for i in order]
        n_whole = len(chosen) // size * size or len(chosen)
        return [chosen[first : first + size] for first in range(0, n_whole, size)]

    def load(self, batch: list[tuple[int, int]]) -> tuple[list[Tensor], Tensor]:
        """Tokens per tap and truth [B, h, w] at the size of the input."""
        tokens = self.source.of([int(self.starts[image]) + view for image, view in batch])
        truths = [self.truth(self.views[image][view]) for image, view in batch]
        return tokens, torch.from_numpy(np.stack(truths))

    def truth(self, view: View) -> np.ndarray:
        is_depth = self.task.name == "depth"
        whole = view.image.depth() if is_depth else view.image.labels()
        return view.truth(whole, self.encoder.size).astype(np.float32 if is_depth else np.int64)


@dataclass(frozen=True)
class Plan:
    """How long and how fast."""

    epochs: int
    batch: int
    learning_rate: float
    seed: int
    minutes: float | None
    # Everything that shapes the result: a checkpoint of other settings is refused.
    settings: dict


@dataclass
class State:
    """How far a training is; what a checkpoint holds beside weights and optimizer."""

    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    # Of the epoch that goes on: sum over its batches.
    loss: float = 0.0
    best: dict | None = None
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)


class Training:
    """A head on its way. `judge` gives the figures of a head on held-out images."""

    def __init__(
        self,
        network: nn.Module,
        examples: Examples,
        judge: Callable[[nn.Module], dict],
        plan: Plan,
        checkpoint: Path,
    ) -> None:
        self.network, self.examples, self.judge, self.plan, self.checkpoint = (
            network,
            examples,
            judge,
            plan,
            checkpoint,
        )
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=plan.learning_rate, weight_decay=WEIGHT_DECAY
        )
        self.state = State()
        self.is_stopped = False
        self.written = self.ticked = time.monotonic()

    def run(self) -> State:
        """Trains to the end. A signal ends it after the batch that it comes in, with a checkpoint; a second
        at once."""
        before = {which: signal.signal(which, self.stop) for which in (signal.SIGINT, signal.SIGTERM)}
        self.ticked = time.monotonic()
        while self.state.epoch < self.plan.epochs and not self.is_out_of_time():
            self.run_epoch()
            if self.is_stopped:
                self.write_checkpoint()
                raise Refused(
                    f"interrupted in epoch {self.state.epoch + 1} of {self.plan.epochs}: --resume goes on "
                    f"from {self.checkpoint}"
                )
            self.end_epoch()
        for which, handler in before.items():
            signal.signal(which, handler)
        return self.state

    def stop(self, which: int, _frame: object) -> None:
        self.is_stopped = True
        signal.signal(which, signal.default_int_handler)

    def run_epoch(self) -> None:
        """What is left of the epoch, or of the time."""
        state, plan = self.state, self.plan
        batches = self.examples.batches(plan.batch, plan.seed, state.epoch)
        self.network.train()
        bar = tqdm(
            total=len(batches),
            initial=state.batch,
            desc=f"epoch {state.epoch + 1}/{plan.epochs}",
            unit="batch",
            leave=False,
            disable=None,
        )
        with bar, ThreadPoolExecutor(THREADS) as threads:
            for tokens, truth in ahead(threads, self.examples.load, batches[state.batch :]):
                self.set_learning_rate(len(batches))
                loss = self.step(tokens, truth)
                if not math.isfinite(loss):
                    raise Refused(
                        f"the loss is {loss} in epoch {state.epoch + 1}: try a smaller --learning-rate"
                    )
                state.batch += 1
                state.loss += loss
                bar.set_postfix(loss=f"{state.loss / state.batch:.4f}", refresh=False)
                bar.update()
                self.tick()
                if time.monotonic() - self.written > CHECKPOINT_EVERY:
                    self.write_checkpoint()
                if self.is_stopped or self.is_out_of_time():
                    break

    def tick(self) -> None:
        """Adds the time since the last call."""
        now = time.monotonic()
        self.state.seconds += now - self.ticked
        self.ticked = now

    def step(self, tokens: list[Tensor], truth: Tensor) -> float:
        encoder = self.examples.encoder
        loss = self.examples.task.loss(self.network(taps_of(tokens, encoder)), truth.to(encoder.device))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def end_epoch(self) -> None:
        """Judges the head and keeps it if it is the best so far."""
        state, task = self.state, self.examples.task
        figures = self.judge(self.network)
        loss = state.loss / max(1, state.batch)
        state.epoch, state.batch, state.loss = state.epoch + 1, 0, 0.0
        is_best = state.best is None or figures[task.best] > state.best[task.best]
        if is_best:
            state.best, state.best_epoch = figures, state.epoch
            weights = self.network.state_dict().items()
            state.best_weights = {name: value.detach().cpu().clone() for name, value in weights}
        print(
            f"epoch {state.epoch}/{self.plan.epochs}  loss {loss:.4f}  held out: {in_words(figures)}"
            f"{'  best' if is_best else ''}",
            flush=True,
        )
        self.tick()
        self.write_checkpoint()

    def set_learning_rate(self, n_batches: int) -> None:
        """Linear to the full rate, and polynomial to 0 at the end, be it the last epoch's or that of the
        time."""
        done = (self.state.epoch * n_batches + self.state.batch + 0.5) / (self.plan.epochs * n_batches)
        if self.plan.minutes:
            done = max(done, min(1.0, self.state.seconds / 60 / self.plan.minutes))
        rising = done / self.examples.task.warm_up if self.examples.task.warm_up else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * min(rising, (1 - done) ** POWER)

    def is_out_of_time(self) -> bool:
        return self.plan.minutes is not None and self.state.seconds >= 60 * self.plan.minutes

    def write_checkpoint(self) -> None:
        content = io.BytesIO()
        torch.save(
            {
                "settings": json.dumps(self.plan.settings),
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "state": vars(self.state),
            },
            content,
        )
        write_whole(self.checkpoint, content.getvalue())
        self.written = time.monotonic()

    def resume(self) -> None:
        """Goes on where the checkpoint was written."""
        try:
            stored = torch.load(self.checkpoint, map_location=self.examples.encoder.device, weights_only=True)
        except Exception as err:
            raise Refused(
                f"{self.checkpoint} is no checkpoint of a training: {str(err).splitlines()[0]}"
            ) from None
        theirs, ours = json.loads(stored["settings"]), json.loads(json.dumps(self.plan.settings))
        for key in theirs.keys() | ours.keys():
            if theirs.get(key) != ours.get(key):
                raise Refused(
                    f"{self.checkpoint} was made with {key} {theirs.get(key)}, this is {ours.get(key)}: give "
                    "the same, or leave --resume out to start anew"
                )
        self.network.load_state_dict(stored["network"])
        self.optimizer.load_state_dict(stored["optimizer"])
        self.state = State(**stored["state"])


def ahead(threads: ThreadPoolExecutor, load: Callable, batches: list) -> Iterator:
    """Loaded batches in order; the next ones are loaded meanwhile."""
    waiting: list[Future] = []
    todo = iter(batches)
    try:
        while True:
            while len(waiting) <= AHEAD and (batch := next(todo, None)) is not None:
                waiting.append(threads.submit(load, batch))
            if not waiting:
                return
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()
