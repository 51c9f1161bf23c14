"""Model folders as Hugging Face writes them, good and spoilt."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PixioConfig, PixioModel


def folder(path: Path, spoil=None) -> Path:
    """A narrow random model; `spoil` may change its tensors before they are written."""
    torch.manual_seed(7)
    config = PixioConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=1)
    PixioModel(config).save_pretrained(path)
    if spoil:
        file = path / "model.safetensors"
        tensors = load_file(file)
        spoil(tensors)
        save_file(tensors, file, metadata={"format": "pt"})
    return path


def without_weights(path: Path) -> Path:
    (folder(path) / "model.safetensors").unlink()
    return path


def without_config(path: Path) -> Path:
    (folder(path) / "config.json").unlink()
    return path


def with_a_wrong_shape(path: Path) -> Path:
    def spoil(tensors):
        tensors["layernorm.weight"] = torch.ones(65)

    return folder(path, spoil)


def with_a_tensor_missing(path: Path) -> Path:
    return folder(path, lambda tensors: tensors.pop("layernorm.bias"))


def with_nan(path: Path) -> Path:
    def spoil(tensors):
        tensors["layernorm.weight"][3] = float("nan")

    return folder(path, spoil)


def cut_in_half(path: Path) -> Path:
    file = folder(path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return path


def only_a_pickle(path: Path) -> Path:
    file = folder(path) / "model.safetensors"
    torch.save(load_file(file), path / "pytorch_model.bin")
    file.unlink()
    return path


def empty(path: Path) -> Path:
    path.mkdir()
    return path
