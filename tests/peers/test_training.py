"""The training tools: the frozen encoder, the cache of its tokens, losses, figures, heads that learn, bad
data sets."""

import json
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from pixio_train import encoder as encoders
from pixio_train.dataset import Dataset
from pixio_train.errors import Refused
from pixio_train.features import Cached, Encoder
from pixio_train.losses import cross_entropy, silog
from pixio_train.metrics import DepthFigures, SegmentationFigures
from pixio_train.split import by_scene
from pixio_train.views import View, covering_views, training_views
from safetensors.torch import load_file
from training_data import data_folder, read_card, tool, train


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


def test_truth_lies_under_what_the_encoder_sees(boxes):
    image = Dataset.open(boxes, "segmentation").images[0]
    labels = image.labels()
    whole = View(image, (0, 0, 96, 64))
    assert (whole.truth(labels, (96, 64)) == labels).all()
    assert whole.truth(labels, (32, 32)).shape == (32, 32)
    assert (whole.truth(labels, (32, 32))[[0, -1]][:, [0, -1]] == labels[[0, -1]][:, [0, -1]]).all()
    mirrored = View(image, (16, 8, 48, 40), is_mirrored=True)
    assert (mirrored.truth(labels, (32, 32)) == labels[8:40, 16:48][:, ::-1]).all()
    assert (mirrored.pixels((32, 32)) == np.asarray(image.pixels())[8:40, 16:48][:, ::-1]).all()
    exact = np.asarray(image.pixels().resize((64, 32), Image.Resampling.BICUBIC))
    assert (whole.pixels((64, 32)) == exact).all()


def test_windows_cover_every_pixel(boxes):
    images = Dataset.open(boxes, "depth").images[:1]
    covered = np.zeros((64, 96), int)
    for view in covering_views(images, (48, 48), "crop"):
        left, top, right, bottom = view.box
        assert (right - left, bottom - top) == (48, 48)
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1
    with pytest.raises(Refused, match="too small for windows of 112x64"):
        covering_views(images, (112, 64), "crop")


def test_scenes_are_held_out_whole(boxes):
    images = Dataset.open(boxes, "depth").images
    train_part, held_out = by_scene(images, 0.3, seed=0)
    assert len(held_out) == 2 and len(train_part) == 4
    scenes = [{image.name.split("_")[0] for image in part} for part in (train_part, held_out)]
    assert not scenes[0] & scenes[1]
    film = [image for image in images if image.name.startswith("scene1")]
    assert [one.name for one in by_scene(film, 0.5, seed=0)[1]] == ["scene1_3"]


def test_tokens_are_kept_gone_on_with_and_never_stale(tmp_path, small_model, boxes, capsys):
    encoder = Encoder(encoders.Checkpoint.find(str(small_model)), (64, 64), [2, 4], torch.device("cpu"))
    images = Dataset.open(boxes, "depth").images
    views = [view for some in training_views(images, (64, 64), "stretch", 1, True, 0) for view in some]
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
    # An image that changed.
    before = images[0].rgb.read_bytes()
    Image.fromarray(np.full((64, 96, 3), 255, np.uint8)).save(images[0].rgb)
    computed.clear()
    changed = Cached(encoder, views, tmp_path)
    images[0].rgb.write_bytes(before)
    assert sum(computed) == 12 and not torch.equal(changed.of([0])[1], cached.of([0])[1])


@pytest.mark.parametrize("head", ["linear", "dpt"])
@pytest.mark.parametrize("task", ["depth", "segmentation"])
def test_a_head_learns_a_small_data_set(tmp_path, small_model, boxes, task, head):
    n_epochs, rate = {"linear": (100, 2e-2), "dpt": (100, 4e-3)}[head]
    figures, card = train(
        small_model,
        boxes,
        tmp_path / "head.safetensors",
        "--held-out",
        boxes,
        "--no-flip",
        "--cache",
        tmp_path,
        "--epochs",
        n_epochs,
        "--learning-rate",
        rate,
        task=task,
        head=head,
    )
    # Four patches a side are all that a linear head has.
    least = {"linear": 0.6, "dpt": 0.9}[head]
    assert figures["delta1" if task == "depth" else "miou"] > least, figures
    assert figures["pixels"] == 6 * 96 * 64 and figures["images"] == 6
    assert card["taps"] == ([4] if head == "linear" else [1, 2, 3, 4]) and card["size"] == "64x64"
    assert card["backbone"] == encoders.Checkpoint.find(str(small_model)).card()
    if task == "segmentation":
        assert card["task"]["classes"][1] == {"name": "red", "color": [220, 40, 40]}
    tool(
        "evaluate_head",
        tmp_path / "head.safetensors",
        small_model,
        boxes,
        "--json",
        tmp_path / "figures.json",
    )
    again = json.loads((tmp_path / "figures.json").read_text())
    best = "delta1" if task == "depth" else "miou"
    assert again.keys() == figures.keys() and again[best] == pytest.approx(figures[best], rel=0.02)


