"""Writes random head files and what python/pixio_engine/heads.py computes with them: make_heads.py OUT

OUT/NAME.safetensors is a head file, OUT/NAME.golden.safetensors holds the tokens of its taps and the results;
tests/it/heads.rs reads them (env PIXIO_HEADS=OUT).
"""

import json
import sys
from pathlib import Path

import torch
from pixio_engine.heads import DptHead, LinearHead, Tap, depth, resized
from safetensors.torch import save_file
from torch import nn

HIDDEN, N_BLOCKS, N_CLS = 48, 8, 8
GRID, SIZE = (6, 9), (96, 144)
# Two by two windows cover it.
IMAGE = (200, 300)
CLASSES = [
    {"name": name, "color": [10 * i, 20, 30]}
    for i, name in enumerate(["floor", "wall", "table", "robot", "other"])
]
TASKS = {
    "depth": {"kind": "depth", "max_depth": 10.0, "focal_length": 240.0},
    "segmentation": {"kind": "segmentation", "classes": CLASSES},
}
HEADS = {
    "linear": {"kind": "linear"},
    "dpt": {"kind": "dpt", "features": 16, "out_channels": [8, 12, 16, 20]},
}


def main(out: Path) -> None:
    torch.manual_seed(11)
    out.mkdir(parents=True, exist_ok=True)
    for task, about in TASKS.items():
        for kind, head in HEADS.items():
            write(out, f"{kind}-{task}", about, head)


@torch.no_grad()
def write(out: Path, name: str, task: dict, head: dict) -> None:
    n_outputs = len(task.get("classes", "1"))
    taps = [8] if head["kind"] == "linear" else [2, 4, 6, 8]
    if head["kind"] == "linear":
        network = LinearHead(HIDDEN, n_outputs)
    else:
        network = DptHead(HIDDEN, n_outputs, head["features"], head["out_channels"])
    randomize(network.eval())
    card = {
        "format": 1,
        "task": task,
        "head": head,
        "taps": taps,
        "size": f"{SIZE[1]}x{SIZE[0]}",
        "backbone": {
            "model": "random",
            "revision": "0123456789ab",
            "hidden_size": HIDDEN,
            "num_hidden_layers": N_BLOCKS,
            "n_cls_tokens": N_CLS,
        },
    }
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(tensors, out / f"{name}.safetensors", metadata={"card": json.dumps(card)})

    tokens = [torch.randn(2, N_CLS + GRID[0] * GRID[1], HIDDEN) for _ in taps]
    raw = network([Tap.of(one, N_CLS, GRID) for one in tokens])
    golden = {f"tap.{i}": one for i, one in enumerate(tokens)} | {"raw": raw}
    if task["kind"] == "depth":
        golden["depth"] = depth(raw, SIZE, task["max_depth"])
    else:
        probabilities = resized(raw, SIZE).softmax(1)
        golden["confidence"], golden["classes"] = probabilities.max(1)
    golden["windows.raw"] = 4 * torch.randn(4, n_outputs, 32, 32)
    golden |= {f"windows.{key}": value for key, value in over_windows(golden["windows.raw"], task).items()}
    save_file({key: value.contiguous() for key, value in golden.items()}, out / f"{name}.golden.safetensors")


def over_windows(raw: torch.Tensor, task: dict) -> dict[str, torch.Tensor]:
    """The paper's sliding window, pixel by pixel: what each window says of a pixel is summed."""
    height, width = IMAGE
    is_depth = task["kind"] == "depth"
    said = (
        depth(raw, (256, 256), task["max_depth"])[:, None]
        if is_depth
        else resized(raw, (256, 256)).softmax(1)
    )
    total, n_seen = torch.zeros(said.shape[1], height, width), torch.zeros(height, width)
    corners = [(row, column) for row in range(0, height, 170) for column in range(0, width, 170)]
    for window, (top, left) in zip(said, corners, strict=True):
        bottom, right = min(top + 256, height), min(left + 256, width)
        total[:, top:bottom, left:right] += window[:, : bottom - top, : right - left]
        n_seen[top:bottom, left:right] += 1
    if is_depth:
        return {"depth": (total / n_seen)[0]}
    return {"classes": total.argmax(0), "confidence": total.amax(0) / n_seen}


def randomize(network: nn.Module) -> None:
    """Maps of order one everywhere; no norm is one and no bias zero."""
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            continue
        if name.endswith("running_var"):
            value.copy_(0.5 + torch.rand_like(value))
        elif value.ndim == 1:
            value.copy_(0.3 * torch.randn_like(value) + (1 if name == "norm.weight" else 0))
        else:
            value.copy_(torch.randn_like(value) * (2 / value[0].numel()) ** 0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
