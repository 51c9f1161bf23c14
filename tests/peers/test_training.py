"""The training tools: the frozen encoder, the cache of its tokens, losses, figures, heads that learn, bad
data sets."""

import functools
import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pixio_engine.heads import LinearHead
from pixio_train import encoder as encoders
from pixio_train import head_file
from pixio_train.dataset import Dataset
from pixio_train.errors import Refused
from pixio_train.features import Cached, Encoder
from pixio_train.losses import cross_entropy, silog
from pixio_train.metrics import DepthFigures, SegmentationFigures
from pixio_train.split import by_scene
from pixio_train.views import View, covering_views, training_views
from programs import command
from safetensors.torch import load_file, save_file
from training_data import data_folder, model_folder, read_card, tool, train
from transformers import PixioModel
from waiting import PATIENCE_SECS

SIZE = ("--size", "64x64")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return data_folder(tmp_path_factory.mktemp("data") / "boxes")


def normalized(images: torch.Tensor) -> torch.Tensor:
    """[B, 3, H, W] from uint8 [B, H, W, 3]."""
    return ((images / 255 - encoders.MEAN) / encoders.DEVIATION).permute(0, 3, 1, 2)


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


@pytest.mark.parametrize("layout", ["saved", "hub", "module", "original", "backbone", "shards"])
@pytest.mark.parametrize("size", [(256, 256), (96, 64)])
def test_the_encoder_equals_transformers_in_every_layout(tmp_path, model, layout, size):
    reference = PixioModel.from_pretrained(model).eval()
    module, saved = reference.state_dict(), load_file(model / "model.safetensors")
    tensors = {
        "saved": saved,
        "shards": saved,
        "hub": hub(saved),
        "module": module,
        "original": original(module),
        "backbone": {f"pixio.{name}": value for name, value in module.items()},
    }[layout]
    folder = with_tensors(tmp_path / layout, model, tensors, 3 if layout == "shards" else 1)
    torch.manual_seed(1)
    images = torch.randint(0, 256, (2, size[1], size[0], 3), dtype=torch.uint8)
    with torch.no_grad():
        ours = encoders.Checkpoint.find(str(folder)).load(size, [2, 4])(images)
        theirs = reference(normalized(images), output_hidden_states=True).hidden_states
        for tokens, tap in zip(ours, (2, 4)):
            torch.testing.assert_close(tokens, reference.layernorm(theirs[tap]), atol=1e-4, rtol=1e-4)


def test_a_spoilt_checkpoint_is_refused(tmp_path, model):
    saved = load_file(model / "model.safetensors")
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
            encoders.Checkpoint.find(str(with_tensors(tmp_path / name, model, tensors))).load((64, 64), [4])
        assert expect in str(refused.value), name
    with pytest.raises(Refused, match="neither a folder nor the id of a downloaded model"):
        encoders.Checkpoint.find("no/model")


def test_losses_are_those_worked_out_by_hand():
    truth = torch.tensor([[1.0, 2.0, 0.0]])
    predicted = torch.tensor([[2.0, 2.0, 5.0]])
    # d = (-log 2, 0): mean of squares log(2)^2 / 2, half the square of the mean log(2)^2 / 8.
    assert silog(predicted, truth).item() == pytest.approx((np.log(2) ** 2 * 3 / 8) ** 0.5)
    assert silog(predicted, torch.zeros(1, 3)).item() == 0
    scores = torch.zeros(1, 4, 1, 2)
    assert cross_entropy(scores, torch.tensor([[[3, 255]]])).item() == pytest.approx(np.log(4))
    assert cross_entropy(scores, torch.full((1, 1, 2), 255)).item() == 0


def test_figures_are_those_worked_out_by_hand():
    figures = DepthFigures(max_depth=10)
    figures.add(torch.tensor([2.0, 4.0, 9.0]), torch.tensor([2.0, 2.0, 0.0]))
    figures.add(torch.tensor([4.4, 1.0]), torch.tensor([4.0, 11.0]))
    # Errors 0, 2 and 0.4 m of 2, 2 and 4 m; the unknown pixel and the one past max_depth do not count.
    expect = {"abs_rel": (0 + 1 + 0.1) / 3, "rmse_m": ((4 + 0.16) / 3) ** 0.5, "delta1": 2 / 3, "pixels": 3}
    assert figures.result() == pytest.approx(expect)
    figures = SegmentationFigures(["a", "b", "c", "never"])
    figures.add(torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 255]))
    figures.add(torch.tensor([[2]]), torch.tensor([[2]]))
    result = figures.result()
    assert result["iou"] == pytest.approx({"a": 1 / 2, "b": 2 / 3, "c": 1.0, "never": None})
    assert result["miou"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3) and result["accuracy"] == pytest.approx(
        4 / 5
    )


