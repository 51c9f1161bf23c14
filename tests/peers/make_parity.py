"""Writes random Pixio checkpoints and what transformers computes with them: make_parity.py OUT

OUT/parity.json lists the cases; tests/it/parity.rs reads them (env PIXIO_PARITY=OUT).
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from programs import command
from safetensors.torch import load_file, save_file
from transformers import PixioBackbone, PixioConfig, PixioModel
from transformers.utils import logging

MEAN = torch.tensor([0.485, 0.456, 0.406])
DEVIATION = torch.tensor([0.229, 0.224, 0.225])
# Height and width; one portrait, one landscape, one as trained.
SIZES = [(256, 256), (192, 336), (512, 384)]

# Narrow, so that all of it takes seconds: what varies is head size, depth, class tokens and the odd setting.
CASES = {
    "tiny": dict(hidden_size=192, num_hidden_layers=4, num_attention_heads=3),
    "two-blocks": dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2),
    "twelve-blocks": dict(hidden_size=128, num_hidden_layers=12, num_attention_heads=2),
    "head-80": dict(hidden_size=160, num_hidden_layers=2, num_attention_heads=2),
    "head-96": dict(hidden_size=192, num_hidden_layers=2, num_attention_heads=2),
    "four-class-tokens": dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, n_cls_tokens=4),
    "odd": dict(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        mlp_ratio=2,
        qkv_bias=False,
        image_size=224,
        layer_norm_eps=1e-5,
    ),
}
BACKBONES = {
    "maps": dict(out_features=["stem", "stage2", "stage4"]),
    "tokens": dict(out_indices=[1, -1], reshape_hidden_states=False),
    "plain": dict(out_features=["stage3"], apply_layernorm=False),
}


def main(out: Path) -> None:
    logging.disable_progress_bar()
    torch.manual_seed(7)
    out.mkdir(parents=True, exist_ok=True)
    images = {f"{h}x{w}": noise_image(2 if h == w else 1, h, w) for h, w in SIZES}
    cases = []
    for name, settings in CASES.items():
        model = randomize(PixioModel(PixioConfig(**settings))).eval()
        folders = [save_saved(model, out / name / "saved"), save_module(model, out / name / "module")]
        folders += [save_hub(out / name), save_original(model, out / name / "original")]
        if name == "tiny":
            folders += [save_saved(model, out / name / "sharded", max_shard_size="500KB")]
            folders += [save_converted(out / name)]
        golden = {}
        for size, image in images.items():
            golden |= {f"{size}.{key}": value for key, value in run_model(model, image).items()}
        cases.append(write_case(out, name, "model", folders, golden))
    for name, settings in BACKBONES.items():
        backbone = randomize(PixioBackbone(PixioConfig(**CASES["tiny"], **settings))).eval()
        # Its own norm, trained: the top-level norm of the checkpoint.
        cases.append(backbone_case(out, f"backbone-{name}", backbone, backbone, images))
    # A model's checkpoint in a backbone: transformers starts the norm afresh, the right one is the model's.
    fresh, copied = (
        PixioBackbone(PixioConfig(**CASES["tiny"], out_features=["stage1", "stage4"])).eval() for _ in "ab"
    )
    randomize(fresh.pixio)
    copied.pixio.load_state_dict(fresh.pixio.state_dict())
    copied.layernorm.load_state_dict(fresh.pixio.layernorm.state_dict())
    cases.append(backbone_case(out, "backbone-fresh", fresh, copied, images))
    (out / "parity.json").write_text(json.dumps(cases, indent=1))


def backbone_case(out: Path, name: str, saved: PixioBackbone, right: PixioBackbone, images: dict) -> dict:
    folders = [save_saved(saved, out / name / "saved"), save_module(saved, out / name / "module")]
    golden = {}
    for size, image in images.items():
        values = normalized(image)
        with torch.no_grad():
            maps = right(values).feature_maps
        golden |= {f"{size}.images": image, f"{size}.pixel_values": values}
        golden |= {f"{size}.feature_maps.{i}": m.contiguous() for i, m in enumerate(maps)}
    return write_case(out, name, "backbone", folders, golden)


def write_case(out: Path, name: str, kind: str, folders: list[Path], golden: dict) -> dict:
    save_file(golden, out / f"{name}.safetensors")
    return dict(
        name=name,
        kind=kind,
        folders=[str(f.relative_to(out)) for f in folders],
        sizes=[f"{h}x{w}" for h, w in SIZES],
    )


def run_model(model: PixioModel, image: torch.Tensor) -> dict:
    values = normalized(image)
    with torch.no_grad():
        got = model(values, output_hidden_states=True)
    golden = dict(
        images=image,
        pixel_values=values,
        last_hidden_state=got.last_hidden_state,
        pooler_output=got.pooler_output,
    )
    return golden | {f"hidden_states.{i}": state for i, state in enumerate(got.hidden_states)}


def noise_image(batch: int, height: int, width: int) -> torch.Tensor:
    """Blobs of colour with grain, uint8 [B, H, W, 3]."""
    blobs = torch.rand(batch, 3, 6, 6)
    smooth = torch.nn.functional.interpolate(blobs, size=(height, width), mode="bilinear")
    grainy = smooth + 0.1 * torch.randn(batch, 3, height, width)
    return (grainy * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def normalized(image: torch.Tensor) -> torch.Tensor:
    return ((image.float() / 255 - MEAN) / DEVIATION).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def randomize(model: torch.nn.Module) -> torch.nn.Module:
    """Activations of order one everywhere; no norm is one and no bias zero."""
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter)
        if "layernorm" in name and name.endswith("weight"):
            parameter.copy_(1 + 0.2 * noise)
        elif parameter.ndim == 1:
            parameter.copy_(0.1 * noise)
        elif "embeddings" in name and parameter.ndim == 3:
            parameter.copy_(0.5 * noise)
        else:
            parameter.copy_(noise / parameter[0].numel() ** 0.5)
    return model


def save_saved(model, folder: Path, **options) -> Path:
    """What save_pretrained writes."""
    model.save_pretrained(folder, **options)
    return folder


def save_module(model, folder: Path) -> Path:
    """The module's own names."""
    return save(model.config, model.state_dict(), folder)


