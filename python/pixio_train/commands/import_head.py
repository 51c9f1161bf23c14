"""Turns a head that was trained elsewhere (a PyTorch state_dict, .pth) into a head file that pixio_node
reads.

The parameters must have the names of the Pixio paper's heads: projects.0.weight ...
scratch.output_conv.2.bias for dpt, 0.* (batch norm) and 1.* (1x1 convolution) or norm.* and conv.* for
linear; what stands before them (head., module.) and whatever else is in the file, such as an encoder, is
passed over. Kind and widths follow from the shapes, and so does whether a linear head reads the place of
each patch beside its taps. The pickle is opened with weights_only, which runs no code from it.
"""

import argparse
from pathlib import Path

import torch
from pixio_engine.heads import linear_inputs
from torch import Tensor

from pixio_train import head_file, options
from pixio_train.dataset import read_classes
from pixio_train.encoder import Checkpoint
from pixio_train.errors import Refused, listed, program
from pixio_train.tasks import Depth, Segmentation

# A parameter that only one kind of head has, under each of its names: what stands before it is the prefix.
DPT_MARK = "scratch.output_conv.0.weight"
LINEAR_MARKS = {"norm.running_mean": ("norm.", "conv."), "0.running_mean": ("0.", "1.")}
DPT_PARTS = ("projects.", "resize_layers.", "scratch.")
# The coarsest level has nothing to add; the paper's heads carry these weights all the same.
UNUSED = "scratch.refinenet4.resConfUnit1."


@program
def main() -> None:
    args = parse()
    head_file.check_writable(args.out)
    checkpoint = Checkpoint.find(args.model)
    arch = checkpoint.architecture
    head, state = recognised(args.state_dict, read(args.state_dict))
    taps = args.taps or head_file.default_taps(head["kind"], arch.num_hidden_layers)
    if wrong := head_file.wrong_taps(head, taps):
        raise Refused(f"--taps {taps}: {wrong}")
    if taps[-1] > arch.num_hidden_layers:
        raise Refused(f"--taps {taps}: {checkpoint.name} has the blocks 1 to {arch.num_hidden_layers}")
    is_depth = args.task == "depth"
    task = Depth(args.max_depth) if is_depth else Segmentation(read_classes(args.classes), args.threshold)
    check_channels(args.state_dict, head, state, checkpoint, task, len(taps))
    if head.get("position") and args.fit == "crop":
        raise Refused(f"{args.state_dict}: the head reads the place of each patch: give --fit stretch")
    with torch.device("meta"):
        network = head_file.network(head, len(taps), arch.hidden_size, task.n_outputs)
    head_file.fill(network, state, args.state_dict)
    card = head_file.card(
        task.card(args.focal_length), head, checkpoint.card(), taps, args.size, fit=args.fit
    )
    head_file.write(args.out, network.state_dict(), card)
    print(
        f"{args.out}: {head['kind']} head for {args.task} on taps {taps} of {checkpoint.name}, "
        f"{len(state)} tensors"
    )