def test_truth_lies_under_what_the_encoder_sees(data):
    picture = Dataset.open(data, "segmentation").pictures[0]
    labels = picture.labels()
    whole = View(picture, (0, 0, 96, 64))
    assert (whole.truth(labels, (96, 64)) == labels).all()
    assert whole.truth(labels, (32, 32)).shape == (32, 32)
    assert (whole.truth(labels, (32, 32))[[0, -1]][:, [0, -1]] == labels[[0, -1]][:, [0, -1]]).all()
    mirrored = View(picture, (16, 8, 48, 40), is_mirrored=True)
    assert (mirrored.truth(labels, (32, 32)) == labels[8:40, 16:48][:, ::-1]).all()
    assert (mirrored.pixels((32, 32)) == np.asarray(picture.pixels())[8:40, 16:48][:, ::-1]).all()
    exact = np.asarray(picture.pixels().resize((64, 32), Image.Resampling.BICUBIC))
    assert (whole.pixels((64, 32)) == exact).all()


def test_windows_cover_every_pixel(data):
    pictures = Dataset.open(data, "depth").pictures[:1]
    covered = np.zeros((64, 96), int)
    for view in covering_views(pictures, (48, 48), "crop"):
        left, top, right, bottom = view.box
        assert (right - left, bottom - top) == (48, 48)
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1
    with pytest.raises(Refused, match="too small for windows of 112x64"):
        covering_views(pictures, (112, 64), "crop")


def test_scenes_are_held_out_whole(data):
    pictures = Dataset.open(data, "depth").pictures
    train_part, held_out = by_scene(pictures, 0.3, seed=0)
    assert len(held_out) == 2 and len(train_part) == 4
    scenes = [{picture.name.split("_")[0] for picture in part} for part in (train_part, held_out)]
    assert not scenes[0] & scenes[1]
    film = [picture for picture in pictures if picture.name.startswith("scene1")]
    assert [one.name for one in by_scene(film, 0.5, seed=0)[1]] == ["scene1_3"]


def test_tokens_are_kept_gone_on_with_and_never_stale(tmp_path, model, data, capsys):
    encoder = Encoder(encoders.Checkpoint.find(str(model)), (64, 64), [2, 4], torch.device("cpu"))
    pictures = Dataset.open(data, "depth").pictures
    views = [view for some in training_views(pictures, (64, 64), "stretch", 1, True, 0) for view in some]
    assert [view.is_mirrored for view in views[:2]] == [False, True]
    computed = []

    def counted(some, taps, tokens=encoder.tokens):
        computed.append(len(some))
        return tokens(some, taps)

    encoder.tokens = counted
    cached = Cached(encoder, views, tmp_path)
    assert sum(computed) == 12 and "12 views of 2 blocks" in capsys.readouterr().out
    mirrored = torch.from_numpy(views[0].pixels((64, 64))[:, ::-1].copy())[None]
    for ours, theirs in zip(cached.of([1]), encoder.model(mirrored)):
        torch.testing.assert_close(ours.float(), theirs, atol=5e-3, rtol=2e-3)
    # As an interrupt leaves it: one block five views and a half long.
    [folder] = tmp_path.iterdir()
    file = folder / "block2.f16"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 11 // 24])
    computed.clear()
    again = Cached(encoder, views, tmp_path)
    assert sum(computed) == 7 and file.read_bytes() == whole
    assert all((a == b).all() for a, b in zip(again.of([0, 5, 11]), cached.of([0, 5, 11])))
    # A picture that changed.
    before = pictures[0].rgb.read_bytes()
    Image.fromarray(np.full((64, 96, 3), 255, np.uint8)).save(pictures[0].rgb)
    computed.clear()
    changed = Cached(encoder, views, tmp_path)
    pictures[0].rgb.write_bytes(before)
    assert sum(computed) == 12 and not torch.equal(changed.of([0])[1], cached.of([0])[1])


