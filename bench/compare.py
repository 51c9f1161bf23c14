"""Compares pixio_node with a Python node (rclpy, Hugging Face) in one run on this machine. Start it by
scripts/bench.

Both nodes get the same images at the same rate from an rclpy publisher in a process of its own, one after
the other and then again (A B A B), with the same number of OpenMP threads, passive waiting and the same Fast
DDS profile. `saturated` is a rate above what either takes; `calm` is 10 Hz, or half of what the model takes
if that is less.

CPU time comes from /proc/PID/task/*/schedstat. Inside the forward pass: for pixio_node its thread `model` and
the OpenMP threads that it started, less the span `heads`; for the Python node what its worker thread and the
OpenMP threads spent during the model's call. Outside is everything else of the process. The ratio is
pixio_node / Python throughout.
"""

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import orders
from node_process import ROOT

from . import table
from .nodes import ENDS, Baseline, Ours, cpu_by_name, peak_bytes

SIZES = {"640x480": (640, 480), "1280x720": (1280, 720)}
MODELS = {"tiny": "tiny", "ViT-B": "vitb16"}
TRANSPORTS = {"raw": "raw", "JPEG": "compressed"}
# Frames per second that neither node takes on a few cores.
SATURATING = {"tiny": 150, "ViT-B": 30}
PROFILE = ROOT / "config" / "fastdds.xml"


def environment() -> dict[str, str]:
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    return {
        "OMP_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(PROFILE),
    }


class End:
    """A camera or a receiver in a process of its own."""

    def __init__(self, which: str, profile: bool = True):
        env = os.environ | environment()
        if not profile:
            del env["FASTRTPS_DEFAULT_PROFILES_FILE"]
        self._process = subprocess.Popen(
            [sys.executable, ENDS, which], env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> "End":
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def __call__(self, do: str, **order) -> dict:
        return orders.give(self._process, do, **order)


def measure(node, ends: tuple[End, End], transport: str, size, rate: float, seconds: float) -> dict:
    """One stretch of images at one rate."""
    camera, receiver = ends
    receiver("listen", topic=node.features)
    before, threads_before = node.reading(), cpu_by_name(node.pid)
    sent = camera("shoot", topic=node.image, transport=transport, size=size, rate=rate, seconds=seconds)[
        "sent"
    ]
    # Both nodes tell their counts twice a second.
    time.sleep(0.2)
    spent, threads = node.reading().since(before), cpu_by_name(node.pid)
    got = receiver("finish")
    elapsed = (got["at"][-1] - got["at"][0]) / 1e9 if len(got["at"]) > 1 else float("nan")
    published = max(spent.published, 1)
    return {
        "sent": sent,
        "received_by_node": spent.received,
        "published": spent.published,
        "arrived": len(got["at"]),
        "fps": (len(got["at"]) - 1) / elapsed,
        "millis": got["millis"],
        "inside_cpu_millis": spent.forward_cpu_secs / published * 1e3,
        "outside_cpu_millis": (spent.cpu_secs - spent.forward_cpu_secs) / published * 1e3,
        "thread_cpu_millis": {
            name: (secs - threads_before.get(name, 0)) / published * 1e3 for name, secs in threads.items()
        },
        "forward_millis": node.forward_millis(),
        "peak_mb": peak_bytes(node.pid) / 1e6,
    }


def forward_millis(node, ends, transport: str) -> float:
    """Time of a forward pass, once the node and both ends have met, which takes a second or two."""
    for _ in range(10):
        row = measure(node, ends, transport, SIZES["640x480"], 2, 2.0)
        if not math.isnan(row["forward_millis"]):
            return row["forward_millis"]
    raise RuntimeError(f"{node.label} answers no image")


def compare(
    ends, model: str, transport: str, sizes, rounds: int, seconds: dict[str, float], tell
) -> list[dict]:
    """Both nodes, alive together and fed in turn."""
    nodes = [kind(MODELS[model], TRANSPORTS[transport], environment()) for kind in (Ours, Baseline)]
    rows = []
    try:
        for node in nodes:
            node.start()
        slowest = max(forward_millis(node, ends, TRANSPORTS[transport]) for node in nodes)
        calm = min(10.0, 500 / slowest)
        # A slow model gets the time for a handful of frames.
        long_enough = {
            "calm": max(seconds["calm"], 5 / calm),
            "saturated": max(seconds["saturated"], 6 * slowest / 1e3),
        }
        for size, turn in itertools.product(sizes, range(rounds)):
            for node in nodes:
                for load, rate in (("calm", calm), ("saturated", SATURATING[model])):
                    tell(
                        f"{model} {size} {transport}: {node.label}, {load} {rate:.1f} Hz, round "
                        f"{turn + 1} of {rounds}"
                    )
                    row = measure(node, ends, TRANSPORTS[transport], SIZES[size], rate, long_enough[load])
                    rows.append(
                        {
                            "model": model,
                            "size": size,
                            "transport": transport,
                            "node": node.label,
                            "load": load,
                            "rate": rate,
                            "round": turn,
                        }
                        | row
                    )
    finally:
        for node in nodes:
            node.stop()
    return rows


def without_profile(camera: End, seconds: float, tell) -> dict:
    """ViT-B's features, 393 KB a frame, at two receivers at once: one has config/fastdds.xml, the other Fast
    DDS's defaults."""
    tell("ViT-B features at a receiver with and one without config/fastdds.xml")
    node = Ours("vitb16", "raw", environment())
    try:
        node.start()
        with End("receiver") as informed, End("receiver", profile=False) as default:
            receivers = {"with": informed, "without": default}
            for receiver in receivers.values():
                receiver("listen", topic=node.features)
            before = node.reading()
            camera(
                "shoot", topic=node.image, transport="raw", size=SIZES["640x480"], rate=30, seconds=seconds
            )
            time.sleep(0.2)
            published = node.reading().since(before).published
            return {"published": published} | {
                name: len(receiver("finish")["at"]) for name, receiver in receivers.items()
            }
    finally:
        node.stop()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny model, 1280x720 alone, one round: about a minute"
    )
    parser.add_argument("--rounds", type=int, default=2, help="times that each node has its turn (default 2)")
    parser.add_argument(
        "--calm", type=float, default=4.0, help="seconds of one unhurried stretch of images (default 4)"
    )
    parser.add_argument(
        "--saturated", type=float, default=2.5, help="seconds of one saturated stretch (default 2.5)"
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    started = time.monotonic()

    def tell(text: str):
        print(f"[{time.monotonic() - started:4.0f} s] {text}", file=sys.stderr, flush=True)

    models, sizes, transports, rounds = options.models, list(SIZES), list(TRANSPORTS), options.rounds
    if options.quick:
        models, sizes, transports, rounds = ["tiny"], ["1280x720"], ["raw", "JPEG"], 1
    seconds = {"calm": options.calm, "saturated": options.saturated}
    rows, profile = [], None
    with End("camera") as camera, End("receiver") as receiver:
        for model, transport in itertools.product(models, transports):
            rows += compare((camera, receiver), model, transport, sizes, rounds, seconds, tell)
        if not options.quick:
            profile = without_profile(camera, 8.0, tell)
    print(table.table(rows, profile))
    if options.json:
        summary = table.summary(rows)
        options.json.write_text(
            json.dumps({"rows": rows, "summary": summary, "receiver_profile": profile}, indent=1)
        )


if __name__ == "__main__":
    main()
