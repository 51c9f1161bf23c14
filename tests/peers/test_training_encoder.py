"""The encoder of the training programs: the same numbers as transformers in every layout of a checkpoint."""

import functools
import json
from pathlib import Path

import pytest
import torch
from pixio_train import encoder as encoders
from pixio_train.errors import Refused
from pixio_train.processor import Processor
from safetensors.torch import load_file, save_file
from transformers import PixioModel


def normalized(images: torch.Tensor) -> torch.Tensor:
    """[B, 3, H, W] from uint8 [B, H, W, 3]."""
    return Processor().normalized(images / 255).permute(0, 3, 1, 2)


def original(tensors: dict) -> dict:
    """The names of the original .pth, from those of transformers' module."""
    renamed = {"embeddings.cls_token": "cls_token", "embeddings.position_embeddings": "pos_embed"}
    pairs = [
        ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
        ("layernorm_before", "norm1"),
        ("layernorm_after", "norm2"),
        ("attention.o_proj", "attn.proj"),
        ("layers.", "blocks."),
        ("layernorm", "norm"),
    ]
    result = {}
    for name, value in tensors.items():
        if "_proj" in name and "o_proj" not in name:
            continue
        ours = functools.reduce(lambda text, pair: text.replace(*pair), pairs, name)
        result[renamed.get(ours, ours)] = value
    for index in range(4):
        for role in ("weight", "bias"):
            parts = [tensors[f"layers.{index}.attention.{part}_proj.{role}"] for part in "qkv"]
            result[f"blocks.{index}.attn.qkv.{role}"] = torch.cat(parts)
    return result


def hub(tensors: dict) -> dict:
    """The names of the published conversion, from those of save_pretrained."""
    return {
        name.replace("intermediate.dense", "mlp.fc1")
        .replace("attention.output", "attention_output")
        .replace("output.dense", "mlp.fc2" if ".attention" not in name else "output.dense")
        .replace("attention_output", "attention.output"): value
        for name, value in tensors.items()
    }


def with_tensors(folder: Path, model: Path, tensors: dict, n_shards: int = 1) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text((model / "config.json").read_text())
    tensors = {name: value.clone().contiguous() for name, value in tensors.items()}
    if n_shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    names = sorted(tensors)
    weight_map = {}
    for shard in range(n_shards):
        file = f"model-{shard + 1:05}-of-{n_shards:05}.safetensors"
        some = names[shard::n_shards]
        save_file({name: tensors[name] for name in some}, folder / file)
        weight_map |= dict.fromkeys(some, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.mark.parametrize("layout", ["saved", "hub", "module", "original", "backbone", "wrapped", "shards"])
@pytest.mark.parametrize("size", [(256, 256), (96, 64)])
def test_the_encoder_equals_transformers_in_every_layout(tmp_path, small_model, layout, size):
    reference = PixioModel.from_pretrained(small_model).eval()
    module, saved = reference.state_dict(), load_file(small_model / "model.safetensors")
    tensors = {
        "saved": saved,
        "shards": saved,
        "hub": hub(saved),
        "module": module,
        "original": original(module),
        "wrapped": {f"module.model.{name}": value for name, value in saved.items()},
        "backbone": {f"pixio.{name}": value for name, value in module.items()},
    }[layout]
    folder = with_tensors(tmp_path / layout, small_model, tensors, 3 if layout == "shards" else 1)
    torch.manual_seed(1)
    images = torch.randint(0, 256, (2, size[1], size[0], 3), dtype=torch.uint8)
    with torch.no_grad():
        ours = encoders.Checkpoint.find(str(folder)).load(size, [2, 4])(images)
        theirs = reference(normalized(images), output_hidden_states=True).hidden_states
        for tokens, tap in zip(ours, (2, 4)):
            torch.testing.assert_close(tokens, reference.layernorm(theirs[tap]), atol=1e-4, rtol=1e-4)


def test_what_the_processor_says_of_values_is_done_to_them(tmp_path, small_model):
    folder = with_tensors(tmp_path / "half", small_model, load_file(small_model / "model.safetensors"))
    plain = encoders.Checkpoint.find(str(folder))
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": 0.25}))
    half = encoders.Checkpoint.find(str(folder))
    # As in src/pixio/processor.rs.
    assert half.processor.identity() == "3b8080813f0000003f0000003f0000003e8000003e8000003e800000"
    assert half.revision() != plain.revision()
    reference = PixioModel.from_pretrained(small_model).eval()
    images = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        theirs = reference(((images / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)).last_hidden_state
        torch.testing.assert_close(half.load((64, 64), [4])(images)[0], theirs, atol=1e-4, rtol=1e-4)
    file.write_text(json.dumps({"image_std": 0}))
    with pytest.raises(Refused, match="must be positive"):
        encoders.Checkpoint.find(str(folder))


def test_a_spoilt_checkpoint_is_refused(tmp_path, small_model):
    saved = load_file(small_model / "model.safetensors")
    spoilt = {
        "missing": (
            {k: v for k, v in saved.items() if k != "layernorm.bias"},
            "tensor layernorm.bias is missing",
        ),
        "shape": (saved | {"layernorm.weight": torch.ones(65)}, "norm.weight is [65], expected [64]"),
        "nan": (
            saved | {"layernorm.weight": torch.full((64,), torch.nan)},
            "layernorm.weight has values that are not",
        ),
        "other": ({"fc.weight": torch.ones(2)}, "no Pixio encoder in it"),
    }
    for name, (tensors, expect) in spoilt.items():
        with pytest.raises(Refused) as refused:
            encoders.Checkpoint.find(str(with_tensors(tmp_path / name, small_model, tensors))).load(
                (64, 64), [4]
            )
        assert expect in str(refused.value), name
    with pytest.raises(Refused, match="neither a folder nor the id of a downloaded model"):
        encoders.Checkpoint.find("no/model")
