"""Random DPT heads of a model's width into a folder: `make_heads.py MODEL FOLDER`. Their maps mean nothing,
their time and memory are those of trained heads."""

import json
import sys
from pathlib import Path

import torch
from cell import MODELS, N_CLS, PATCH
from safetensors.torch import save_file

sys.path.append(str(Path(__file__).resolve().parents[2] / "python"))
from pixio_engine.heads import DptHead, Tap

# Features and channels of each tap; those of the larger models are DPT-large's.
NETWORKS = {
    "tiny": (16, [8, 12, 16, 20]),
    "vitb16": (128, [96, 192, 384, 768]),
    "vitl16": (256, [256, 512, 1024, 1024]),
    "vith16": (256, [256, 512, 1024, 1024]),
}
N_CLASSES = 19
TASKS = {
    "depth": {"kind": "depth", "max_depth": 8.0, "focal_length": 200.0},
    "segmentation": {
        "kind": "segmentation",
        "classes": [{"name": f"class {n}", "color": [13 * n, 90, 30]} for n in range(N_CLASSES)],
    },
}


@torch.no_grad()
def write(model: str, task: str, folder: Path):
    """`TASK.safetensors` in float16, with its card."""
    hidden, n_blocks, _ = MODELS[model]
    features, channels = NETWORKS[model]
    network = DptHead(hidden, len(TASKS[task].get("classes", [0])), features, channels).eval()
    grid = (256 // PATCH, 256 // PATCH)
    taps = [Tap.of(torch.randn(1, N_CLS + grid[0] * grid[1], hidden), N_CLS, grid) for _ in channels]
    # Maps of order one: no sigmoid saturates.
    network.scratch["output_conv"][2].weight /= network(taps).std()
    card = {
        "format": 1,
        "task": TASKS[task],
        "head": {"kind": "dpt", "features": features, "out_channels": channels},
        "taps": [n_blocks * (n + 1) // len(channels) for n in range(len(channels))],
        "size": "256x256",
        "backbone": {
            "model": f"random:{model}",
            "revision": "0123456789ab",
            "hidden_size": hidden,
            "num_hidden_layers": n_blocks,
            "n_cls_tokens": N_CLS,
        },
    }
    tensors = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / f"{task}.safetensors", metadata={"card": json.dumps(card)})


def main(model: str, folder: str):
    Path(folder).mkdir(parents=True, exist_ok=True)
    torch.manual_seed(5)
    for task in TASKS:
        write(model, task, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
