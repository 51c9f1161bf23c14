"""Card format 2: a linear head on several blocks and the place of each patch, and a threshold below which a
pixel has no label."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pixio_engine.heads import LinearHead, OnTokens, Tap, labels, position
from pixio_train import head_file
from pixio_train.errors import Refused
from pixio_train.metrics import SegmentationFigures
from pixio_train.tasks import Segmentation, of_card
from safetensors.torch import save_file
from training_data import tool, train, write_classes

HIDDEN, N_CLS, GRID = 6, 3, (2, 4)
CLASSES = [{"name": "floor", "color": [1, 2, 3]}, {"name": "wall", "color": [4, 5, 6]}]
BACKBONE = {
    "model": "m",
    "revision": "0123456789ab",
    "hidden_size": HIDDEN,
    "num_hidden_layers": 4,
    "n_cls_tokens": N_CLS,
}


def random_head(n_taps: int, has_position: bool, hidden: int = HIDDEN, n_outputs: int = 2) -> LinearHead:
    torch.manual_seed(3)
    network = LinearHead(hidden, n_outputs, n_taps, has_position).eval()
    network.norm.running_mean.normal_()
    network.norm.running_var.uniform_(0.5, 1.5)
    return network


def folded(network: LinearHead, n_taps: int, has_position: bool) -> dict[str, torch.Tensor]:
    """The parameters that src/heads makes of the head, by the names of an engine's constants."""
    norm, conv = network.norm, network.conv
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight = conv.weight.flatten(1)
    bias = conv.bias + weight @ (norm.bias - norm.running_mean * scale)
    parts = (weight * scale).split(HIDDEN, dim=1)
    if n_taps == 1 and not has_position:
        names = ("projection.of_patches", "projection.of_cls")
        return {f"head.{name}": part for name, part in zip(names, parts)} | {"head.projection.bias": bias}
    constants = {"head.bias": bias}
    for i in range(n_taps):
        constants[f"head.projections.{i}.of_patches"] = parts[2 * i]
        constants[f"head.projections.{i}.of_cls"] = parts[2 * i + 1]
    return constants | ({"head.of_position": parts[-1]} if has_position else {})


@pytest.mark.parametrize("n_taps", [1, 2, 3, 4])
@pytest.mark.parametrize("has_position", [False, True])
@torch.no_grad()
def test_what_is_compiled_answers_as_the_trained_head(n_taps, has_position):
    network = random_head(n_taps, has_position)
    compiled = OnTokens({"kind": "linear", "position": has_position}, n_taps, HIDDEN, N_CLS, 2, GRID)
    constants = folded(network, n_taps, has_position)
    assert {name: value.shape for name, value in compiled.state_dict().items()} == {
        name: value.shape for name, value in constants.items()
    }
    compiled.load_state_dict(constants)
    tokens = torch.randn(2, n_taps, N_CLS + GRID[0] * GRID[1], HIDDEN)
    expect = network([Tap.of(one, N_CLS, GRID) for one in tokens.unbind(1)])
    torch.testing.assert_close(compiled(tokens)[0], expect, atol=1e-5, rtol=1e-5)


def test_the_place_of_a_patch_is_that_of_its_centre_in_the_input():
    x, y = position(torch.zeros(5, HIDDEN, *GRID))[0]
    assert x.tolist() == [[-0.75, -0.25, 0.25, 0.75]] * 2
    assert y.tolist() == [[-0.5] * 4, [0.5] * 4]


def test_inputs_are_the_taps_in_order_and_then_x_and_y():
    network = random_head(2, has_position=True)
    network.norm.running_mean.zero_()
    network.norm.running_var.fill_(1)
    taps = [Tap(torch.full((1, HIDDEN, *GRID), float(i)), torch.full((1, HIDDEN), i + 0.5)) for i in (1, 2)]
    inputs = []
    network.conv.register_forward_hook(lambda _module, given, _output: inputs.append(given[0]))
    network(taps)
    expect = [1.0] * HIDDEN + [1.5] * HIDDEN + [2.0] * HIDDEN + [2.5] * HIDDEN + [0.75, 0.5]
    assert inputs[0][0, :, 1, 3].tolist() == pytest.approx(expect, abs=1e-4)


