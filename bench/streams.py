"""One camera into nodes with different numbers of streams (forward passes side by side), and into another
build of pixio_node, in turn on this machine. `scripts/bench --streams` starts it.

All nodes live at once and get the same images one after the other, from an rclpy publisher in a process of
its own; an rclpy subscriber of the features, in another, takes the ages. `saturated` is a rate above what any
of them takes, `calm` is 10 Hz, or half of what the model takes if that is less. Memory of a further stream is
what the private memory of a node grows by. Ratios are those to the first contender.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from node_process import BINARY

from .cameras import memory_mb
from .compare import MODELS, SATURATING, SIZES, TRANSPORTS, End, environment, forward_millis, measure
from .nodes import Ours
from .table import percentile

# Sizes and transports of images.
CASES = (("640x480", "raw"), ("1280x720", "JPEG"))


def figures(rows: list[dict]) -> dict[str, float]:
    return {
        "frames a second": statistics.median(row["fps"] for row in rows),
        "age p50 ms": percentile(rows, 50),
        "age p99 ms": percentile(rows, 99),
        "CPU ms a frame": statistics.median(
            row["inside_cpu_millis"] + row["outside_cpu_millis"] for row in rows
        ),
    }


def compare(ends: tuple[End, End], model: str, size: str, transport: str, options) -> dict:
    """By case and contender: the figures."""
    contenders = {f"streams {n}": ((*options.param, f"streams:={n}"), BINARY) for n in options.streams}
    if options.against:
        contenders = {"old": (tuple(options.param), options.against)} | contenders
    nodes = {
        label: Ours(MODELS[model], TRANSPORTS[transport], environment(), params=params, binary=binary)
        for label, (params, binary) in contenders.items()
    }
    found = {}
    try:
        for node in nodes.values():
            node.start()
        slowest = max(forward_millis(node, ends, TRANSPORTS[transport]) for node in nodes.values())
        calm = min(10.0, 500 / slowest)
        # A slow model gets the time for a handful of frames.
        seconds = max(options.seconds, 12 * slowest / 1e3)
        for load, rate in (("saturated", SATURATING[model]), ("calm", calm)):
            case = f"{model}, {size} {transport}, {load} ({rate:.1f} Hz)"
            rows = {label: [] for label in nodes}
            for turn in range(options.rounds):
                for label, node in nodes.items():
                    print(
                        f"{case}: {label}, round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True
                    )
                    rows[label].append(measure(node, ends, TRANSPORTS[transport], SIZES[size], rate, seconds))
            found[case] = {label: figures(of) for label, of in rows.items()}
        memory = {label: memory_mb(node.pid, "Pss_Anon") for label, node in nodes.items()}
        found[f"{model}, {size} {transport}, memory"] = {
            label: {"private MB": megabytes} for label, megabytes in memory.items()
        }
    finally:
        for node in nodes.values():
            node.stop()
    return found


def table(found: dict) -> str:
    lines = []
    for case, by_label in found.items():
        lines.append(f"\n{case}")
        base = next(iter(by_label.values()))
        for label, of in by_label.items():
            cells = [f"{name} {value:.1f} ({value / base[name]:.2f})" for name, value in of.items()]
            lines.append(f"  {label:10}  " + "   ".join(cells))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", nargs="*", default=[], help="numbers of streams (default 1 2 auto)")
    parser.add_argument("--against", type=Path, help="another pixio_node, called old")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--param", action="append", default=[], help="NAME:=VALUE for every node")
    parser.add_argument("--rounds", type=int, default=3, help="times that each has its turn (default 3)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a stretch (default 4)")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    options.streams = options.streams or ["1", "2", "auto"]
    found = {}
    with End("camera") as camera, End("receiver") as receiver:
        for model in options.models:
            for size, transport in CASES:
                found |= compare((camera, receiver), model, size, transport, options)
    print(f"\nof each row the ratio to the first of its case; {options.rounds} rounds, medians")
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
