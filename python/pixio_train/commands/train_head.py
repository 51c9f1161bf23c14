"""Trains a depth or segmentation head on a frozen Pixio encoder, and writes a head file for pixio_node.

DATA is a folder:
  rgb/NAME.png or .jpg   images
  depth/NAME.png         16 bit, millimetres, 0 unknown (for --task depth)
  labels/NAME.png        8 bit, class number, 255 unlabelled (for --task segmentation)
  classes.yaml           classes: [{name: floor, color: [128, 64, 0]}, ...] (for --task segmentation)
  camera.yaml            width, height, fx, fy, cx, cy in pixels (optional; lets the node correct for others)

The encoder does not change, so its tokens are computed once and kept (--cache); the head is then trained on
them. --fit stretch, the default, shows it whole images stretched to --size, as the node does by default.
--fit crop shows it windows at the images' own scale, as in the paper: use such a head with the node's
`fit: window`. Losses and schedules are the paper's (arXiv 2512.15715). The epoch with the best delta1 or mIoU
on the held-out images is what OUT gets. Needs scripts/requirements/training.txt beside torch.
"""

import argparse
from pathlib import Path

from torch import nn

from pixio_train import head_file, options
from pixio_train.dataset import Dataset
from pixio_train.encoder import Checkpoint
from pixio_train.errors import program
from pixio_train.evaluate import evaluate
from pixio_train.features import Encoder, default_cache, features, identity
from pixio_train.metrics import table
from pixio_train.split import split
from pixio_train.tasks import Depth, Segmentation
from pixio_train.trainer import Examples, Plan, Training
from pixio_train.views import covering_views, training_views

LEARNING_RATES = {"dpt": 1e-4, "linear": 2e-4}
# The paper's DPT, and one for encoders up to NARROW channels.
WIDE = (256, [256, 512, 1024, 1024])
SLIM = (32, [32, 64, 128, 128])
NARROW = 384


@program
def main() -> None:
    args = parse()
    head_file.check_writable(args.out)
    checkpoint = Checkpoint.find(args.model)
    arch = checkpoint.architecture
    head = {"kind": args.head}
    if args.head == "linear":
        head["position"] = args.position
    if args.head == "dpt":
        features_, out_channels = SLIM if arch.hidden_size <= NARROW else WIDE
        head |= {"features": args.features or features_, "out_channels": args.out_channels or out_channels}
    taps = args.taps or head_file.default_taps(args.head, arch.num_hidden_layers)

    dataset = Dataset.open(args.data, args.task, args.limit)
    is_depth = args.task == "depth"
    task = Depth(args.max_depth) if is_depth else Segmentation(dataset.classes, args.threshold)
    train, held_out = split(dataset, args.held_out, args.seed, args.limit)
    print(f"{args.data}: {len(train)} images to train on, {len(held_out)} held out", flush=True)

    encoder = Encoder(checkpoint, args.size, taps, args.device)
    cache = None if args.no_cache else args.cache
    views = training_views(train, args.size, args.fit, args.crops, args.flip, args.seed)
    flat = [view for some in views for view in some]
    examples = Examples(encoder, task, features(encoder, flat, cache), views)
    judged = covering_views(held_out, args.size, args.fit)
    judged_features = features(encoder, judged, cache)

    network = head_file.untrained(head, len(taps), arch.hidden_size, task.n_outputs, args.seed)
    network = network.to(args.device)
    print(
        f"{args.head} head: {sum(value.numel() for value in network.parameters())} parameters on "
        f"taps {taps} of "
        f"{checkpoint.name}, {args.device.type}",
        flush=True,
    )
    settings = {
        "task": task.card(None),
        "head": head,
        "taps": taps,
        "size": args.size,
        "fit": args.fit,
        "crops": args.crops,
        "flip": args.flip,
        "epochs": args.epochs,
        "batch": args.batch,
        "learning-rate": args.learning_rate,
        "minutes": args.minutes,
        "seed": args.seed,
        "revision": encoder.card["revision"],
        "images": identity(encoder, flat),
    }
    plan = Plan(args.epochs, args.batch, args.learning_rate, args.seed, args.minutes, settings)
    beside = args.out.with_name(f"{args.out.name}.training")

    def judge(one: nn.Module) -> dict:
        return evaluate(one, task, encoder, judged_features, judged)

    training = Training(network, examples, judge, plan, beside)
    if args.resume and beside.exists():
        training.resume()
        print(f"going on in epoch {training.state.epoch + 1}", flush=True)
    best = training.run()

    focal_length = dataset.camera and dataset.camera.focal_length(
        args.size if args.fit == "stretch" else None
    )
    card = head_file.card(
        task.card(focal_length), head, encoder.card, taps, args.size, fit=args.fit, held_out=best.best
    )
    weights = {
        name: value.half() if args.float16 and value.is_floating_point() else value
        for name, value in best.best_weights.items()
    }
    head_file.write(args.out, weights, card)
    beside.unlink(missing_ok=True)
    print(
        f"{args.out}: epoch {best.best_epoch}, {best.seconds / 60:.1f} minutes; on {len(held_out)} held-out "
        f"images\n{table(best.best)}"
    )


