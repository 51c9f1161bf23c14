"""Random heads for random:tiny: what they say means nothing, but every peer must say the same."""

import json
from pathlib import Path

import make_heads
import torch
from pixio_engine.heads import DptHead, LinearHead, Tap
from safetensors.torch import save_file

TINY = {
    "model": "random:tiny",
    "revision": "0123456789ab",
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "n_cls_tokens": 8,
}
CLASSES = [
    {"name": name, "color": color}
    for name, color in [
        ("floor", [90, 60, 30]),
        ("wall", [200, 200, 180]),
        ("chair", [30, 90, 200]),
        ("robot", [240, 40, 40]),
    ]
]
TASKS = {
    "depth": {"kind": "depth", "max_depth": 8.0, "focal_length": 200.0},
    "segmentation": {"kind": "segmentation", "classes": CLASSES},
}


@torch.no_grad()
def write(file: Path, task: str, head: str = "dpt", **card) -> Path:
    """A head file for `task`, `dpt`, `linear` or, of card format 2, `taps`, a linear one on three blocks and
    the place of the patch; `card` replaces parts of its card."""
    torch.manual_seed(5)
    n_outputs = 1 if task == "depth" else len(CLASSES)
    if head == "dpt":
        kind, taps = {"kind": "dpt", "features": 16, "out_channels": [8, 12, 16, 20]}, [1, 2, 3, 4]
        network = DptHead(192, n_outputs, 16, [8, 12, 16, 20])
    elif head == "taps":
        kind, taps = {"kind": "linear", "position": True}, [1, 2, 4]
        network = LinearHead(192, n_outputs, len(taps), has_position=True)
    else:
        kind, taps, network = {"kind": "linear"}, [4], LinearHead(192, n_outputs)
    make_heads.randomize(network.eval())
    # Maps of order one: no sigmoid saturates.
    last = network.scratch["output_conv"][2] if head == "dpt" else network.conv
    tokens = [Tap.of(torch.randn(1, 264, 192), 8, (16, 16)) for _ in taps]
    last.weight /= network(tokens).std()
    about = {
        "format": 2 if head == "taps" else 1,
        "task": TASKS[task],
        "head": kind,
        "taps": taps,
        "size": "256x256",
        "backbone": TINY,
    } | card
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(tensors, file, metadata={"card": json.dumps(about)})
    return file
