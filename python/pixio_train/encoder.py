"""A Pixio checkpoint folder as the frozen encoder that heads are trained on.

What the node does with a checkpoint (src/pixio), in Python: four spellings of the parameters' names,
normalisation folded into the patch embedding, the position embedding brought to the grid, a revision that is
the hash of the weight files.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from pixio_engine.model import PATCH, Architecture, Pixio
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional as F

from .errors import Refused, listed
from .processor import PUBLISHED, Processor, read_processor

# Defaults of transformers' PixioConfig.
DEFAULTS = {
    "model_type": "pixio",
    "hidden_size": 1280,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "mlp_ratio": 4,
    "n_cls_tokens": 8,
    "layer_norm_eps": 1e-6,
    "qkv_bias": True,
    "image_size": 256,
    "patch_size": PATCH,
    "hidden_act": "gelu",
    "num_channels": 3,
}
# What this encoder cannot be told otherwise.
FIXED = {"model_type": "pixio", "patch_size": PATCH, "hidden_act": "gelu", "num_channels": 3}

EMBEDDINGS = {
    "class_tokens": "embeddings.cls_token",
    "position": "embeddings.position_embeddings",
    "patch": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}
SPLIT_QKV = [f"attention.attention.{part}" for part in ("query", "key", "value")]
HUB_BLOCK = {
    "norm1": ["norm1"],
    "qkv": SPLIT_QKV,
    "projection": ["attention.output.dense"],
    "norm2": ["norm2"],
    "fc1": ["mlp.fc1"],
    "fc2": ["mlp.fc2"],
}


@dataclass(frozen=True)
class Spelling:
    """How a checkpoint names its parameters; a block's layer may be several tensors, joined along the first
    axis."""

    blocks: str
    block: dict[str, list[str]]
    rest: dict[str, str]
    # Part of a name that tells the spelling from others with the same `blocks`.
    mark: str = ""


SPELLINGS = [
    Spelling(
        "layers",
        {
            "norm1": ["layernorm_before"],
            "qkv": [f"attention.{part}_proj" for part in "qkv"],
            "projection": ["attention.o_proj"],
            "norm2": ["layernorm_after"],
            "fc1": ["mlp.fc1"],
            "fc2": ["mlp.fc2"],
        },
        EMBEDDINGS,
    ),
    Spelling(
        "blocks",
        {
            "norm1": ["norm1"],
            "qkv": ["attn.qkv"],
            "projection": ["attn.proj"],
            "norm2": ["norm2"],
            "fc1": ["mlp.fc1"],
            "fc2": ["mlp.fc2"],
        },
        {"class_tokens": "cls_token", "position": "pos_embed", "patch": "patch_embed.proj", "norm": "norm"},
    ),
    Spelling(
        "encoder.layer",
        HUB_BLOCK | {"fc1": ["intermediate.dense"], "fc2": ["output.dense"]},
        EMBEDDINGS,
        mark=".intermediate.dense.",
    ),
    Spelling("encoder.layer", HUB_BLOCK, EMBEDDINGS, mark=".mlp.fc1."),
]


@dataclass(frozen=True)
class Checkpoint:
    """A model that has been found: what it is, and where its weights are."""

    name: str
    files: list[Path]
    architecture: Architecture
    # Rows, and as many columns, of the grid that the position embedding was learned on.
    trained_grid: int
    processor: Processor = PUBLISHED

    @staticmethod
    def find(model: str) -> "Checkpoint":
        """A folder, or the Hugging Face id of a model that has been downloaded."""
        folder, name = find_folder(model)
        config = read_config(folder / "config.json")
        side, hidden = config["image_size"], config["hidden_size"]
        trained_grid = (side if isinstance(side, int) else side[0]) // PATCH
        architecture = Architecture(
            hidden,
            config["num_hidden_layers"],
            config["num_attention_heads"],
            int(hidden * config["mlp_ratio"]),
            config["n_cls_tokens"],
            config["layer_norm_eps"],
            config["qkv_bias"],
        )
        return Checkpoint(name, weight_files(folder), architecture, trained_grid, read_processor(folder))

    def revision(self) -> str:
        """First 12 digits of the SHA-256 over the weight files, in the order of their names, and over how
        bytes become values where this is not as for the published models."""
        sha = hashlib.sha256()
        for file in self.files:
            with file.open("rb") as opened:
                while chunk := opened.read(1 << 24):
                    sha.update(chunk)
        revision, identity = sha.hexdigest()[:12], self.processor.identity()
        return hashlib.sha256(f"{revision} {identity}".encode()).hexdigest()[:12] if identity else revision

    def card(self) -> dict:
        """What a head's card says of its encoder."""
        arch = self.architecture
        return {
            "model": self.name,
            "revision": self.revision(),
            "hidden_size": arch.hidden_size,
            "num_hidden_layers": arch.num_hidden_layers,
            "n_cls_tokens": arch.n_cls_tokens,
        }

    def load(self, size: tuple[int, int], taps: list[int]) -> Pixio:
        """The encoder for images of `size` (width, height), in float32, frozen."""
        with torch.device("meta"):
            model = Pixio(self.architecture, size[1], size[0], taps)
        state = {
            name: tensor.contiguous()
            for name, tensor in Reader(self).parameters(model.grid, len(model.blocks))
        }
        check_shapes(self, state, model.state_dict())
        model.load_state_dict(state, assign=True)
        return model.eval().requires_grad_(False)


