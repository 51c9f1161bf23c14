"""Files of models, heads and engines."""

import json
import struct

import numpy as np
from safetensors.numpy import save

from . import ROOT


def config_json() -> dict[str, bytes]:
    tiny = json.loads((ROOT / "models/pixio-tiny/config.json").read_text())

    def changed(**changes: object) -> bytes:
        return json.dumps(tiny | changes).encode()

    return {
        "tiny.json": json.dumps(tiny).encode(),
        "empty-object.json": b"{}",
        "stages.json": changed(out_features=["stem", "stage2"], out_indices=[0, 2]),
        "class-tokens.json": changed(n_cls_tokens=2**64 - 1),
        "blocks.json": changed(num_hidden_layers=2**63 - 1, out_features=["stage1"]),
        "channels.json": changed(hidden_size=2**40, num_attention_heads=1),
        "ratio.json": changed(mlp_ratio=1e300),
        "negative-ratio.json": changed(mlp_ratio=-4),
        "side.json": changed(image_size=2**32),
        "epsilon.json": changed(layer_norm_eps=-1),
        "no-heads.json": changed(num_attention_heads=0),
        "other-model.json": changed(model_type="dino\nv2"),
        "types.json": changed(hidden_size="wide"),
        "deep.json": b"[" * 500,
        "processor.json": json.dumps(
            {"image_mean": [0.5] * 3, "image_std": 0.25, "size": {"shortest_edge": 224}, "resample": 2}
        ).encode(),
        "processor-zero.json": b'{"image_std": 0, "rescale_factor": 1e-40}',
        "not-json": b"<!DOCTYPE html>",
    }


def headed(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def entries(names: list[str], prefix: str = "") -> bytes:
    table = {
        prefix + name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]}
        for n, name in enumerate(names)
    }
    return headed(json.dumps(table).encode(), bytes(4 * len(names)))


def safetensors_header() -> dict[str, bytes]:
    file = (ROOT / "models/pixio-tiny/model.safetensors").read_bytes()
    (n_bytes,) = struct.unpack("<Q", file[:8])
    names = [name for name in json.loads(file[8 : 8 + n_bytes]) if name != "__metadata__"]
    few = [name for name in names if ".0." in name or "." not in name.removeprefix("embeddings.")]
    entry = '{"dtype": "F32", "shape": [%s], "data_offsets": [%s]}'
    return {
        "tiny": file[: 8 + n_bytes],
        "few": entries(few),
        "model-prefix": entries(few, "model."),
        "two-prefixes": entries(["a.blocks.0.x", "a.cls_token", "b.blocks.0.x", "b.cls_token"]),
        "original": entries(["blocks.0.attn.qkv.weight", "cls_token", "decoder_blocks.0.norm1.weight"]),
        "other": entries(["transformer.h.0.weight"]),
        "names": entries(["a\n\x1b[2J", "b" * 3000, "", ".layers.0.", "layers.0."]),
        "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3446\n",
        "web-page": b"\n<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
        "pickle": b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x01s.",
        "archive": b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
        "length-of-all": b"\xff" * 8 + b"{}",
        "length-beyond": headed(b"{}")[:8].replace(b"\2", b"\x90", 1) + b"{}",
        "offsets-beyond": headed(('{"a": ' + entry % ("1", "0, 18446744073709551615") + "}").encode()),
        "offsets-back": headed(('{"a": ' + entry % ("1", "4, 0") + "}").encode(), bytes(4)),
        "shape-that-wraps": headed(('{"a": ' + entry % ("4294967296, 4294967296", "0, 0") + "}").encode()),
        "deep": headed(b'{"a": ' + b"[" * 500),
        "empty-object": headed(b"{}"),
        "empty": b"",
    }


def head(card: dict, width: int = 8, **changes: object) -> bytes:
    n = 2 * width
    tensors = {
        "norm.weight": np.ones(n, np.float32),
        "norm.bias": np.zeros(n, np.float32),
        "norm.running_mean": np.zeros(n, np.float32),
        "norm.running_var": np.ones(n, np.float32),
        "conv.weight": np.full((2, n, 1, 1), 0.1, np.float32),
        "conv.bias": np.zeros(2, np.float32),
    } | changes
    return save(
        {name: tensor for name, tensor in tensors.items() if tensor is not None}, {"card": json.dumps(card)}
    )