def in_words(channels: list[int]) -> str:
    return ",".join(map(str, channels))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="checkpoint folder, or the id of a downloaded model")
    parser.add_argument("data", metavar="DATA", type=Path, help="folder of the data set")
    parser.add_argument("--task", choices=("depth", "segmentation"), required=True)
    parser.add_argument("--head", choices=("linear", "dpt"), default="dpt")
    parser.add_argument("--out", type=Path, required=True, help="head file to write")
    parser.add_argument(
        "--held-out",
        default="0.1",
        metavar="SHARE|DIR",
        help="what the head is judged by: a share of DATA's scenes (what stands before the last _ of a "
        "name), or another data set (default 0.1)",
    )
    parser.add_argument("--limit", type=options.count, help="take this many images, spread over the data set")
    parser.add_argument(
        "--max-depth", type=options.positive, default=10.0, help="the largest depth the head can say, m (10)"
    )
    parser.add_argument("--float16", action="store_true", help="write half the bytes")
    parser.add_argument(
        "--size", type=options.size, default=(256, 256), metavar="WxH", help="model input (256x256)"
    )
    parser.add_argument("--fit", choices=("stretch", "crop"), default="stretch")
    parser.add_argument(
        "--crops", type=options.count, default=4, help="windows per image with --fit crop (4)"
    )
    parser.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, default=True, help="mirrored images too"
    )
    parser.add_argument(
        "--taps",
        type=options.integers,
        help="blocks that are read, from 1 (dpt: four of the same distance; linear: the last, or up to four)",
    )
    parser.add_argument(
        "--position", action="store_true", help="linear: the place of each patch in the image is read too"
    )
    parser.add_argument(
        "--threshold",
        type=options.share,
        default=0.0,
        help="segmentation: the node leaves pixels unlabelled whose likeliest class is less likely (0)",
    )
    parser.add_argument(
        "--features",
        type=options.count,
        help=f"channels of dpt's merged maps ({WIDE[0]}; {SLIM[0]} for models up to {NARROW} wide)",
    )
    parser.add_argument(
        "--out-channels",
        type=options.integers,
        help=f"channels of dpt's four levels ({in_words(WIDE[1])}; {in_words(SLIM[1])})",
    )
    parser.add_argument("--epochs", type=options.count, default=60)
    parser.add_argument(
        "--minutes", type=options.positive, help="train no longer than this (features come on top)"
    )
    parser.add_argument("--batch", type=options.count, default=16)
    parser.add_argument("--learning-rate", type=options.positive, help="(1e-4 for dpt, 2e-4 for linear)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=options.device, default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), help="where features are kept (%(default)s)"
    )
    parser.add_argument("--no-cache", action="store_true", help="compute features again in every epoch")
    parser.add_argument(
        "--resume", action="store_true", help="go on with an interrupted training of the same settings"
    )
    args = parser.parse_args()
    args.learning_rate = args.learning_rate or LEARNING_RATES[args.head]
    if args.taps and (wrong := head_file.wrong_taps({"kind": args.head}, args.taps)):
        parser.error(f"--taps {args.taps}: {wrong}")
    if args.position and args.head != "linear":
        parser.error("--position is for --head linear")
    if args.position and args.fit == "crop":
        parser.error("--position is for whole images: --fit crop shows windows")
    if args.threshold and args.task != "segmentation":
        parser.error("--threshold is for --task segmentation")
    if args.out_channels and len(args.out_channels) != 4:
        parser.error("--out-channels: four are needed")
    return args


if __name__ == "__main__":
    main()