class Reader:
    """Tensors of a checkpoint by meaning."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.shards = {}
        for file in checkpoint.files:
            try:
                shard = safe_open(file, "pt")
            except (OSError, SafetensorError) as err:
                raise Refused(f"{file} is not a whole safetensors file: {err}") from None
            self.shards |= dict.fromkeys(shard.keys(), shard)
        self.prefix, self.spelling = self.detect()

    def detect(self) -> tuple[str, Spelling]:
        """PixioBackbone has its model under a name of its own, and training programs save it within something
        else."""
        for prefix in ("", "pixio.", "encoder.", *self.wrappers()):
            for spelling in SPELLINGS:
                start = f"{prefix}{spelling.blocks}."
                if any(name.startswith(start) and spelling.mark in name for name in self.shards):
                    return prefix, spelling
        raise Refused(
            f"{self.checkpoint.files[0]}: no Pixio encoder in it: no tensor is called layers.*, "
            "encoder.layer.* or blocks.*"
        )

    def wrappers(self) -> list[str]:
        """What stands before the names of an encoder that is part of something else, such as `model.`."""
        found = []
        for spelling in SPELLINGS:
            mark = f".{spelling.blocks}.0."
            before = {name.split(mark)[0] + "." for name in self.shards if mark in name}
            class_tokens = spelling.rest["class_tokens"]
            found += sorted(prefix for prefix in before if prefix + class_tokens in self.shards)
        return found

    def parameters(self, grid: tuple[int, int], n_blocks: int) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors of `Pixio` for rows and columns of patches."""
        names, n_cls = self.spelling.rest, self.checkpoint.architecture.n_cls_tokens
        # Rows, columns, channels within a patch, and bytes for normalised values.
        weight = self.tensor(f"{names['patch']}.weight").permute(0, 2, 3, 1)
        processor = self.checkpoint.processor
        mean, deviation = torch.tensor(processor.mean), torch.tensor(processor.deviation)
        per_byte = weight * processor.scale / deviation
        yield "patch.weight", per_byte.flatten(1)
        yield (
            "patch.bias",
            self.tensor(f"{names['patch']}.bias") - (weight * (mean / deviation)).sum((1, 2, 3)),
        )
        position = self.tensor(names["position"])
        yield "class_tokens", self.tensor(names["class_tokens"]) + position[:, :n_cls]
        yield "position", interpolated(position[:, n_cls:], self.checkpoint.trained_grid, grid)
        for role in ("weight", "bias"):
            yield f"norm.{role}", self.tensor(f"{names['norm']}.{role}")
        for index in range(n_blocks):
            for layer, parts in self.spelling.block.items():
                has_bias = layer != "qkv" or self.checkpoint.architecture.qkv_bias
                for role in ("weight", "bias") if has_bias else ("weight",):
                    stems = (f"{self.spelling.blocks}.{index}.{part}.{role}" for part in parts)
                    yield f"blocks.{index}.{layer}.{role}", torch.cat([self.tensor(stem) for stem in stems])

    def tensor(self, name: str) -> Tensor:
        name = self.prefix + name
        if name not in self.shards:
            raise Refused(f"{self.checkpoint.files[0].parent}: tensor {name} is missing")
        tensor = self.shards[name].get_tensor(name).float()
        if not tensor.isfinite().all():
            raise Refused(f"{self.checkpoint.files[0].parent}: tensor {name} has values that are not finite")
        return tensor


def interpolated(trained: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """Position embedding [1, P, D] of another grid: bicubic, no antialiasing, corners not aligned."""
    if trained.shape[1] != side * side:
        raise Refused(
            f"the position embedding is for {trained.shape[1]} patches, config.json says {side}x{side}"
        )
    if grid == (side, side):
        return trained
    image = trained.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    return F.interpolate(image, size=grid, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)


def check_shapes(checkpoint: Checkpoint, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    wrong = [name for name in expected if found[name].shape != expected[name].shape]
    if wrong:
        name = wrong[0]
        raise Refused(
            f"{checkpoint.files[0].parent}: the weights are not of the model that config.json tells of: "
            f"{name} is {list(found[name].shape)}, expected {list(expected[name].shape)}"
        )


def find_folder(model: str) -> tuple[Path, str]:
    """The folder and the name that the node gives the model."""
    folder = Path(model)
    if folder.is_dir():
        return folder, folder.resolve().name
    hub = hub_cache() / f"models--{model.replace('/', '--')}"
    try:
        folder = hub / "snapshots" / (hub / "refs/main").read_text().strip()
    except OSError:
        raise Refused(
            f"{model} is neither a folder nor the id of a downloaded model (looked in {hub})"
        ) from None
    return folder, model


def hub_cache() -> Path:
    """The folder where `hf download` puts models."""

    def expanded(text: str) -> Path:
        return Path(os.path.expandvars(Path(text).expanduser()))

    given = os.environ.get
    if cache := given("HF_HUB_CACHE") or given("HUGGINGFACE_HUB_CACHE"):
        return expanded(cache)
    if home := given("HF_HOME"):
        return expanded(home) / "hub"
    return expanded(given("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def read_config(file: Path) -> dict:
    try:
        config = DEFAULTS | json.loads(file.read_text())
    except (OSError, ValueError) as err:
        raise Refused(f"{file}: {err}") from None
    for key, value in FIXED.items():
        if config[key] not in (value, [value, value]):
            raise Refused(f"{file}: {key} is {config[key]!r}, but only {value!r} is supported")
    return config


def weight_files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in (".pth", ".pt", ".bin"))
    if pickles:
        raise Refused(
            f"{folder} has only pickled weights ({listed(pickles)}): turn them into a folder with "
            "pixio-convert-checkpoint"
        )
    raise Refused(f"{folder} has neither model.safetensors nor model.safetensors.index.json")