@pytest.mark.parametrize("head", ["linear", "dpt"])
@pytest.mark.parametrize("task", ["depth", "segmentation"])
def test_a_head_learns_a_small_data_set(tmp_path, model, data, task, head):
    n_epochs, rate = {"linear": (100, 2e-2), "dpt": (100, 4e-3)}[head]
    figures, card = train(
        model,
        data,
        tmp_path / "head.safetensors",
        "--task",
        task,
        "--head",
        head,
        *SIZE,
        "--held-out",
        data,
        "--no-flip",
        "--cache",
        tmp_path,
        "--epochs",
        n_epochs,
        "--learning-rate",
        rate,
    )
    # Four patches a side are all that a linear head has.
    least = {"linear": 0.6, "dpt": 0.9}[head]
    assert figures["delta1" if task == "depth" else "miou"] > least, figures
    assert figures["pixels"] == 6 * 96 * 64 and figures["pictures"] == 6
    assert card["taps"] == ([4] if head == "linear" else [1, 2, 3, 4]) and card["size"] == "64x64"
    assert card["backbone"] == encoders.Checkpoint.find(str(model)).card()
    if task == "segmentation":
        assert card["task"]["classes"][1] == {"name": "red", "color": [220, 40, 40]}
    tool("evaluate_head", tmp_path / "head.safetensors", model, data, "--json", tmp_path / "figures.json")
    again = json.loads((tmp_path / "figures.json").read_text())
    best = "delta1" if task == "depth" else "miou"
    assert again.keys() == figures.keys() and again[best] == pytest.approx(figures[best], rel=0.02)


def test_windows_at_native_scale_train_too(tmp_path, model, data):
    figures, card = train(
        model,
        data,
        tmp_path / "head.safetensors",
        "--task",
        "depth",
        "--head",
        "linear",
        "--size",
        "48x48",
        "--fit",
        "crop",
        "--crops",
        "2",
        "--held-out",
        "0.3",
        "--epochs",
        "3",
        "--no-cache",
    )
    assert card["fit"] == "crop" and figures["pixels"] == 2 * 96 * 64


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path, model, data, monkeypatch):
    from pixio_train.trainer import Training

    options = (
        "--task",
        "depth",
        "--head",
        "dpt",
        *SIZE,
        "--held-out",
        "0.3",
        "--cache",
        tmp_path,
        "--epochs",
        "4",
        "--batch",
        "2",
        "--features",
        "8",
        "--out-channels",
        "8,8,8,8",
    )
    whole, interrupted = tmp_path / "whole.safetensors", tmp_path / "interrupted.safetensors"
    train(model, data, whole, *options)
    step, n_steps = Training.step, []

    def interrupting(training, *batch):
        n_steps.append(None)
        if len(n_steps) == 5:
            signal.raise_signal(signal.SIGINT)
        return step(training, *batch)

    monkeypatch.setattr(Training, "step", interrupting)
    with pytest.raises(SystemExit, match="interrupted in epoch 3 of 4: --resume goes on"):
        train(model, data, interrupted, *options)
    assert not interrupted.exists() and len(n_steps) == 5
    with pytest.raises(SystemExit, match="was made with batch 2, this is 3"):
        train(model, data, interrupted, *options, "--resume", "--batch", "3")
    train(model, data, interrupted, *options, "--resume")
    assert len(n_steps) == 8 and read_card(whole) == read_card(interrupted)
    theirs = load_file(interrupted)
    assert all(torch.equal(value, theirs[name]) for name, value in load_file(whole).items())
    assert not list(tmp_path.glob("*.training"))


def test_the_time_can_be_bounded(tmp_path, model, data, capsys):
    train(
        model,
        data,
        tmp_path / "head.safetensors",
        "--task",
        "depth",
        "--head",
        "linear",
        *SIZE,
        "--cache",
        tmp_path,
        "--epochs",
        "1000000",
        "--minutes",
        "0.02",
    )
    assert "epoch 1/1000000" in capsys.readouterr().out


