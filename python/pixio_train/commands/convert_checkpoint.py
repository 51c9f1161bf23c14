"""Turns a pickled Pixio checkpoint (.pth, pytorch_model.bin) into a folder that pixio_node reads.

OUT gets model.safetensors, the tensors under the names they have, and config.json. An existing config.json in
OUT or beside the checkpoint is kept; otherwise it is derived from the tensors' shapes. The pickle is opened
with weights_only, which runs no code from it. Needs torch and safetensors.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from pixio_train.errors import program

# Heads of the published sizes by hidden size: shapes do not tell them.
HEADS = {768: 12, 1024: 16, 1280: 16, 1536: 24, 3072: 32}
PATCH = 16
BLOCK = re.compile(r"^(?:pixio\.|encoder\.)?(?:layers|encoder\.layer|blocks)\.(\d+)\.")


@program
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="the .pth or .bin file")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument(
        "--heads", type=int, help="attention heads (default: those of the published model of this width)"
    )
    args = parser.parse_args()

    tensors = read(args.checkpoint)
    config = find_config(args.checkpoint, args.out) if args.heads is None else None
    text = config.read_text() if config else json.dumps(derive_config(tensors, args.heads), indent=2) + "\n"
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, args.out / "model.safetensors", metadata={"format": "pt"})
    if config != args.out / "config.json":
        (args.out / "config.json").write_text(text)
    origin = f"from {config}" if config else "derived from the shapes"
    print(f"{args.out}: {len(tensors)} tensors in model.safetensors; config.json {origin}")


def read(file: Path) -> dict[str, torch.Tensor]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as err:
        sys.exit(f"{file} is not a checkpoint of tensors alone: {str(err).splitlines()[0]}")
    # Training scripts save the weights beside the optimizer.
    for key in ("model", "state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        sys.exit(f"{file} holds a {type(loaded).__name__}, not tensors by name")
    # Cloned: safetensors refuses tensors that share memory.
    tensors = {
        key: value.detach().clone().contiguous() for key, value in loaded.items() if torch.is_tensor(value)
    }
    if not any(BLOCK.match(key) for key in tensors):
        sys.exit(f"{file} holds no Pixio encoder: no tensor is called blocks.*, layers.* or encoder.layer.*")
    return tensors


def find_config(checkpoint: Path, out: Path) -> Path | None:
    return next(
        (path for path in (out / "config.json", checkpoint.parent / "config.json") if path.is_file()), None
    )


def derive_config(tensors: dict[str, torch.Tensor], heads: int | None) -> dict:
    def shape(pattern: str) -> list[int]:
        found = next((list(value.shape) for key, value in tensors.items() if re.search(pattern, key)), None)
        return found or sys.exit(
            f"no tensor is called {pattern}: config.json cannot be derived, put one beside the checkpoint"
        )

    _, n_cls, hidden = shape(r"(^|\.)cls_token$")
    _, n_positions, _ = shape(r"(^|\.)(pos_embed|position_embeddings)$")
    side = int((n_positions - n_cls) ** 0.5)
    blocks = [(key, value) for key, value in tensors.items() if BLOCK.match(key)]
    mlp, _ = shape(BLOCK.pattern + r"(mlp\.fc1|intermediate\.dense)\.weight$")
    heads = heads or HEADS.get(hidden) or sys.exit(f"no published Pixio is {hidden} wide: give --heads")
    return {
        "architectures": ["PixioModel"],
        "model_type": "pixio",
        "hidden_size": hidden,
        "num_hidden_layers": 1 + max(int(BLOCK.match(key).group(1)) for key, _ in blocks),
        "num_attention_heads": heads,
        "mlp_ratio": mlp // hidden,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "image_size": side * PATCH,
        "patch_size": PATCH,
        "num_channels": 3,
        "qkv_bias": any(re.search(r"(qkv|q_proj|query)\.bias$", key) for key, _ in blocks),
        "n_cls_tokens": n_cls,
    }


if __name__ == "__main__":
    main()