def save_hub(case: Path) -> Path:
    """The published conversion: as saved, but for the MLP."""
    tensors = {}
    for key, value in load_file(case / "saved/model.safetensors").items():
        name = key.replace(".intermediate.dense", ".mlp.fc1")
        tensors[name if ".attention." in name else name.replace(".output.dense", ".mlp.fc2")] = value
    return save(PixioConfig.from_pretrained(case / "saved"), tensors, case / "hub")


def save_original(model: PixioModel, folder: Path) -> Path:
    """The original .pth, with the parts of its decoder that a loader has to pass over."""
    state = model.state_dict()
    tensors = {
        "cls_token": state["embeddings.cls_token"],
        "pos_embed": state["embeddings.position_embeddings"],
        "mask_token": torch.zeros(1, 1, 512),
        "decoder_blocks.0.norm1.weight": torch.ones(512),
    }
    for role in ("weight", "bias"):
        tensors[f"patch_embed.proj.{role}"] = state[f"embeddings.patch_embeddings.projection.{role}"]
        tensors[f"norm.{role}"] = state[f"layernorm.{role}"]
        for i in range(model.config.num_hidden_layers):
            ours, theirs = f"layers.{i}.", f"blocks.{i}."
            if role == "weight" or model.config.qkv_bias:
                qkv = [state[f"{ours}attention.{one}_proj.{role}"] for one in "qkv"]
                tensors[f"{theirs}attn.qkv.{role}"] = torch.cat(qkv)
            tensors[f"{theirs}attn.proj.{role}"] = state[f"{ours}attention.o_proj.{role}"]
            tensors[f"{theirs}norm1.{role}"] = state[f"{ours}layernorm_before.{role}"]
            tensors[f"{theirs}norm2.{role}"] = state[f"{ours}layernorm_after.{role}"]
            for fc in ("fc1", "fc2"):
                tensors[f"{theirs}mlp.{fc}.{role}"] = state[f"{ours}mlp.{fc}.{role}"]
    return save(model.config, tensors, folder)


def save_converted(case: Path) -> Path:
    """The original .pth as pixio-convert-checkpoint turns it into a folder."""
    tensors = load_file(case / "original/model.safetensors")
    pickle = case / "pickle/pixio.pth"
    pickle.parent.mkdir(exist_ok=True)
    torch.save({"model": tensors, "epoch": 3}, pickle)
    subprocess.run(command("convert_checkpoint", pickle, case / "converted", "--heads", "3"), check=True)
    return case / "converted"


def save(config: PixioConfig, tensors: dict, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "model.safetensors")
    config.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main(Path(sys.argv[1]))
