"""Compares pixio_node with a Python node (rclpy, Hugging Face) in one run on this machine. Start it by scripts/bench.

Both nodes get the same pictures at the same rate from an rclpy publisher in a process of its own, one after the other and
then again (A B A B), with the same number of OpenMP threads, passive waiting and the same Fast DDS profile. `saturated` is a
rate above what either takes; `calm` is 10 Hz, or half of what the model takes if that is less.

CPU time comes from /proc/PID/task/*/schedstat. Inside the forward pass: for pixio_node its thread `model` and the OpenMP
threads that it started, less the span `heads`; for the Python node what its worker thread spent in the model's call and all
that its OpenMP threads spent. Outside is everything else of the process. The ratio is pixio_node / Python throughout.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from bench_nodes import HERE, Baseline, Ours, peak_bytes

SIZES = {"640x480": (640, 480), "1280x720": (1280, 720)}
MODELS = {"tiny": "tiny", "ViT-B": "vitb16"}
TRANSPORTS = {"raw": "raw", "JPEG": "compressed"}
# Frames per second that neither node takes on a few cores.
SATURATING = {"tiny": 150, "ViT-B": 30}
PROFILE = HERE.parents[1] / "config" / "fastdds.xml"


def environment() -> dict[str, str]:
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    return {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0",
            "FASTRTPS_DEFAULT_PROFILES_FILE": str(PROFILE)}


class Receiver:
    """A subscriber to features in a process of its own."""

    def __init__(self, topic: str, seconds: float, profile: bool = True):
        env = os.environ | environment()
        if not profile:
            del env["FASTRTPS_DEFAULT_PROFILES_FILE"]
        self._process = subprocess.Popen([sys.executable, HERE / "bench_peer.py", "receive", "--topic", topic, "--seconds", str(seconds)],
                                         env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._process.stdout.readline()

    def finish(self) -> dict[str, np.ndarray]:
        said, _ = self._process.communicate("enough\n", timeout=60)
        return {key: np.array(values) for key, values in json.loads(said.splitlines()[-1]).items()}


def shoot(topic: str, transport: str, size: tuple[int, int], rate: float, seconds: float) -> dict:
    """Runs the camera to its end."""
    done = subprocess.run([sys.executable, HERE / "bench_peer.py", "camera", "--topic", topic, "--transport", transport,
                           "--width", str(size[0]), "--height", str(size[1]), "--rate", str(rate), "--seconds", str(seconds)],
                          env=os.environ | environment(), capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise RuntimeError(f"the camera failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(node, transport: str, size, rate: float, seconds: float) -> dict:
    """One stretch of pictures at one rate."""
    receiver = Receiver(node.features, seconds + 60)
    time.sleep(0.5)
    before = node.reading()
    sent = shoot(node.image, transport, size, rate, seconds)
    time.sleep(0.8)
    spent = node.reading().since(before)
    got = receiver.finish()
    frames = max(len(got["at"]), 1)
    elapsed = (got["at"][-1] - got["at"][0]) / 1e9 if len(got["at"]) > 1 else float("nan")
    published = max(spent.published, 1)
    return {
        "sent": sent["sent"], "received_by_node": spent.received, "published": spent.published, "arrived": len(got["at"]),
        "fps": (frames - 1) / elapsed, "millis": got["millis"].tolist(),
        "inside_cpu_millis": spent.forward_cpu_secs / published * 1e3,
        "outside_cpu_millis": (spent.cpu_secs - spent.forward_cpu_secs) / published * 1e3,
        "forward_millis": node.forward_millis(), "peak_mb": peak_bytes(node.pid) / 1e6,
    }


def compare(model: str, transport: str, sizes, rounds: int, seconds: float, tell) -> list[dict]:
    """Both nodes, alive together and fed in turn."""
    nodes = [kind(MODELS[model], TRANSPORTS[transport], environment()) for kind in (Ours, Baseline)]
    rows = []
    try:
        for node in nodes:
            node.start()
        for node in nodes:
            measure(node, TRANSPORTS[transport], SIZES["640x480"], 10, 1.0)
        slowest = max(node.forward_millis() for node in nodes)
        calm = min(10.0, 500 / slowest) if slowest == slowest else 10.0
        for size, turn in itertools.product(sizes, range(rounds)):
            for node in nodes:
                for load, rate in (("calm", calm), ("saturated", SATURATING[model])):
                    tell(f"{model} {size} {transport}: {node.label}, {load} {rate:.1f} Hz, round {turn + 1} of {rounds}")
                    row = measure(node, TRANSPORTS[transport], SIZES[size], rate, seconds)
                    rows.append({"model": model, "size": size, "transport": transport, "node": node.label, "load": load,
                                 "rate": rate, "round": turn} | row)
    finally:
        for node in nodes:
            node.stop()
    return rows


def without_profile(seconds: float, tell) -> dict:
    """ViT-B's features, 393 KB a frame, at two receivers at once: one has config/fastdds.xml, the other Fast DDS's defaults."""
    tell("ViT-B features at a receiver with and one without config/fastdds.xml")
    node = Ours("vitb16", "raw", environment())
    try:
        node.start()
        receivers = {"with": Receiver(node.features, seconds + 60), "without": Receiver(node.features, seconds + 60, profile=False)}
        time.sleep(0.5)
        before = node.reading()
        shoot(node.image, "raw", SIZES["640x480"], 30, seconds)
        time.sleep(0.8)
        published = node.reading().since(before).published
        return {"published": published} | {name: len(receiver.finish()["at"]) for name, receiver in receivers.items()}
    finally:
        node.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny model, 1280x720 alone, one round: about a minute")
    parser.add_argument("--rounds", type=int, default=2, help="times that each node has its turn (default 2)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one stretch of pictures (default 3)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    started = time.monotonic()

    def tell(text: str):
        print(f"[{time.monotonic() - started:4.0f} s] {text}", file=sys.stderr, flush=True)

    import bench_table
    models, sizes, transports, rounds = options.models, list(SIZES), list(TRANSPORTS), options.rounds
    if options.quick:
        models, sizes, transports, rounds = ["tiny"], ["1280x720"], ["raw", "JPEG"], 1
    rows = []
    for model, transport in itertools.product(models, transports):
        rows += compare(model, transport, sizes, rounds, options.seconds, tell)
    profile = None if options.quick else without_profile(8.0, tell)
    print(bench_table.table(rows, profile))
    if options.json:
        summary = bench_table.summary(rows)
        options.json.write_text(json.dumps({"rows": rows, "summary": summary, "receiver_profile": profile}, indent=1))


if __name__ == "__main__":
    main()
