"""Head files: safetensors whose metadata holds the card, as src/heads reads them."""

import json
import os
import tempfile
from pathlib import Path

import torch
from pixio_engine.heads import DptHead, LinearHead
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from .errors import Refused
from .tasks import of_card

FORMATS = (1, 2)
# The fewest and most blocks that a head reads. Format 1 has the first figure only.
N_TAPS = {"linear": (1, 4), "dpt": (4, 4)}


def network(head: dict, n_taps: int, hidden: int, n_outputs: int) -> nn.Module:
    """An untrained head: `head` is `kind` and, for the linear one, perhaps `position`, for DPT `features` and
    `out_channels`."""
    if head["kind"] == "linear":
        return LinearHead(hidden, n_outputs, n_taps, head.get("position", False))
    return DptHead(hidden, n_outputs, head["features"], head["out_channels"])


def untrained(head: dict, n_taps: int, hidden: int, n_outputs: int, seed: int) -> nn.Module:
    """The same network for the same seed, laid out as convolutions on CPUs are fastest."""
    torch.manual_seed(seed)
    return network(head, n_taps, hidden, n_outputs).to(memory_format=torch.channels_last)


def wrong_taps(head: dict, taps: list[int]) -> str | None:
    """What is wrong with the number or the order of a head's taps."""
    fewest, most = N_TAPS[head["kind"]]
    if fewest <= len(taps) <= most and taps == sorted(set(taps)) and taps[0] >= 1:
        return None
    n = f"{fewest} to {most}" if fewest < most else str(fewest)
    return f"a {head['kind']} head reads {n} blocks, counted from 1, ascending"


def default_taps(head: str, n_blocks: int) -> list[int]:
    """The last block, or four of the same distance: the paper's."""
    if head == "linear":
        return [n_blocks]
    if n_blocks < 4:
        raise Refused(f"a dpt head reads four blocks, the model has {n_blocks}: use --head linear")
    return [n_blocks * (i + 1) // 4 for i in range(4)]


def card(
    task: dict, head: dict, backbone: dict, taps: list[int], size: tuple[int, int], **more: object
) -> dict:
    """`size` is width and height; `more` is for people and tools, the node passes over it."""
    number = oldest_format(task, head, taps)
    unknown = () if number > 1 else ("position", "threshold")
    return {
        "format": number,
        "task": {key: value for key, value in task.items() if key not in unknown},
        "head": {key: value for key, value in head.items() if key not in unknown},
        "backbone": backbone,
        "taps": taps,
        "size": f"{size[0]}x{size[1]}",
    } | more


def oldest_format(task: dict, head: dict, taps: list[int]) -> int:
    """The one to write: nodes of before go on reading what they can."""
    is_new = head.get("position") or task.get("threshold") or len(taps) > N_TAPS[head["kind"]][0]
    return 2 if is_new else 1


def write(file: Path, state: dict[str, Tensor], card: dict) -> None:
    """Readers never see half a file."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_whole(file, save(tensors, metadata={"card": json.dumps(card)}))


def read(file: Path) -> tuple[dict, nn.Module]:
    """The card and the trained head, ready to answer."""
    try:
        with safe_open(file, "pt") as opened:
            text = (opened.metadata() or {}).get("card")
            state = {name: opened.get_tensor(name).float() for name in opened.keys()}
    except (OSError, SafetensorError) as err:
        raise Refused(f"{file} is not a whole safetensors file: {err}") from None
    if text is None:
        raise Refused(f"{file} has no card in its metadata: it is no head file")
    card = json.loads(text)
    check(file, card)
    hidden, n_outputs = card["backbone"]["hidden_size"], of_card(card["task"]).n_outputs
    with torch.device("meta"):
        head = network(card["head"], len(card["taps"]), hidden, n_outputs)
    fill(head, state, file)
    return card, head.eval()


def check(file: Path, card: dict) -> None:
    """Refuses what a card of its format cannot say."""
    if card["format"] not in FORMATS:
        both = " and ".join(map(str, FORMATS))
        raise Refused(f"{file}: its card has format {card['format']}, this tool reads the formats {both}")
    head, taps, threshold = card["head"], card["taps"], card["task"].get("threshold", 0.0)
    if wrong := wrong_taps(head, taps):
        raise Refused(f"{file}: taps {taps}: {wrong}")
    if not 0 <= threshold <= 1:
        raise Refused(f"{file}: the threshold {threshold} is not between 0 and 1")
    if card["format"] < oldest_format(card["task"], head, taps):
        raise Refused(f"{file}: several taps of a linear head, position and threshold are of format 2, not 1")


def fill(head: nn.Module, state: dict[str, Tensor], file: Path) -> None:
    """Gives `head` the tensors of `file`: all of them and no others."""
    # Batch norms count their training steps.
    expected = {
        name: value for name, value in head.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    for name, value in expected.items():
        if name not in state:
            raise Refused(f"{file}: tensor {name} is missing (expected {list(value.shape)})")
        if state[name].shape != value.shape:
            raise Refused(f"{file}: tensor {name} is {list(state[name].shape)}, expected {list(value.shape)}")
        if not state[name].isfinite().all():
            raise Refused(f"{file}: tensor {name} has values that are not finite")
    if extra := sorted(state.keys() - expected.keys()):
        raise Refused(f"{file}: tensor {extra[0]} is no part of the head")
    counters = {name: torch.tensor(0) for name in head.state_dict().keys() - expected.keys()}
    head.load_state_dict(state | counters, assign=True)


def check_writable(file: Path) -> None:
    """Refuses, before hours of work, a place that nothing can be written to."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as err:
        raise Refused(f"{file} cannot be written: {err.strerror}") from None
    if file.is_dir():
        raise Refused(f"{file} is a folder: give the name of a file")


def write_whole(file: Path, content: bytes) -> None:
    """Writes `file` in one step."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(file)
    except OSError as err:
        raise Refused(f"{file} cannot be written: {err.strerror}") from None
