"""Pairs the patch features of a running pixio_node with its depth by exact stamp, and prints metres per
patch.

    python3 examples/pair_features_with_depth.py [--node /pixio_node] [--count N]

Both topics carry the unchanged header of the camera's image, so equal stamps mean the same image. Needs
rclpy, numpy and the message types of this package, and a node with a depth head (docs/heads.md).
"""

import argparse
from collections import OrderedDict
from functools import partial

import numpy as np
import rclpy
from pixio_node.msg import PatchFeatures
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

# Messages that wait for their partner: one of a pair may be lost.
MOST_WAITING = 10


class ExactPairs:
    """Finds the two messages of each stamp, whichever comes first."""

    def __init__(self):
        self.waiting: OrderedDict[tuple[int, int], dict[str, object]] = OrderedDict()

    def add(self, kind: str, message) -> dict[str, object] | None:
        """Both messages of this stamp by kind, once the second is there."""
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        pair = self.waiting.setdefault(stamp, {})
        pair[kind] = message
        if len(pair) == 2:
            return self.waiting.pop(stamp)
        while len(self.waiting) > MOST_WAITING:
            self.waiting.popitem(last=False)
        return None


def meters_per_patch(features: PatchFeatures, depth: Image) -> np.ndarray:
    """[grid_height, grid_width] metres: the mean of each patch's pixels with known depth; NaN where there is
    none.

    The depth image (32FC1) has the size of the model input, so a patch is a block of it. Its pixels are NaN
    outside the camera's image and infinite beyond the range that the node was given.
    """
    rows, columns = features.grid_height, features.grid_width
    side = depth.height // rows
    pixels = np.frombuffer(depth.data, "<f4").reshape(rows, side, columns, side)
    is_known = np.isfinite(pixels)
    n_known = is_known.sum(axis=(1, 3))
    total = np.where(is_known, pixels, 0).sum(axis=(1, 3))
    return np.where(n_known > 0, total / np.maximum(n_known, 1), np.nan)


class PairListener(Node):
    """Prints one line per pair."""

    def __init__(self, name: str):
        super().__init__("pair_features_with_depth")
        self.pairs = ExactPairs()
        self.n_paired = 0
        self.subscriptions_ = [
            self.create_subscription(
                kind, f"{name}/{topic}", partial(self.on_message, topic), qos_profile_sensor_data
            )
            for topic, kind in (("features", PatchFeatures), ("depth/image", Image))
        ]

    def on_message(self, topic: str, message) -> None:
        pair = self.pairs.add(topic, message)
        if pair is None:
            return
        meters = meters_per_patch(pair["features"], pair["depth/image"])
        rows, columns = meters.shape
        known = meters[np.isfinite(meters)]
        nearest, median = (known.min(), np.median(known)) if known.size else (np.nan, np.nan)
        stamp = message.header.stamp
        print(
            f"{stamp.sec}.{stamp.nanosec:09}  {rows}x{columns} patches: middle "
            f"{meters[rows // 2, columns // 2]:.2f} m, "
            f"nearest {nearest:.2f} m, median {median:.2f} m",
            flush=True,
        )
        self.n_paired += 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--node", default="/pixio_node", help="name of the node (default: /pixio_node)")
    parser.add_argument("--count", type=int, help="end after this many pairs (default: with Ctrl-C)")
    options = parser.parse_args()
    rclpy.init()
    try:
        node = PairListener(options.node)
        while rclpy.ok() and (options.count is None or node.n_paired < options.count):
            rclpy.spin_once(node, timeout_sec=0.1)
    except KeyboardInterrupt:
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
