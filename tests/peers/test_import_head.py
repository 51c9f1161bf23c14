"""Heads that were trained elsewhere become head files that answer the same."""

import pytest
import torch
from pixio_engine.heads import DptHead, LinearHead, Tap
from pixio_train import head_file
from training_data import read_card, tool, write_classes

HIDDEN = 64


def dpt(n_outputs: int = 1, hidden: int = HIDDEN) -> torch.nn.Module:
    torch.manual_seed(3)
    return DptHead(hidden, n_outputs, 12, [8, 16, 24, 32]).eval()


def linear(n_outputs: int = 1) -> torch.nn.Module:
    torch.manual_seed(3)
    network = LinearHead(HIDDEN, n_outputs).eval()
    network.norm.running_mean.normal_()
    network.norm.running_var.uniform_(0.5, 1.5)
    return network


def as_in_the_paper(network: torch.nn.Module) -> dict:
    """Names of the paper's code: the linear head is a sequence, dpt has a unit that nothing goes through."""
    state = network.state_dict()
    if isinstance(network, LinearHead):
        return {name.replace("norm.", "0.").replace("conv.", "1."): value for name, value in state.items()}
    return state | {"scratch.refinenet4.resConfUnit1.conv1.weight": torch.zeros(12, 12, 3, 3)}


def imported(state: dict, model, folder, *options):
    torch.save(state, folder / "head.pth")
    tool("import_head", folder / "head.pth", "--model", model, "--out", folder / "head.safetensors", *options)
    return head_file.read(folder / "head.safetensors")


DEPTH = ("--task", "depth", "--max-depth", "80")
WRAPPED = {
    "bare": lambda state: state,
    "head.": lambda state: {f"head.{name}": value for name, value in state.items()},
    "module.": lambda state: {f"module.head.{name}": value for name, value in state.items()},
    "whole": lambda state: {
        "model": {f"head.{name}": value for name, value in state.items()}
        | {"backbone.blocks.0.norm1.weight": torch.ones(64), "backbone.0.running_mean": torch.ones(3)},
        "epoch": 7,
    },
}


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("made", [dpt, linear])
def test_an_imported_head_answers_as_it_did(tmp_path, small_model, made, wrapped):
    network = made()
    card, ours = imported(
        WRAPPED[wrapped](as_in_the_paper(network)), small_model, tmp_path, *DEPTH, "--focal-length", "519"
    )
    n_taps = len(card["taps"])
    taps = [Tap(torch.randn(2, HIDDEN, 4, 5), torch.randn(2, HIDDEN)) for _ in range(n_taps)]
    with torch.no_grad():
        assert torch.equal(ours(taps), network(taps))
    assert card["task"] == {"kind": "depth", "max_depth": 80.0, "focal_length": 519.0}
    assert (
        card["taps"] == ([1, 2, 3, 4] if made is dpt else [4]) and card["backbone"]["hidden_size"] == HIDDEN
    )
    if made is dpt:
        assert card["head"] == {"kind": "dpt", "features": 12, "out_channels": [8, 16, 24, 32]}


def test_our_own_names_are_read_too(tmp_path, small_model):
    write_classes(tmp_path / "classes.yaml")
    network = linear(3)
    imported(
        network.state_dict(),
        small_model,
        tmp_path,
        "--task",
        "segmentation",
        "--classes",
        tmp_path / "classes.yaml",
    )
    card = read_card(tmp_path / "head.safetensors")
    assert [one["name"] for one in card["task"]["classes"]] == ["floor", "red", "blue"] and card[
        "fit"
    ] == "crop"


def without(state: dict, name: str) -> dict:
    return {key: value for key, value in state.items() if key != name}


SEGMENTATION = ("--task", "segmentation", "--classes", "{folder}/classes.yaml")
# state_dict, options, what the one line must name
REFUSED = {
    "another width": (
        lambda: dpt(hidden=48).state_dict(),
        DEPTH,
        ["reads 96 channels", "small are 128 (twice 64)"],
    ),
    "classes": (lambda: dpt(4).state_dict(), SEGMENTATION, ["returns 4 maps", "has 3 classes"]),
    "no depth": (lambda: dpt(4).state_dict(), DEPTH, ["returns 4 maps", "depth is one"]),
    "missing": (
        lambda: without(dpt().state_dict(), "scratch.layer2_rn.weight"),
        DEPTH,
        ["scratch.layer2_rn.weight is missing"],
    ),
    "half a level": (
        lambda: without(dpt().state_dict(), "projects.3.weight"),
        DEPTH,
        ["projects.3.weight is missing"],
    ),
    "half a norm": (
        lambda: without(linear().state_dict(), "norm.running_var"),
        DEPTH,
        ["norm.running_var is missing"],
    ),
    "a shape": (
        lambda: dpt().state_dict() | {"scratch.layer2_rn.weight": torch.zeros(12, 17, 3, 3)},
        DEPTH,
        ["scratch.layer2_rn.weight is [12, 17, 3, 3], expected [12, 16, 3, 3]"],
    ),
    "nan": (
        lambda: dpt().state_dict() | {"projects.0.bias": torch.full((8,), torch.nan)},
        DEPTH,
        ["projects.0.bias", "finite"],
    ),
    "no head": (
        lambda: {"blocks.0.norm1.weight": torch.ones(2)},
        DEPTH,
        ["holds no head", "blocks.0.norm1.weight"],
    ),
    "taps": (
        lambda: dpt().state_dict(),
        (*DEPTH, "--taps", "1,2,3,9"),
        ["--taps [1, 2, 3, 9]", "blocks 1 to 4"],
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, small_model, why):
    made, options, names = REFUSED[why]
    write_classes(tmp_path / "classes.yaml")
    with pytest.raises(SystemExit) as ended:
        imported(made(), small_model, tmp_path, *(option.format(folder=tmp_path) for option in options))
    said = str(ended.value)
    assert all(name in said for name in names) and "\n" not in said, said
    assert not (tmp_path / "head.safetensors").exists()


def test_a_pickle_with_code_is_refused(tmp_path, small_model):
    with pytest.raises(SystemExit, match="not a state_dict of tensors alone"):
        imported({"head": print}, small_model, tmp_path, *DEPTH)


def test_the_options_that_a_task_needs_are_asked_for(tmp_path, small_model, capsys):
    for task, needed in (("depth", "--max-depth"), ("segmentation", "--classes")):
        with pytest.raises(SystemExit):
            imported(dpt().state_dict(), small_model, tmp_path, "--task", task)
        assert needed in capsys.readouterr().err
