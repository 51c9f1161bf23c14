"""Four cameras into one node, against four nodes with a camera each, in turn on this machine. Start it by
scripts/bench.

Both get the same images at the same rate from an rclpy publisher in a process of its own, and somebody
listens to the features of every camera. Memory is the proportional set size (what several processes share is
split among them) and the resident one at the end of a stretch; CPU time is that of the nodes' processes
alone. The ratio is one node / four nodes.
"""

import argparse
import json
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from node_process import Node

from .compare import End, environment
from .nodes import cpu_by_name

NAMES = ("front", "left", "right", "rear")
SIZE = (640, 480)
FIGURES = {
    "frames published": 0,
    "frames per CPU second": 1,
    "memory MB (PSS)": 0,
    "memory MB (RSS)": 0,
    "age p50 ms": 1,
    "age p99 ms": 1,
}


def one_node(model: str) -> list[Node]:
    remaps = [f"{name}/image:=/bench/{name}/image" for name in NAMES]
    return [
        Node(
            model=model,
            namespace="/bench",
            remaps=remaps,
            params=(f"cameras:=[{', '.join(NAMES)}]",),
            env=environment(),
        )
    ]


def four_nodes(model: str) -> list[Node]:
    return [
        Node(
            model=model,
            namespace=f"/bench/{name}",
            remaps=(f"image:=/bench/{name}/image",),
            env=environment(),
        )
        for name in NAMES
    ]


def features(nodes: list[Node]) -> list[str]:
    if len(nodes) == 1:
        return [f"{nodes[0].name}/{name}/features" for name in NAMES]
    return [f"{node.name}/features" for node in nodes]


def memory_mb(pid: int, key: str) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024 / 1e6


def cpu_secs(nodes: list[Node]) -> float:
    return sum(sum(cpu_by_name(node.pid).values()) for node in nodes)


def published(nodes: list[Node]) -> int:
    return sum(camera["counts"]["published"] for node in nodes for camera in node.stats()[-1]["cameras"])


def measure(start, model: str, rate: float, seconds: float, ends: tuple[End, End]) -> dict[str, float]:
    camera, receiver = ends
    with ExitStack() as stack:
        nodes = start(model)
        for node in nodes:
            node.start()
            stack.callback(node.__exit__)
        receiver("listen_all", topics=features(nodes))
        order = {"topics": [f"/bench/{name}/image" for name in NAMES], "size": SIZE, "rate": rate}
        # What comes first pays for set-up.
        camera("shoot_all", seconds=2.0, **order)
        time.sleep(0.5)
        n_before, cpu_before = published(nodes), cpu_secs(nodes)
        receiver("forget")
        camera("shoot_all", seconds=seconds, **order)
        time.sleep(0.5)
        n_frames, cpu = published(nodes) - n_before, cpu_secs(nodes) - cpu_before
        memory = {key: sum(memory_mb(node.pid, key) for node in nodes) for key in ("Pss", "Rss")}
        millis = receiver("finish_all")["millis"]
        for node in nodes:
            node.stop()
    cuts = statistics.quantiles(millis, n=100) if len(millis) > 1 else [float("nan")] * 99
    return dict(zip(FIGURES, (n_frames, n_frames / cpu, memory["Pss"], memory["Rss"], cuts[49], cuts[98])))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="random:tiny", help="model of every node (default random:tiny)")
    parser.add_argument(
        "--rate",
        type=float,
        default=30.0,
        help="images per second and camera, more than the model takes (default 30)",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a stretch (default 10)")
    parser.add_argument("--rounds", type=int, default=2, help="times that each has its turn (default 2)")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    rows = []
    with End("camera") as camera, End("receiver") as receiver:
        for turn in range(options.rounds):
            for label, start in (("one node", one_node), ("four nodes", four_nodes)):
                print(
                    f"four cameras, {label}, round {turn + 1} of {options.rounds}",
                    file=sys.stderr,
                    flush=True,
                )
                rows.append(
                    {"label": label}
                    | measure(start, options.model, options.rate, options.seconds, (camera, receiver))
                )
    print(
        f"\nfour cameras of {SIZE[0]}x{SIZE[1]} at {options.rate:g} Hz, {options.model}: one node / "
        "four nodes = ratio"
    )
    for figure, decimals in FIGURES.items():
        one, four = (
            statistics.median(row[figure] for row in rows if row["label"] == label)
            for label in ("one node", "four nodes")
        )
        print(f"  {figure:22}  {one:.{decimals}f} / {four:.{decimals}f} = {one / four:.2f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
