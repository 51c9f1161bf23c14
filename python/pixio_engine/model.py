"""The Pixio encoder in a form that torch.export takes: what `pixio_node build` compiles and head training
runs on.

Parameters have the names and shapes of the Rust model (src/pixio), so both map one to one: query, key and
value are one matrix, the pixels' normalisation is folded into the patch embedding, class tokens have their
positions added, and the position embedding is the one of a fixed grid. The mathematics is that of the paper's
ViT (arXiv 2512.15715).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 16


@dataclass(frozen=True)
class Architecture:
    """Everything about a Pixio encoder that its weights do not carry."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    mlp_hidden: int
    n_cls_tokens: int
    layer_norm_eps: float
    qkv_bias: bool


class Block(nn.Module):
    """Attention and MLP, each after a norm and added to what came in: [B, N, D] to [B, N, D]."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        hidden = arch.hidden_size
        self.n_heads = arch.num_attention_heads
        self.norm1 = nn.LayerNorm(hidden, eps=arch.layer_norm_eps)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=arch.qkv_bias)
        self.projection = nn.Linear(hidden, hidden)
        self.norm2 = nn.LayerNorm(hidden, eps=arch.layer_norm_eps)
        self.fc1 = nn.Linear(hidden, arch.mlp_hidden)
        self.fc2 = nn.Linear(arch.mlp_hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        batch, n_tokens, hidden = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, n_tokens, 3, self.n_heads, hidden // self.n_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, n_tokens, hidden)
        x = x + self.projection(attended)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Pixio(nn.Module):
    """uint8 images [B, H, W, 3] (RGB) to one [B, n_cls + P, D] per tap, after the final norm.

    `taps` are blocks counted from 1, ascending; nothing past the last one is computed. `height` and `width`
    are pixels.
    """

    def __init__(self, arch: Architecture, height: int, width: int, taps: list[int]) -> None:
        super().__init__()
        self.grid = (height // PATCH, width // PATCH)
        self.taps = tuple(taps)
        self.patch = nn.Linear(3 * PATCH * PATCH, arch.hidden_size)
        self.class_tokens = nn.Parameter(torch.zeros(1, arch.n_cls_tokens, arch.hidden_size))
        self.position = nn.Parameter(torch.zeros(1, self.grid[0] * self.grid[1], arch.hidden_size))
        self.blocks = nn.ModuleList(Block(arch) for _ in range(max(taps)))
        self.norm = nn.LayerNorm(arch.hidden_size, eps=arch.layer_norm_eps)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        batch = images.shape[0]
        rows, columns = self.grid
        # Rows, columns, channels within a patch: the order of bytes in an image.
        patches = images.reshape(batch, rows, PATCH, columns, PATCH, 3).permute(0, 1, 3, 2, 4, 5)
        patches = patches.reshape(batch, rows * columns, 3 * PATCH * PATCH).to(self.patch.weight.dtype)
        x = torch.cat([self.class_tokens.expand(batch, -1, -1), self.patch(patches) + self.position], dim=1)
        tapped = []
        for index, block in enumerate(self.blocks, start=1):
            x = block(x)
            if index in self.taps:
                tapped.append(self.norm(x))
        return tuple(tapped)
