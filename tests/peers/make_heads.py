"""Writes random head files and what python/pixio_engine/heads.py computes with them: make_heads.py OUT

OUT/NAME.safetensors is a head file, OUT/NAME.golden.safetensors holds the tokens of its taps and the results;
tests/it/heads.rs reads them (env PIXIO_HEADS=OUT).
"""

import json
import sys
from pathlib import Path

import torch
from pixio_engine.heads import DptHead, LinearHead, Tap, depth, labels, resized
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
# Of card format 1.
HEADS = {
    "linear": ({"kind": "linear"}, [8]),
    "dpt": ({"kind": "dpt", "features": 16, "out_channels": [8, 12, 16, 20]}, [2, 4, 6, 8]),
}
# Of card format 2, where segmentation gets a threshold.
NEWER = {
    "taps": ({"kind": "linear", "position": False}, [2, 5, 8]),
    "place": ({"kind": "linear", "position": True}, [8]),
    "taps-place": ({"kind": "linear", "position": True}, [1, 3, 5, 8]),
}


def main(out: Path) -> None:
    torch.manual_seed(11)
    out.mkdir(parents=True, exist_ok=True)
    for task, about in TASKS.items():
        for kind, (head, taps) in HEADS.items():
            write(out, f"{kind}-{task}", 1, about, head, taps)
    for task, about in TASKS.items():
        for kind, (head, taps) in NEWER.items():
            write(out, f"{kind}-{task}", 2, about, head, taps)


@torch.no_grad()
def write(out: Path, name: str, number: int, task: dict, head: dict, taps: list[int]) -> None:
    n_outputs = len(task.get("classes", "1"))
    if head["kind"] == "linear":
        network = LinearHead(HIDDEN, n_outputs, len(taps), head.get("position", False))
    else:
        network = DptHead(HIDDEN, n_outputs, head["features"], head["out_channels"])
    randomize(network.eval())
    tokens = [torch.randn(2, N_CLS + GRID[0] * GRID[1], HIDDEN) for _ in taps]
    raw = network([Tap.of(one, N_CLS, GRID) for one in tokens])
    windows = 4 * torch.randn(4, n_outputs, 32, 32)
    golden = {f"tap.{i}": one for i, one in enumerate(tokens)} | {"raw": raw, "windows.raw": windows}
    if task["kind"] == "depth":
        golden["depth"] = depth(raw, SIZE, task["max_depth"])
        golden["windows.depth"] = over_windows(depth(windows, (256, 256), task["max_depth"])[:, None])[0, 0]
    else:
        whole, merged = resized(raw, SIZE).softmax(1), over_windows(resized(windows, (256, 256)).softmax(1))
        if number > 1:
            task = task | {"threshold": apart(whole.amax(1), merged.amax(1))}
        threshold = task.get("threshold", 0.0)
        golden["confidence"], golden["classes"] = labels(whole, threshold)
        confidence, classes = labels(merged, threshold)
        golden |= {"windows.confidence": confidence[0], "windows.classes": classes[0]}
    card = {
        "format": number,
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
    save_file({key: value.contiguous() for key, value in golden.items()}, out / f"{name}.golden.safetensors")


def over_windows(said: torch.Tensor) -> torch.Tensor:
    """The paper's sliding window, pixel by pixel: [1, n, height, width], the mean of what the windows
    [4, n, 256, 256] say."""
    height, width = IMAGE
    total, n_seen = torch.zeros(1, said.shape[1], height, width), torch.zeros(height, width)
    corners = [(row, column) for row in range(0, height, 170) for column in range(0, width, 170)]
    for window, (top, left) in zip(said, corners, strict=True):
        bottom, right = min(top + 256, height), min(left + 256, width)
        total[0, :, top:bottom, left:right] += window[:, : bottom - top, : right - left]
        n_seen[top:bottom, left:right] += 1
    return total / n_seen


def apart(*confidences: torch.Tensor) -> float:
    """A threshold in the middle of the widest gap about a half: rounding decides no pixel."""
    near = torch.cat([one.flatten() for one in confidences]).sort().values
    near = near[(near > 0.4) & (near < 0.6)]
    gap = int(near.diff().argmax())
    return float(near[gap] + near[gap + 1]) / 2


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