def test_a_head_may_be_written_in_half(tmp_path, model, data, capsys):
    options = (
        "--task",
        "depth",
        "--head",
        "linear",
        *SIZE,
        "--epochs",
        "1",
        "--no-cache",
        "--held-out",
        data,
    )
    whole, _ = train(model, data, tmp_path / "whole.safetensors", *options)
    train(model, data, tmp_path / "half.safetensors", *options, "--float16")
    tensors = load_file(tmp_path / "half.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values() if tensor.is_floating_point())
    assert tensors["norm.num_batches_tracked"].dtype == torch.int64
    tool(
        "evaluate_head",
        tmp_path / "half.safetensors",
        model,
        data,
        "--device",
        "cpu",
        "--json",
        tmp_path / "figures.json",
    )
    assert json.loads((tmp_path / "figures.json").read_text())["abs_rel"] == pytest.approx(
        whole["abs_rel"], rel=0.01
    )


def test_the_focal_length_is_that_of_the_model_input(tmp_path, model, data):
    folder = data_folder(tmp_path / "data", n=4)
    (folder / "camera.yaml").write_text("{width: 96, height: 64, fx: 90.0, fy: 80.0, cx: 47.5, cy: 31.5}\n")
    options = ("--task", "depth", "--head", "linear", *SIZE, "--epochs", "1", "--no-cache")
    _, card = train(model, folder, tmp_path / "head.safetensors", *options)
    # 90 * 64 / 96 = 60 and 80.
    assert card["task"] == {
        "kind": "depth",
        "max_depth": 10.0,
        "focal_length": pytest.approx((60 * 80) ** 0.5),
    }
    _, card = train(model, data, tmp_path / "head.safetensors", *options)
    assert card["task"]["focal_length"] is None


def remove(folder: Path, name: str):
    (folder / name).unlink()


def rewrite(file: Path, pixels: np.ndarray):
    Image.fromarray(pixels).save(file)


def micrometres(folder: Path):
    for file in folder.glob("depth/*.png"):
        rewrite(file, np.full((64, 96), 2, np.uint16))


def label_seven(folder: Path):
    labels = np.zeros((64, 96), np.uint8)
    labels[3, 4] = 7
    rewrite(folder / "labels/scene1_2.png", labels)


def emptied(folder: Path):
    for file in folder.glob("rgb/*"):
        file.unlink()


DEPTH = "scene0_1.png"
CAMERA = "{width: 640, height: 480, fx: 1, fy: 1, cx: 0, cy: 0}"
# task, how the folder is spoilt, what the one line must name
BAD = {
    "no depth for a picture": (
        "depth",
        lambda d: remove(d, f"depth/{DEPTH}"),
        [DEPTH, "none of their name in depth/"],
    ),
    "no picture for a depth": ("depth", lambda d: remove(d, f"rgb/{DEPTH}"), [DEPTH, "no picture in rgb/"]),
    "no pictures": ("depth", emptied, ["rgb", "no pictures"]),
    "another size": (
        "depth",
        lambda d: rewrite(d / f"depth/{DEPTH}", np.ones((64, 95), np.uint16)),
        [DEPTH, "96x64", "95x64"],
    ),
    "8-bit depth": (
        "depth",
        lambda d: rewrite(d / f"depth/{DEPTH}", np.ones((64, 96), np.uint8)),
        [DEPTH, "16 bit"],
    ),
    "metres": ("depth", micrometres, ["scene0_0.png", "0.002 m", "value 2", "metres were probably written"]),
    "half a picture": (
        "depth",
        lambda d: (d / f"depth/{DEPTH}").write_bytes((d / f"depth/{DEPTH}").read_bytes()[:90]),
        [DEPTH, "not a whole picture"],
    ),
    "no picture at all": ("depth", lambda d: (d / f"rgb/{DEPTH}").write_text("hello"), [DEPTH, "no picture"]),
    "another camera": (
        "depth",
        lambda d: (d / "camera.yaml").write_text(CAMERA),
        ["96x64", "is for 640x480"],
    ),
    "half a camera": (
        "depth",
        lambda d: (d / "camera.yaml").write_text("{width: 96}"),
        ["camera.yaml", "height"],
    ),
    "a number without class": ("segmentation", label_seven, ["scene1_2.png", "value 7", "3 classes"]),
    "16-bit labels": (
        "segmentation",
        lambda d: rewrite(d / "labels/scene1_2.png", np.ones((64, 96), np.uint16)),
        ["8 bit"],
    ),
    "no classes": ("segmentation", lambda d: remove(d, "classes.yaml"), ["classes.yaml is missing"]),
    "no color": (
        "segmentation",
        lambda d: (d / "classes.yaml").write_text("classes: [{name: a}]"),
        ["class 0", "color"],
    ),
    "no list": (
        "segmentation",
        lambda d: (d / "classes.yaml").write_text("names: [a]"),
        ["`classes` must be a list"],
    ),
    "no yaml": ("segmentation", lambda d: (d / "classes.yaml").write_text("classes: ["), ["classes.yaml"]),
}


@pytest.mark.parametrize("why", BAD)
def test_a_bad_data_set_is_refused_in_one_line(tmp_path, model, why):
    task, spoil, names = BAD[why]
    folder = data_folder(tmp_path / "data")
    spoil(folder)
    with pytest.raises(SystemExit) as ended:
        train(
            model,
            folder,
            tmp_path / "head.safetensors",
            "--task",
            task,
            "--head",
            "linear",
            *SIZE,
            "--no-cache",
        )
    said = str(ended.value)
    assert all(name in said for name in names) and "\n" not in said, said
    assert not (tmp_path / "head.safetensors").exists()


# options, what must be said
WRONG = {
    "size": (["--size", "100x64"], ["multiples of 16"]),
    "taps": (["--taps", "2,9"], ["reads 1"]),
    "block": (["--taps", "9"], ["blocks 1 to 4"]),
    "share": (["--held-out", "1.5"], ["between 0 and 1"]),
    "folder": (["--held-out", "/nowhere"], ["/nowhere is no folder"]),
    "out": (["--out", "/proc/head.safetensors"], ["cannot be written"]),
    "cache": (["--cache", "/proc/cache"], ["/proc/cache", "--no-cache"]),
}


@pytest.mark.parametrize("why", WRONG)
def test_wrong_options_are_refused(tmp_path, model, data, why, capsys):
    options, names = WRONG[why]
    with pytest.raises(SystemExit) as ended:
        train(
            model, data, tmp_path / "head.safetensors", "--task", "depth", "--head", "linear", *SIZE, *options
        )
    said = f"{ended.value} {capsys.readouterr().err}"
    assert all(name in said for name in names), said


def test_a_script_ends_with_one_line_and_status_1(tmp_path, model):
    train_head = command("train_head", model, tmp_path, "--task", "depth", "--out", tmp_path / "head")
    done = subprocess.run(train_head, capture_output=True, text=True, timeout=PATIENCE_SECS)
    assert done.returncode == 1, done.stderr
    assert done.stderr == f"error: {tmp_path / 'rgb'} has no pictures (.png or .jpg)\n"


def test_a_head_for_another_encoder_is_refused(tmp_path, model, data):
    other = model_folder(tmp_path / "other", num_hidden_layers=5)
    network = LinearHead(64, 1)
    card = head_file.card(
        {"kind": "depth", "max_depth": 10.0, "focal_length": None},
        {"kind": "linear"},
        encoders.Checkpoint.find(str(model)).card(),
        [4],
        (64, 64),
    )
    file = tmp_path / "head.safetensors"
    head_file.write(file, network.state_dict(), card)
    with pytest.raises(SystemExit, match=r"4 blocks of 64 .* the model is other \(5 blocks of 64"):
        tool("evaluate_head", file, other, data)
    with pytest.raises(SystemExit, match="no head file"):
        tool("evaluate_head", model / "model.safetensors", model, data)


def test_labels_may_be_a_palette_and_pictures_jpeg(tmp_path, model):
    folder = data_folder(tmp_path / "data", n=2)
    for file in folder.glob("labels/*.png"):
        palette = Image.fromarray(np.asarray(Image.open(file)), "P")
        palette.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
        palette.save(file)
    for file in folder.glob("rgb/*.png"):
        Image.open(file).save(file.with_suffix(".jpg"), quality=95)
        file.unlink()
    pictures = Dataset.open(folder, "segmentation").pictures
    assert [picture.rgb.suffix for picture in pictures] == [".jpg", ".jpg"]
    assert set(np.unique(pictures[0].labels())) == {0, 1, 2}
