"""Measures a head file on a data set: AbsRel, RMSE and delta1, or mIoU and IoU per class, over all known
pixels.

DATA is a folder as pixio-train-head reads. Figures are taken at the size of the truth.
"""

import argparse
import json
import sys
from pathlib import Path

from pixio_train import head_file, options
from pixio_train.dataset import Dataset
from pixio_train.encoder import Checkpoint
from pixio_train.errors import Refused, program
from pixio_train.evaluate import evaluate
from pixio_train.features import Computed, Encoder
from pixio_train.metrics import table
from pixio_train.split import split
from pixio_train.tasks import of_card
from pixio_train.views import covering_views

ARCHITECTURE = ("hidden_size", "num_hidden_layers", "n_cls_tokens")


@program
def main() -> None:
    args = parse()
    card, network = head_file.read(args.head)
    checkpoint = Checkpoint.find(args.model)
    task = of_card(card["task"])
    dataset = Dataset.open(args.data, task.name, args.limit)
    if task.name == "segmentation" and dataset.classes != task.classes:
        theirs, ours = ([one["name"] for one in classes] for classes in (dataset.classes, task.classes))
        raise Refused(f"{args.data} has the classes {theirs}, {args.head} the classes {ours}")
    images = split(dataset, str(args.held_out), args.seed)[1] if args.held_out else dataset.images

    encoder = Encoder(checkpoint, args.size or options.size(card["size"]), card["taps"], args.device)
    ours, theirs = card["backbone"], encoder.card
    if [ours[key] for key in ARCHITECTURE] != [theirs[key] for key in ARCHITECTURE]:
        raise Refused(f"{args.head} was trained on {in_words(ours)}, the model is {in_words(theirs)}")
    if ours["revision"] != theirs["revision"]:
        both = f"on revision {ours['revision']}, this is {theirs['revision']}"
        print(f"warning: {args.head} was trained {both}", file=sys.stderr)
    fit = args.fit or card.get("fit", "stretch")
    if fit == "crop" and card["head"].get("position"):
        raise Refused(f"{args.head} reads the place of each patch in the whole image: use --fit stretch")
    views = covering_views(images, encoder.size, fit)
    figures = evaluate(network.to(args.device), task, encoder, Computed(encoder, views), views)
    print(f"{args.head} on {len(images)} images of {args.data}\n{table(figures)}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


def in_words(backbone: dict) -> str:
    return "{model} ({num_hidden_layers} blocks of {hidden_size} with {n_cls_tokens} class tokens)".format(
        **backbone
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("head", metavar="HEAD", type=Path, help="head file")
    parser.add_argument("model", metavar="MODEL", help="checkpoint folder, or the id of a downloaded model")
    parser.add_argument("data", metavar="DATA", type=Path, help="folder of the data set")
    parser.add_argument("--size", type=options.size, metavar="WxH", help="model input (the head's)")
    parser.add_argument("--fit", choices=("stretch", "crop"), help="(as the head was trained)")
    parser.add_argument(
        "--held-out",
        type=float,
        help="only the share of DATA that pixio-train-head with this --held-out keeps out",
    )
    parser.add_argument("--seed", type=int, default=0, help="pixio-train-head's, for --held-out")
    parser.add_argument("--limit", type=options.count, help="take this many images, spread over the data set")
    parser.add_argument("--device", type=options.device, default="auto", help="auto, cpu or cuda")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
