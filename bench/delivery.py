"""Counts what default receivers get of large messages. Start it by `scripts/bench --delivery`.

A node of random:tiny makes features of 406 KB, about those of ViT-B, at the rate of a camera; subscribers of
rclpy with default settings, each in a process of its own, count. `p50` is the median time from the camera's
stamp to the subscriber's callback less the median age of the frames at the hand-over to DDS, both of the same
frames. `replaced` counts messages that a newer one replaced before anything of them was sent. Cases that an
old binary (`--against FILE`) takes part in are run with both, in turn. Over veth the subscriber is in a
network namespace of its own, behind 1500 bytes.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import head_files
from cameras import Diagnostics, values
from listener import Listener
from networks import Host
from node_process import BINARY, Node
from peer import Peer
from waiting import until

from .nodes import ENDS

FEATURES = {"features": "pixio_node/msg/PatchFeatures"}
# Seven topics to one process: 1.9 MB a frame.
SEVEN = FEATURES | {
    "depth/image": "sensor_msgs/msg/Image",
    "points": "sensor_msgs/msg/PointCloud2",
    "segmentation/image": "sensor_msgs/msg/Image",
    "segmentation/confidence": "sensor_msgs/msg/Image",
    "depth/camera_info": "sensor_msgs/msg/CameraInfo",
    "segmentation/camera_info": "sensor_msgs/msg/CameraInfo",
}
IMAGE, CAMERA_INFO = "/bench/image", "/bench/camera_info"
NEAR, FAR = "10.99.2.1", "10.99.2.2"
SLOW = (
    "tc",
    "qdisc",
    "add",
    "dev",
    "near",
    "root",
    "tbf",
    "rate",
    "100mbit",
    "burst",
    "32kbit",
    "latency",
    "400ms",
)


@dataclass
class Case:
    name: str
    reliable: bool
    rate_hz: float = 30
    n_frames: int = 300
    # Of the model input, which decides how large the features are.
    size: str = "384x352"
    topics: dict[str, str] = field(default_factory=lambda: FEATURES)
    # An interface of 1500 bytes is there beside loopback.
    has_ethernet: bool = False
    # The subscriber is behind that interface.
    over_veth: bool = False
    # The interface lets 100 Mbit/s through.
    is_slow: bool = False
    # Processes that do nothing but take CPU time.
    n_burning: int = 0
    # Of three subscribers one that is stopped all along.
    freezes_one: bool = False


@dataclass(frozen=True)
class Options:
    """What is the same in all cases."""

    # Options of the node for depth and segmentation.
    heads: tuple[str, ...]
    # NAME:=VALUE
    params: tuple[str, ...]


def both(name: str, **options) -> list[Case]:
    return [
        Case(f"{name}, {word}", reliable, **options)
        for word, reliable in (("best effort", False), ("reliable", True))
    ]


CASES = [
    *both("loopback"),
    *both("loopback beside Ethernet", has_ethernet=True),
    *both("veth", has_ethernet=True, over_veth=True),
    *both("veth of 100 Mbit/s", has_ethernet=True, over_veth=True, is_slow=True, rate_hz=60),
    *both("loopback, seven topics, 1.9 MB", rate_hz=5, n_frames=100, size="256x256", topics=SEVEN),
    Case("loopback, 0.7 MB, reliable", True, 10, 100, size="480x480"),
    Case("loopback, reliable, both cores burnt", True, 10, 100, n_burning=os.cpu_count() or 1),
    Case("loopback, reliable, one of three frozen", True, 10, 200, freezes_one=True),
]


def ip(*arguments: str, inside: tuple[str, ...] = ()):
    subprocess.run([*inside, "ip", *arguments], check=True)


@contextmanager
def ethernet(case: Case):
    """An interface with the MTU of Ethernet; what to put before a command so that it runs at the other
    end."""
    host = Host()
    try:
        ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(host.pid))
        for device, address, where in (("near", NEAR, ()), ("far", FAR, host.inside)):
            ip("addr", "add", f"{address}/24", "dev", device, inside=where)
            ip("link", "set", device, "up", inside=where)
            if case.over_veth:
                ip("route", "add", "224.0.0.0/4", "dev", device, inside=where)
        if case.is_slow:
            subprocess.run(SLOW, check=True)
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
        "camera_info": CAMERA_INFO,
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


def replaced(diagnostics: Diagnostics) -> int | None:
    """Messages that were never sent, as /diagnostics says now."""
    n_before = len(diagnostics.messages())
    until(lambda: len(diagnostics.messages()) > n_before + 1, "the node's diagnostics")
    said = [values(status) for status in diagnostics.last().values()]
    return next(
        (int(value) for found in said for key, value in found.items() if key.startswith("messages replaced")),
        None,
    )


def run(case: Case, binary: Path, options: Options) -> dict:
    """What was handed to DDS and what came, of each subscriber that was not stopped; milliseconds; the node's
    growth."""
    with ExitStack() as stack:
        inside = stack.enter_context(ethernet(case)) if case.has_ethernet else ()
        inside = inside if case.over_veth else ()
        topics = {f"/bench/pixio_node/{topic}": message for topic, message in case.topics.items()}
        reliability = "reliable" if case.reliable else "best_effort"
        node = Node(
            size=case.size,
            namespace="/bench",
            remaps=(f"image:={IMAGE}",),
            options=("--features-dtype", "float32", *(options.heads if case.topics == SEVEN else ())),
            params=(
                f"output_reliability:={reliability}",
                "points_stride:=1",
                *options.params,
                *((f"network_interface:={NEAR}",) if case.over_veth else ()),
            ),
        )
        node.arguments[0] = str(binary)
        peer = Peer("bench_delivery")
        stack.callback(peer.close)
        diagnostics = Diagnostics(peer, node.name)
        listeners = [
            stack.enter_context(Listener(topics, case.reliable, inside))
            for _ in range(3 if case.freezes_one else 1)
        ]
        stack.enter_context(node)
        for listener in listeners:
            listener.wait_until_matched()
        until(lambda: node.stats(), "the first report")
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
            "replaced": replaced(diagnostics) if binary == BINARY else None,
            "arrived": [len(listener.heard(topic)) for listener in listeners for topic in topics],
            "p50_ms": statistics.median(millis) - statistics.median(ages) if millis and ages else None,
            "grown_mb": (node.memory_bytes() - n_bytes) / 2**20,
        }


def line(name: str, result: dict) -> str:
    p50 = "-" if result["p50_ms"] is None else f"{result['p50_ms']:.1f} ms"
    arrived = ", ".join(map(str, result["arrived"]))
    return (
        f"  {name:4} {arrived:>9} of {result['published']:<5} replaced "
        f"{'-' if result['replaced'] is None else result['replaced']:<5} p50 {p50:>9}   "
        f"memory {result['grown_mb']:+.0f} MB"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delivery", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--against", type=Path, metavar="FILE", help="another pixio_node, called old")
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME:=VALUE", help="a parameter of the node"
    )
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="the cases in whose names this is found"
    )
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    asked = parser.parse_args()
    binaries = {"new": BINARY} | ({"old": asked.against} if asked.against else {})
    results = {}
    with tempfile.TemporaryDirectory(prefix="pixio-heads-") as folder:
        heads = {
            task: str(head_files.write(Path(folder, f"{task}.safetensors"), task))
            for task in head_files.TASKS
        }
        options = Options(
            tuple(text for task, file in heads.items() for text in (f"--{task}-head", file)),
            tuple(asked.param),
        )
        for case in CASES:
            if not re.search(asked.only, case.name):
                continue
            print(f"\n{case.name}, {case.rate_hz:g} Hz", flush=True)
            for name, binary in binaries.items():
                # In a process of its own: Fast DDS goes on sending to interfaces that are gone.
                with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                    result = pool.submit(run, case, binary, options).result()
                results.setdefault(case.name, {})[name] = result
                print(line(name, result), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