def test_windows_at_native_scale_train_too(tmp_path, small_model, boxes):
    figures, card = train(
        small_model,
        boxes,
        tmp_path / "head.safetensors",
        "--fit",
        "crop",
        "--crops",
        "2",
        "--held-out",
        "0.3",
        "--epochs",
        "3",
        "--no-cache",
        size="48x48",
    )
    assert card["fit"] == "crop" and figures["pixels"] == 2 * 96 * 64


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path, small_model, boxes, monkeypatch):
    from pixio_train.trainer import Training

    options = (
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
    train(small_model, boxes, whole, *options, head="dpt")
    step, n_steps = Training.step, []

    def interrupting(training, *batch):
        n_steps.append(None)
        if len(n_steps) == 5:
            signal.raise_signal(signal.SIGINT)
        return step(training, *batch)

    monkeypatch.setattr(Training, "step", interrupting)
    with pytest.raises(SystemExit, match="interrupted in epoch 3 of 4: --resume goes on"):
        train(small_model, boxes, interrupted, *options, head="dpt")
    assert not interrupted.exists() and len(n_steps) == 5
    with pytest.raises(SystemExit, match="was made with batch 2, this is 3"):
        train(small_model, boxes, interrupted, *options, "--resume", "--batch", "3", head="dpt")
    train(small_model, boxes, interrupted, *options, "--resume", head="dpt")
    assert len(n_steps) == 8 and read_card(whole) == read_card(interrupted)
    theirs = load_file(interrupted)
    assert all(torch.equal(value, theirs[name]) for name, value in load_file(whole).items())
    assert not list(tmp_path.glob("*.training"))


def test_the_time_can_be_bounded(tmp_path, small_model, boxes, capsys):
    train(
        small_model,
        boxes,
        tmp_path / "head.safetensors",
        "--cache",
        tmp_path,
        "--epochs",
        "1000000",
        "--minutes",
        "0.02",
    )
    assert "epoch 1/1000000" in capsys.readouterr().out


def test_a_head_may_be_written_in_half(tmp_path, small_model, boxes, capsys):
    options = (
        "--epochs",
        "1",
        "--no-cache",
        "--held-out",
        boxes,
    )
    whole, _ = train(small_model, boxes, tmp_path / "whole.safetensors", *options)
    train(small_model, boxes, tmp_path / "half.safetensors", *options, "--float16")
    tensors = load_file(tmp_path / "half.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values() if tensor.is_floating_point())
    assert tensors["norm.num_batches_tracked"].dtype == torch.int64
    tool(
        "evaluate_head",
        tmp_path / "half.safetensors",
        small_model,
        boxes,
        "--device",
        "cpu",
        "--json",
        tmp_path / "figures.json",
    )
    assert json.loads((tmp_path / "figures.json").read_text())["abs_rel"] == pytest.approx(
        whole["abs_rel"], rel=0.01
    )


def test_the_focal_length_is_that_of_the_model_input(tmp_path, small_model, boxes):
    folder = data_folder(tmp_path / "data", n=4)
    (folder / "camera.yaml").write_text("{width: 96, height: 64, fx: 90.0, fy: 80.0, cx: 47.5, cy: 31.5}\n")
    options = ("--epochs", "1", "--no-cache")
    _, card = train(small_model, folder, tmp_path / "head.safetensors", *options)
    # 90 * 64 / 96 = 60 and 80.
    assert card["task"] == {
        "kind": "depth",
        "max_depth": 10.0,
        "focal_length": pytest.approx((60 * 80) ** 0.5),
    }
    _, card = train(small_model, boxes, tmp_path / "head.safetensors", *options)
    assert card["task"]["focal_length"] is None


def test_labels_may_be_a_palette_and_images_jpeg(tmp_path, small_model):
    folder = data_folder(tmp_path / "data", n=2)
    for file in folder.glob("labels/*.png"):
        palette = Image.fromarray(np.asarray(Image.open(file)), "P")
        palette.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
        palette.save(file)
    for file in folder.glob("rgb/*.png"):
        Image.open(file).save(file.with_suffix(".jpg"), quality=95)
        file.unlink()
    images = Dataset.open(folder, "segmentation").images
    assert [image.rgb.suffix for image in images] == [".jpg", ".jpg"]
    assert set(np.unique(images[0].labels())) == {0, 1, 2}
