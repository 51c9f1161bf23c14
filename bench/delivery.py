"""Counts what default receivers get of large messages. Start it by `scripts/bench --delivery`.

A node of random:tiny makes features of 406 KB, about those of ViT-B, at the rate of a camera; subscribers of
rclpy with default settings, each in a process of its own, count. `p50` is the median time from the camera's
stamp to the subscriber's callback less the median age of the frames at the hand-over to DDS, both of the same
frames. Cases that an old binary (`--against FILE`) takes part in are run with both, in turn. Over veth the
subscriber is in a network namespace of its own, behind 1500 bytes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from listener import Listener
from networks import Host
from node_process import BINARY, Node
from waiting import until

from .nodes import ENDS

SIZE, TOPIC, IMAGE, FEATURES = (
    "384x352",
    "/bench/pixio_node/features",
    "/bench/image",
    "pixio_node/msg/PatchFeatures",
)
NEAR, FAR = "10.99.2.1", "10.99.2.2"


@dataclass
class Case:
    name: str
    reliable: bool
    rate_hz: float = 30
    n_frames: int = 300
    over_veth: bool = False
    # Processes that do nothing but take CPU time.
    n_burning: int = 0
    # Of three subscribers one that is stopped all along.
    freezes_one: bool = False


CASES = [
    *(Case(f"loopback, {name}", reliable) for name, reliable in (("best effort", False), ("reliable", True))),
    *(
        Case(f"veth, {name}", reliable, over_veth=True)
        for name, reliable in (("best effort", False), ("reliable", True))
    ),
    Case("loopback, reliable, both cores burnt", True, 10, 100, n_burning=os.cpu_count() or 1),
    Case("loopback, reliable, one of three frozen", True, 10, 200, freezes_one=True),
]


def ip(*arguments: str, inside: tuple[str, ...] = ()):
    subprocess.run([*inside, "ip", *arguments], check=True)


@contextmanager
def far_away():
    """What to put before a command so that it runs behind a veth pair."""
    host = Host()
    try:
        ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(host.pid))
        for device, address, where in (("near", NEAR, ()), ("far", FAR, host.inside)):
            ip("addr", "add", f"{address}/24", "dev", device, inside=where)
            ip("link", "set", device, "up", inside=where)
            ip("route", "add", "224.0.0.0/4", "dev", device, inside=where)
        yield host.inside
    finally:
        subprocess.run(["ip", "link", "del", "near"], check=False)
        host.close()


def shoot(case: Case) -> subprocess.Popen:
    order = {
        "do": "shoot",
        "topic": IMAGE,
        "transport": "raw",
        "size": [320, 240],
        "rate": case.rate_hz,
        "seconds": case.n_frames / case.rate_hz,
    }
    camera = subprocess.Popen(
        [sys.executable, ENDS, "camera"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    camera.stdin.write(json.dumps(order) + "\n")
    camera.stdin.close()
    return camera


def run(case: Case, binary: Path) -> dict:
    """What was handed to DDS and what came, of each subscriber that was not stopped; milliseconds; the node's
    growth."""
    with ExitStack() as stack:
        inside = stack.enter_context(far_away()) if case.over_veth else ()
        reliability = "reliable" if case.reliable else "best_effort"
        node = Node(
            size=SIZE,
            namespace="/bench",
            options=("--features-dtype", "float32"),
            remaps=(f"image:={IMAGE}",),
            params=(
                f"output_reliability:={reliability}",
                *((f"network_interface:={NEAR}",) if case.over_veth else ()),
            ),
        )
        node.arguments[0] = str(binary)
        listeners = [
            stack.enter_context(Listener(TOPIC, FEATURES, case.reliable, inside))
            for _ in range(3 if case.freezes_one else 1)
        ]
        stack.enter_context(node)
        for listener in listeners:
            listener.wait_until_matched()
        until(node.stats, "the first report")
        # The other way round the node finds them in its own time.
        time.sleep(2)
        if case.freezes_one:
            listeners.pop().freeze()
        before, n_bytes = len(node.stats()), node.memory_bytes()
        burning = [
            stack.enter_context(subprocess.Popen(["sh", "-c", "while :; do :; done"]))
            for _ in range(case.n_burning)
        ]
        for process in burning:
            stack.callback(process.kill)
        shoot(case).wait()
        time.sleep(2)
        periods = node.stats()[before:]
        ages = [period["spans"]["age"]["p50"] for period in periods if period["spans"]["age"]["n"]]
        millis = [(at - stamp) / 1e6 for listener in listeners for stamp, at, _ in listener.heard()]
        return {
            "published": periods[-1]["counts"]["published"],
            "arrived": [len(listener.heard()) for listener in listeners],
            "p50_ms": statistics.median(millis) - statistics.median(ages) if millis and ages else None,
            "grown_mb": (node.memory_bytes() - n_bytes) / 2**20,
        }


def line(name: str, found: dict) -> str:
    p50 = "-" if found["p50_ms"] is None else f"{found['p50_ms']:.1f} ms"
    arrived = ", ".join(map(str, found["arrived"]))
    counts = f"{arrived:>9} of {found['published']:<5}"
    return f"  {name:4} {counts} p50 {p50:>9}   memory {found['grown_mb']:+.0f} MB"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delivery", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--against", type=Path, metavar="FILE", help="another pixio_node, called old")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    binaries = {"new": BINARY} | ({"old": options.against} if options.against else {})
    results = {}
    for case in CASES:
        print(f"\n{case.name}, {case.rate_hz:g} Hz", flush=True)
        for name, binary in binaries.items():
            results.setdefault(case.name, {})[name] = found = run(case, binary)
            print(line(name, found), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
