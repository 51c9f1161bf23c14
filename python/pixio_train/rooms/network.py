"""The small model: a Pixio encoder with a depth and a segmentation head, and how it is written."""

import json
from pathlib import Path

import numpy as np
import torch
from pixio_engine.heads import DptHead, Tap
from pixio_engine.model import PATCH, Architecture, Pixio
from safetensors.torch import save
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from pixio_train import head_file
from pixio_train.commands.convert_checkpoint import derive_config
from pixio_train.encoder import Checkpoint
from pixio_train.processor import Processor

ARCHITECTURE = Architecture(
    hidden_size=192,
    num_hidden_layers=8,
    num_attention_heads=3,
    mlp_hidden=768,
    n_cls_tokens=8,
    layer_norm_eps=1e-6,
    qkv_bias=True,
)
TAPS = [2, 4, 6, 8]
HEAD = {"kind": "dpt", "features": 32, "out_channels": [32, 48, 96, 96]}
# Pixels of the input, both ways.
SIDE = 256


class Tiny(nn.Module):
    """Images [B, side, side, 3] from 0 to 1 to raw maps of depth [B, 1, side / 2, side / 2] and classes [B,
    n, ...]."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.encoder = Pixio(ARCHITECTURE, SIDE, SIDE, TAPS)
        heads = {"depth": 1, "segmentation": n_classes}
        self.heads = nn.ModuleDict(
            {
                name: DptHead(ARCHITECTURE.hidden_size, n, HEAD["features"], HEAD["out_channels"])
                for name, n in heads.items()
            }
        )
        self.initialize()

    @torch.no_grad()
    def initialize(self) -> None:
        for module in self.encoder.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        self.encoder.class_tokens.normal_(std=0.02)
        self.encoder.position.copy_(waves(SIDE // PATCH, ARCHITECTURE.hidden_size))

    @torch.no_grad()
    def whiten(self, images: np.ndarray) -> None:
        """Makes the patch embedding of `images`, uint8 [N, side, side, 3], uncorrelated: edges then weigh
        as much as the brightness, which would hide them for long."""
        n = images.shape[1] // PATCH // 2
        small = F.interpolate(
            torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, (n * PATCH, n * PATCH), mode="area"
        )
        pixels = Processor().normalized(small.permute(0, 2, 3, 1)).view(-1, n, PATCH, n, PATCH, 3)
        patches = pixels.transpose(2, 3).reshape(-1, 3 * PATCH * PATCH)
        middle = patches.mean(0)
        power, directions = torch.linalg.eigh((patches - middle).T.double().cov())
        hidden = ARCHITECTURE.hidden_size
        # Noise is not blown up.
        scale = (power[-hidden:] + 3e-5 * power.sum()).rsqrt()
        mixed, _ = torch.linalg.qr(torch.randn(hidden, hidden).double())
        weight = (mixed @ (directions[:, -hidden:] * scale).T).float()
        self.encoder.patch.weight.copy_(weight)
        self.encoder.patch.bias.copy_(-weight @ middle)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        taps = [
            Tap.of(tokens, ARCHITECTURE.n_cls_tokens, self.encoder.grid) for tokens in self.tokens(images)
        ]
        return self.heads["depth"](taps), self.heads["segmentation"](taps)

    def tokens(self, images: Tensor) -> tuple[Tensor, ...]:
        """Of the taps. An image of another size gets the position embedding interpolated."""
        n, position = images.shape[1] // PATCH, self.encoder.position
        self.encoder.grid = (n, n)
        if n * n != position.shape[1]:
            grid = position.transpose(1, 2).unflatten(2, (SIDE // PATCH, SIDE // PATCH))
            grid = F.interpolate(grid, (n, n), mode="bicubic", antialias=True)
            position = grid.flatten(2).transpose(1, 2)
        return functional_call(self.encoder, {"position": position}, (Processor().normalized(images),))


def waves(n: int, hidden: int) -> Tensor:
    """Sines and cosines of row and column, [1, n * n, hidden]."""
    frequencies = 1 / 10000 ** (torch.arange(hidden // 4) / (hidden // 4))
    phases = torch.arange(n)[:, None] * frequencies
    one = torch.cat([phases.sin(), phases.cos()], dim=1)
    rows, columns = one[:, None].expand(n, n, -1), one[None].expand(n, n, -1)
    return torch.cat([rows, columns], dim=2).reshape(1, n * n, hidden)


def write(network: Tiny, out: Path, tasks: dict[str, dict], about: dict) -> None:
    """The folder: config.json, model.safetensors and a head file for each of `tasks`; float16."""
    out.mkdir(parents=True, exist_ok=True)
    tensors = half(hub_tensors(network.encoder))
    head_file.write_whole(out / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    config = derive_config(tensors, ARCHITECTURE.num_attention_heads)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    backbone = Checkpoint.find(str(out)).card()
    for name, task in tasks.items():
        card = head_file.card(task, HEAD, backbone, TAPS, (SIDE, SIDE), **about)
        head_file.write(out / f"{name}.safetensors", half(network.heads[name].state_dict()), card)


def hub_tensors(encoder: Pixio) -> dict[str, Tensor]:
    """Under the names of transformers' PixioModel."""
    hidden, n_cls = ARCHITECTURE.hidden_size, ARCHITECTURE.n_cls_tokens
    # Class tokens have their positions added already.
    position = torch.cat([torch.zeros(1, n_cls, hidden), encoder.position], dim=1)
    kernel = encoder.patch.weight.view(hidden, PATCH, PATCH, 3).permute(0, 3, 1, 2)
    tensors = {
        "embeddings.cls_token": encoder.class_tokens,
        "embeddings.position_embeddings": position,
        "embeddings.patch_embeddings.projection.weight": kernel,
        "embeddings.patch_embeddings.projection.bias": encoder.patch.bias,
    }
    for kind in ("weight", "bias"):
        tensors[f"layernorm.{kind}"] = getattr(encoder.norm, kind)
        for i, block in enumerate(encoder.blocks):
            for part, value in zip("qkv", getattr(block.qkv, kind).chunk(3)):
                tensors[f"layers.{i}.attention.{part}_proj.{kind}"] = value
            for theirs, ours in (
                ("attention.o_proj", block.projection),
                ("layernorm_before", block.norm1),
                ("layernorm_after", block.norm2),
                ("mlp.fc1", block.fc1),
                ("mlp.fc2", block.fc2),
            ):
                tensors[f"layers.{i}.{theirs}.{kind}"] = getattr(ours, kind)
    return tensors


def half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().half().clone().contiguous() for name, value in tensors.items()}