def test_a_pixel_less_likely_than_the_threshold_has_no_label():
    probabilities = torch.tensor([[0.75, 0.5, 0.25], [0.25, 0.5, 0.75]])[None, :, None]
    confidence, classes = labels(probabilities, 0.75)
    assert classes.tolist() == [[[0, 255, 1]]] and confidence.tolist() == [[[0.75, 0.5, 0.75]]]
    assert labels(probabilities, 0.0)[1].tolist() == [[[0, 0, 1]]]
    assert Segmentation(CLASSES, 0.6).final(probabilities[0]).tolist() == [[0, 255, 1]]


def test_a_pixel_without_a_label_is_a_miss_of_its_class():
    figures = SegmentationFigures(["floor", "wall"])
    figures.add(np.array([0, 255, 1, 255]), np.array([0, 0, 1, 255]))
    result = figures.result()
    assert result["iou"] == {"floor": 0.5, "wall": 1.0}
    assert (result["accuracy"], result["pixels"]) == (pytest.approx(2 / 3), 3)


def card_of(head: dict, taps: list[int], threshold: float = 0.0) -> dict:
    return head_file.card(Segmentation(CLASSES, threshold).card(None), head, BACKBONE, taps, (64, 64))


def test_format_2_is_written_only_where_it_is_needed():
    plain, placed = {"kind": "linear", "position": False}, {"kind": "linear", "position": True}
    dpt = {"kind": "dpt", "features": 8, "out_channels": [8, 8, 8, 8]}
    old = card_of(plain, [4])
    assert (old["format"], old["head"]) == (1, {"kind": "linear"}) and "threshold" not in old["task"]
    assert card_of(dpt, [1, 2, 3, 4])["format"] == 1
    for card in (
        card_of(plain, [2, 4]),
        card_of(placed, [4]),
        card_of(plain, [4], 0.5),
        card_of(dpt, [1, 2, 3, 4], 0.5),
    ):
        assert card["format"] == 2
        assert "threshold" in card["task"] and ("position" in card["head"]) == (card["head"] != dpt)


def written(file: Path, card: dict, n_taps: int = 1, has_position: bool = False) -> Path:
    state = random_head(n_taps, has_position).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, file, {"card": json.dumps(card)})
    return file


@torch.no_grad()
def test_a_head_file_of_format_2_is_read_as_it_was_written(tmp_path):
    head = {"kind": "linear", "position": True}
    file = written(tmp_path / "head.safetensors", card_of(head, [1, 2, 4], 0.25), 3, True)
    card, network = head_file.read(file)
    assert card["taps"] == [1, 2, 4] and of_card(card["task"]).threshold == 0.25
    taps = [Tap(torch.randn(1, HIDDEN, *GRID), torch.randn(1, HIDDEN)) for _ in range(3)]
    assert torch.equal(network(taps), random_head(3, True)(taps))


PLAIN = {"kind": "linear", "position": False}
# What is changed of a good card of format 2, and what the one line must say.
WRONG = {
    "a later format": ({"format": 3}, "its card has format 3, this tool reads the formats 1 and 2"),
    "five taps": ({"taps": [1, 2, 3, 4, 5]}, "a linear head reads 1 to 4 blocks"),
    "no tap": ({"taps": []}, "a linear head reads 1 to 4 blocks"),
    "taps that fall": ({"taps": [4, 2]}, "counted from 1, ascending"),
    "block 0": ({"taps": [0, 4]}, "counted from 1, ascending"),
    "three taps of dpt": (
        {"head": {"kind": "dpt", "features": 8, "out_channels": [8, 8, 8, 8]}, "taps": [1, 2, 4]},
        "a dpt head reads 4 blocks",
    ),
    "several taps in format 1": ({"format": 1}, "are of format 2, not 1"),
    "a threshold above 1": ({"task": {"kind": "segmentation", "classes": CLASSES, "threshold": 1.5}}, "1.5"),
    "a threshold of NaN": (
        {"task": {"kind": "segmentation", "classes": CLASSES, "threshold": float("nan")}},
        "the threshold nan is not between 0 and 1",
    ),
    "another number of taps than the tensors": (
        {"taps": [1, 2, 4]},
        "tensor norm.weight is [24], expected [36]",
    ),
}


