"""Compares two builds of pixio_node on this machine, stage by stage. Start it by `scripts/bench --against
FILE`.

The other binary and this one take turns (A B A B ...): a turn is a `pixio_node bench` of one case, frame by
frame through the whole pipeline without ROS. A figure is the median over the rounds of a turn's median. A
ratio is the median of the rounds' own ratios, so that what slows the machine down for a minute slows both;
the smallest and the largest of them are told too. Raw images are synthetic, JPEG images are a photograph of
scikit-image.

A case that one of the two cannot run (an older bench reads no files) becomes a line with its reason.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import images
from node_process import BINARY, run
from waiting import LONG_SECS

from .forward import Failed, environment, reason, threads

SIZES = {"640x480": (640, 480), "1280x720": (1280, 720)}
ENCODINGS = ("raw", "JPEG")
STAGES = ("fit", "forward", "heads", "total")


def turn(name: str, binary: Path, model: str, image: str, n_frames: int) -> dict[str, float]:
    """Median milliseconds of every stage."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        done = run(
            "bench",
            "--model",
            model,
            "--device",
            "cpu",
            "--engine",
            "eager",
            "--threads",
            threads(),
            # The name of --image that earlier builds know, and a second one in this.
            "--picture",
            image,
            "--frames",
            n_frames,
            "--json",
            out.name,
            binary=binary,
            patience_secs=LONG_SECS,
            **environment(),
        )
        if done.returncode:
            raise Failed(f"{name}: {reason(done)}")
        [engine] = json.loads(Path(out.name).read_text())["engines"]
    return {stage: engine["spans_ms"][stage]["p50"] for stage in STAGES}


def compare(old: Path, model: str, image: str, n_rounds: int, n_frames: int) -> dict[str, dict]:
    """By stage: medians of both, the ratio new / old, and the range of the rounds' ratios."""
    binaries = {"old": old, "new": BINARY}
    turns = [
        {name: turn(name, binary, model, image, n_frames) for name, binary in binaries.items()}
        for _ in range(n_rounds)
    ]
    found = {}
    for stage in STAGES:
        ratios = [of["new"][stage] / of["old"][stage] for of in turns]
        found[stage] = {name: statistics.median(of[name][stage] for of in turns) for name in binaries}
        found[stage] |= {"ratio": statistics.median(ratios), "ratios": ratios}
    return found


def table(case: str, found: dict[str, dict] | str) -> str:
    if isinstance(found, str):
        return f"\n{case}: not measured: {found}"
    lines = [f"\n{case}"]
    for stage, of in found.items():
        low, high = min(of["ratios"]), max(of["ratios"])
        lines.append(
            f"  {stage:8} {of['new']:8.2f} / {of['old']:8.2f} = {of['ratio']:.2f}   {low:.2f} to {high:.2f}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--against", type=Path, required=True, metavar="FILE", help="the other pixio_node, called old"
    )
    parser.add_argument("--quick", action="store_true", help="1280x720 alone, two rounds")
    parser.add_argument("--rounds", type=int, help="turns of each (default 7)")
    parser.add_argument("--frames", type=int, default=100, help="frames of a turn (default 100)")
    parser.add_argument("--model", default="random:tiny", help="as pixio_node takes it (default random:tiny)")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    if not os.access(options.against, os.X_OK) or options.against.is_dir():
        parser.error(f"--against {options.against} is no program")
    sizes = ["1280x720"] if options.quick else list(SIZES)
    n_rounds = options.rounds or (2 if options.quick else 7)

    started, results = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="pixio-bench-") as folder:
        for size, encoding in itertools.product(sizes, ENCODINGS):
            case = f"{options.model}, {size} {encoding}"
            print(
                f"[{time.monotonic() - started:4.0f} s] {case}, {n_rounds} rounds",
                file=sys.stderr,
                flush=True,
            )
            image = size
            if encoding == "JPEG":
                image = Path(folder, f"{size}.jpg")
                image.write_bytes(images.file_bytes(images.photograph("coffee", *SIZES[size])))
            try:
                results[case] = compare(
                    options.against.absolute(), options.model, image, n_rounds, options.frames
                )
            except Failed as err:
                results[case] = str(err)
    print(
        f"new / old = ratio, and the rounds' ratios; milliseconds, {threads()} threads, {n_rounds} "
        f"rounds of {options.frames} frames\n"
        f"new {BINARY}\nold {options.against}"
    )
    print("\n".join(table(case, found) for case, found in results.items()))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0 if any(isinstance(found, dict) for found in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