def card(**changes: object) -> dict:
    classes = [{"name": name, "color": [n, 2, 3]} for n, name in enumerate(("floor", "wall"))]
    encoder = {
        "model": "tiny",
        "revision": "0123456789ab",
        "hidden_size": 8,
        "num_hidden_layers": 4,
        "n_cls_tokens": 8,
    }
    return {
        "format": 1,
        "task": {"kind": "segmentation", "classes": classes},
        "head": {"kind": "linear"},
        "backbone": encoder | changes.pop("backbone", {}),
        "taps": [4],
        "size": "256x256",
    } | changes


def head_files() -> dict[str, bytes]:
    dpt = {"kind": "dpt", "features": 8, "out_channels": [8, 8, 8, 8]}
    depth = {"kind": "depth", "max_depth": 10.0, "focal_length": None}
    whole = head(card())
    return {
        "linear": whole,
        "half": head(card(), **{"conv.bias": np.zeros(2, np.float16)}),
        "without-bias": head(card(), **{"conv.bias": None}),
        "more": head(card(), **{"extra\nname": np.zeros(1, np.float32)}),
        "nan": head(card(), **{"norm.bias": np.full(16, np.nan, np.float32)}),
        "integers": head(card(), **{"conv.bias": np.zeros(2, np.int64)}),
        "dpt-without-tensors": head(card(head=dpt, task=depth, taps=[1, 2, 3, 4])),
        "channels": head(card(backbone={"hidden_size": 2**63 - 1})),
        "class-tokens": head(card(backbone={"n_cls_tokens": 2**64 - 1})),
        "features": head(card(head=dpt | {"features": -1}, taps=[1, 2, 3, 4])),
        "maps": head(card(head=dpt | {"out_channels": [2**62] * 4}, taps=[1, 2, 3, 4])),
        "negative-depth": head(card(task=depth | {"max_depth": -1})),
        "no-classes": head(card(task={"kind": "segmentation", "classes": []})),
        "newer": head(card(format=2)),
        "without-card": save({"conv.bias": np.zeros(2, np.float32)}),
        "card-alone": json.dumps(card()).encode(),
        "cut": whole[:-100],
        "cut-header": whole[:100],
        "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
        "empty": b"",
    }


def engine_manifests() -> dict[str, bytes]:
    package = {
        "part": "backbone",
        "file": "backbone-64x64.pt2",
        "sha256": "6b5520e8d57cb939c706255233f20a539e1a5dc69e625cd18490d1f27001018b",
        "size": "64x64",
        "batch": [1, 8],
        "constants": {"blocks.0.fc1.bias": {"dtype": "float32", "shape": [768]}},
        "parity": [{"batch": 1, "cosine": 0.99999, "largest_difference": 1e-5}],
        "times": [],
    }
    manifest = {
        "format": 3,
        "architecture": {
            "hidden_size": 192,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "mlp_hidden": 768,
            "n_cls_tokens": 8,
            "layer_norm_eps": 1e-6,
            "qkv_bias": True,
        },
        "taps": [4],
        "precision": "float32",
        "int8_kernel": None,
        "torch": "2.11.0",
        "machine": {"kind": "cpu", "name": "a CPU", "architecture": "x86_64", "instructions": ["avx2"]},
    }

    def written(*packages: dict, **changes: object) -> bytes:
        return json.dumps(manifest | {"packages": list(packages or [package])} | changes).encode()

    return {
        "whole.json": written(),
        "several.json": written(package, package | {"size": "256x256"}, package | {"part": "depth"}),
        "older.json": written(format=2),
        "newer.json": written(format=2**32 - 1),
        "without-packages.json": json.dumps(manifest).encode(),
        "no-packages.json": written(packages=[]),
        "out-of-the-folder.json": written(package | {"file": "../x.pt2"}),
        "hidden.json": written(package | {"file": ".."}),
        "size.json": written(package | {"size": "4294967296x0"}),
        "batch.json": written(package | {"batch": [2**63 - 1, -(2**63)]}),
        "shape.json": written(package | {"constants": {"a": {"dtype": "f", "shape": [-1, 2**62, 2**62]}}}),
        "control-characters.json": written(package | {"file": "a\n\x1b[2J"}),
        "deep.json": b'{"format": 3, "machine": ' + b"[" * 500,
        "empty": b"",
    }