def read(file: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as err:
        raise Refused(f"{file} is not a state_dict of tensors alone: {str(err).splitlines()[0]}") from None
    # Training scripts save the weights beside the optimizer.
    for key in ("model", "state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        raise Refused(f"{file} holds a {type(loaded).__name__}, not tensors by name")
    return {name: value.float() for name, value in loaded.items() if torch.is_tensor(value)}


def recognised(file: Path, tensors: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """The kind of head with its widths, and its parameters under our names."""
    for name in tensors:
        if is_last(name, DPT_MARK):
            state = below(tensors, name.removesuffix(DPT_MARK))
            state = {
                name: value
                for name, value in state.items()
                if name.startswith(DPT_PARTS) and not name.startswith(UNUSED)
            }
            return dpt(file, state), state
    for mark, (norm, conv) in LINEAR_MARKS.items():
        for name in tensors:
            prefix = name.removesuffix(mark)
            weight = tensors.get(f"{prefix}{conv}weight")
            if is_last(name, mark) and weight is not None and weight.ndim == 4:
                state = {f"norm.{key}": value for key, value in below(tensors, prefix + norm).items()}
                state |= {f"conv.{key}": value for key, value in below(tensors, prefix + conv).items()}
                return {"kind": "linear", "position": False}, state
    raise Refused(
        f"{file} holds no head: neither {DPT_MARK} (dpt) nor a batch norm and a convolution called norm and "
        f"conv, or 0 and 1 (linear); it has {listed(sorted(tensors))}"
    )


def is_last(name: str, mark: str) -> bool:
    """Whether `mark` is the end of a name, part by part."""
    return f".{name}".endswith(f".{mark}")


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def dpt(file: Path, state: dict[str, Tensor]) -> dict:
    """Widths of a dpt head."""
    names = [f"projects.{level}.weight" for level in range(4)]
    for name in names:
        if name not in state:
            raise Refused(f"{file}: tensor {name} is missing")
    out_channels = [state[name].shape[0] for name in names]
    return {"kind": "dpt", "features": state[DPT_MARK].shape[0], "out_channels": out_channels}


def check_channels(
    file: Path,
    head: dict,
    state: dict[str, Tensor],
    checkpoint: Checkpoint,
    task: Depth | Segmentation,
    n_taps: int,
) -> None:
    """Whether the head reads this model's tokens and says what it is asked for. A linear head that reads two
    channels more reads the position."""
    first, last = {"dpt": ("projects.0", "scratch.output_conv.2"), "linear": ("conv", "conv")}[head["kind"]]
    for name in (f"{first}.weight", f"{last}.weight"):
        if name not in state:
            raise Refused(f"{file}: tensor {name} is missing")
    n_inputs, hidden = state[f"{first}.weight"].shape[1], checkpoint.architecture.hidden_size
    # Of a dpt head, the first of its four taps.
    n_read = n_taps if head["kind"] == "linear" else 1
    if "position" in head and n_inputs == linear_inputs(hidden, n_read, has_position=True):
        head["position"] = True
    elif n_inputs != linear_inputs(hidden, n_read, has_position=False):
        each = f"{2 * hidden} (twice {hidden})" + (f" of each of {n_read} taps" if n_read > 1 else "")
        raise Refused(
            f"{file}: the head reads {n_inputs} channels, patch and class tokens of {checkpoint.name} are "
            f"{each}"
        )
    n_outputs = state[f"{last}.weight"].shape[0]
    if n_outputs != task.n_outputs:
        wanted = (
            "depth is one" if task.name == "depth" else f"the file of classes has {task.n_outputs} classes"
        )
        raise Refused(f"{file}: the head returns {n_outputs} maps, {wanted}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("state_dict", metavar="STATE_DICT", type=Path, help="the .pth file")
    parser.add_argument(
        "--model",
        required=True,
        help="checkpoint folder of the encoder it was trained on, or the id of a downloaded model",
    )
    parser.add_argument("--task", choices=("depth", "segmentation"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="head file to write")
    parser.add_argument(
        "--max-depth", type=options.positive, help="depth: the metres that its sigmoid is multiplied by"
    )
    parser.add_argument(
        "--focal-length",
        type=options.positive,
        help="depth: of the training images, in pixels of the model input; the node then corrects for others",
    )
    parser.add_argument(
        "--classes", type=Path, help="segmentation: classes.yaml, as pixio-train-head reads it"
    )
    parser.add_argument(
        "--threshold",
        type=options.share,
        default=0.0,
        help="segmentation: the node leaves pixels unlabelled whose likeliest class is less likely (0)",
    )
    parser.add_argument("--taps", type=options.integers, help="blocks that it reads, from 1 (the paper's)")
    parser.add_argument(
        "--size",
        type=options.size,
        default=(256, 256),
        metavar="WxH",
        help="input it was trained on (256x256)",
    )
    parser.add_argument(
        "--fit",
        choices=("stretch", "crop"),
        default="crop",
        help="images it was trained on: whole and stretched, or windows (the paper's, the default)",
    )
    args = parser.parse_args()
    needed = "max_depth" if args.task == "depth" else "classes"
    if getattr(args, needed) is None:
        parser.error(f"--task {args.task} needs --{needed.replace('_', '-')}")
    return args


if __name__ == "__main__":
    main()