@pytest.mark.parametrize("why", WRONG)
def test_a_card_that_its_format_does_not_know_is_refused(tmp_path, why):
    changes, told = WRONG[why]
    file = written(tmp_path / "head.safetensors", card_of(PLAIN, [2, 4]) | changes, 2)
    with pytest.raises(Refused) as refused:
        head_file.read(file)
    said = str(refused.value)
    assert told in said and str(file) in said and "\n" not in said, said


def test_a_head_on_several_blocks_and_places_learns(tmp_path, small_model, boxes):
    options = ("--no-flip", "--cache", tmp_path, "--epochs", 60, "--learning-rate", 2e-2)
    more = ("--taps", "1,2,4", "--position", "--threshold", "0.4")
    file = tmp_path / "head.safetensors"
    figures, card = train(
        small_model, boxes, file, "--held-out", boxes, *options, *more, task="segmentation", head="linear"
    )
    assert (card["format"], card["taps"], card["task"]["threshold"]) == (2, [1, 2, 4], 0.4)
    assert card["head"] == {"kind": "linear", "position": True}
    assert figures["miou"] > 0.6, figures
    tool("evaluate_head", file, small_model, boxes, "--json", tmp_path / "figures.json", "--device", "cpu")
    again = json.loads((tmp_path / "figures.json").read_text())
    assert again["miou"] == pytest.approx(figures["miou"], rel=0.02)
    with pytest.raises(SystemExit, match="reads the place of each patch in the whole image"):
        tool("evaluate_head", file, small_model, boxes, "--fit", "crop")


# options of pixio-train-head, what must be said
REFUSED = {
    "taps": (["--taps", "1,2,3,4,5"], "a linear head reads 1 to 4 blocks"),
    "position of windows": (["--position", "--fit", "crop"], "--fit crop shows windows"),
    "position of dpt": (["--position", "--head", "dpt"], "--position is for --head linear"),
    "threshold of depth": (["--threshold", "0.5"], "--threshold is for --task segmentation"),
    "threshold": (["--threshold", "nan"], "not between 0 and 1"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_options_that_do_not_go_together_are_refused(tmp_path, small_model, boxes, why, capsys):
    options, told = REFUSED[why]
    with pytest.raises(SystemExit):
        train(small_model, boxes, tmp_path / "head.safetensors", *options)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("has_position", [False, True])
def test_a_linear_head_on_several_blocks_is_imported(tmp_path, small_model, has_position):
    write_classes(tmp_path / "classes.yaml")
    network = random_head(2, has_position, hidden=64, n_outputs=3)
    torch.save(network.state_dict(), tmp_path / "head.pth")
    file = tmp_path / "head.safetensors"
    given = (
        tmp_path / "head.pth",
        "--model",
        small_model,
        "--out",
        file,
        "--fit",
        "stretch",
        "--taps",
        "2,4",
    )
    segmentation = ("--task", "segmentation", "--classes", tmp_path / "classes.yaml", "--threshold", "0.3")
    tool("import_head", *given, *segmentation)
    card, ours = head_file.read(file)
    assert (card["format"], card["taps"], card["task"]["threshold"]) == (2, [2, 4], 0.3)
    assert card["head"] == {"kind": "linear", "position": has_position}
    taps = [Tap(torch.randn(1, 64, *GRID), torch.randn(1, 64)) for _ in range(2)]
    with torch.no_grad():
        assert torch.equal(ours(taps), network(taps))
    with pytest.raises(SystemExit, match=r"reads .* channels, .* are 128 \(twice 64\)"):
        tool("import_head", *given[:-1], "4", *segmentation)
    if has_position:
        with pytest.raises(SystemExit, match="reads the place of each patch: give --fit stretch"):
            tool("import_head", *given, *segmentation, "--fit", "crop")
