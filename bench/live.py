"""The live page in Chromium: frames a second, the way from capture to drawing, bytes, and what a page costs a
node. `scripts/bench --live` starts it.

Rates: `pixio_node live` with models/pixio-tiny and both heads; the browser's camera plays the walk at 10, 30
and 60 images a second, all panels are shown. The model's saturation is what the node publishes of the fastest
camera. Cost: a node with a ROS camera at 10 Hz and subscribers to features, depth and labels; its CPU time a
frame without a page, with one that shows every panel, and without again.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import messages  # noqa: F401  (pixio_node.msg)
import numpy as np
from cameras import Camera, Cameras
from live_browser import BROWSER_OPTIONS, Sight, browser_path, sight, y4m
from live_page import TINY, Address, Live, free_port
from node_process import ROOT, Node
from peer import Peer
from PIL import Image as Pillow
from pixio_node.msg import PatchFeatures
from playwright.sync_api import sync_playwright
from sensor_msgs.msg import Image

from bench.nodes import thread_cpu_secs

WALK = sorted((ROOT / "data" / "room-walk" / "rgb").glob("*.jpg"))
SOURCES_HZ = (10, 30, 60)


def launch(playwright, *options: str):
    return playwright.chromium.launch(executable_path=browser_path(), args=[*BROWSER_OPTIONS, *options])


class Traffic:
    """Bytes and number of the frames that a page gets."""

    def __init__(self, seen: Sight):
        self.n_frames = self.n_bytes = 0
        seen.page.on("websocket", lambda socket: socket.on("framereceived", self._count))

    def _count(self, payload: str | bytes):
        if isinstance(payload, bytes):
            self.n_frames += 1
            self.n_bytes += len(payload)


def from_camera(playwright, video: Path, source_hz: int, seconds: float) -> dict:
    """Figures of one source, by the page's own bar and the node's status."""
    options = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    )
    browser = launch(playwright, *options)
    try:
        with Live() as live, sight(browser, None) as seen:
            traffic = Traffic(seen)
            seen.page.goto(live.address.url)
            seen.wait_for_panels()
            seen.page.click("#use-camera")
            seen.wait(lambda: seen.number("#latency") > 0, "images of the camera")
            seen.page.wait_for_timeout(3000)
            n_frames, n_bytes, rows = traffic.n_frames, traffic.n_bytes, []
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                seen.page.wait_for_timeout(1000)
                figures = {"shown": "#shown-rate", "out": "#rate-out", "latency_ms": "#latency"}
                row = {name: seen.number(selector) for name, selector in figures.items()}
                row["forward_ms"] = seen.number("#stages tr:nth-child(3) td:nth-child(2)")
                rows.append(row)
            seen.check_manners()
    finally:
        browser.close()
    median = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    n_frames = traffic.n_frames - n_frames
    return median | {
        "source_hz": source_hz,
        "kb_a_frame": (traffic.n_bytes - n_bytes) / max(n_frames, 1) / 1e3,
    }


def cost(playwright, seconds: float) -> dict:
    """CPU milliseconds a frame of a node, without a page and with one, all threads and those of the page."""
    peer = Peer("bench_live")
    photograph = np.asarray(Pillow.open(WALK[0]).convert("RGB"))
    heads = [f"--{task}-head={TINY / task}.safetensors" for task in ("depth", "segmentation")]
    options = (*heads, "--live-port", str(free_port()))
    found: dict[str, list[float]] = {"closed": [], "open": [], "page": []}
    browser = launch(playwright)
    try:
        with Node(model=TINY, namespace="/bench", options=options) as node:
            address = Address(node.wait_for_line(r"live page: ").split()[-1])
            inboxes = [
                peer.inbox(kind, f"{node.name}/{topic}")
                for topic, kind in (
                    ("features", PatchFeatures),
                    ("depth/image", Image),
                    ("segmentation/image", Image),
                )
            ]

            def measure() -> tuple[float, float]:
                before, n_before = thread_cpu_secs(node.pid), node.report()["counts"]["published"]
                time.sleep(seconds)
                after, n_after = thread_cpu_secs(node.pid), node.report()["counts"]["published"]

                def millis(is_counted) -> float:
                    spent = sum(
                        secs - before.get(thread, (name, 0.0))[1]
                        for thread, (name, secs) in after.items()
                        if is_counted(name)
                    )
                    return 1e3 * spent / max(n_after - n_before, 1)

                return millis(lambda name: True), millis(lambda name: name == "live")

            with Cameras(peer, [Camera("/camera/image_raw", photograph, 10.0)]):
                while not all(len(inbox) for inbox in inboxes):
                    time.sleep(0.1)
                found["closed"].append(measure()[0])
                with sight(browser, address.url) as seen:
                    seen.wait_for_panels()
                    total, page = measure()
                    found["open"].append(total)
                    found["page"].append(page)
                found["closed"].append(measure()[0])
    finally:
        browser.close()
        peer.close()
    return {name: statistics.mean(values) for name, values in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--live", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=20, help="length of each stretch (default 20)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    walk = [np.asarray(Pillow.open(file).convert("RGB")) for file in WALK]
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        rows = []
        for source_hz in SOURCES_HZ:
            video = y4m(Path(folder) / f"{source_hz}.y4m", walk, source_hz)
            rows.append(from_camera(playwright, video, source_hz, options.seconds))
        costs = cost(playwright, options.seconds)
    saturation = max(row["out"] for row in rows)
    print(
        f"pixio-tiny with both heads, all panels; the node at saturation {saturation:.1f} frames a second\n"
    )
    print("source Hz   shown Hz   shown / possible   capture to drawn less forward, p50 ms   kB a frame")
    for row in rows:
        possible = min(row["source_hz"], saturation)
        print(
            f"{row['source_hz']:9}{row['shown']:11.1f}{row['shown'] / possible:19.2f}"
            f"{row['latency_ms'] - row['forward_ms']:40.1f}{row['kb_a_frame']:13.0f}"
        )
    print(
        f"\nCPU ms a frame of a node: {costs['open']:.1f} with a page / {costs['closed']:.1f} without = "
        f"{costs['open'] / costs['closed']:.2f}; the page's thread {costs['page']:.1f}"
    )
    if options.json:
        options.json.write_text(json.dumps({"rates": rows, "cost": costs}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
