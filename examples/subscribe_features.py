"""Subscribes to the patch features of a running pixio_node and prints what each message holds.

    python3 examples/subscribe_features.py [--topic /pixio_node/features] [--count N]

Needs rclpy, numpy and the message types of this package (docs/install.md). Each line shows the stamp of the
image, the shape of the map of patch tokens, and the cosine of the token in the middle and the one in the
first corner.
"""

import argparse

import numpy as np
import rclpy
from pixio_node.msg import PatchFeatures
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data


def features_from_message(message: PatchFeatures) -> np.ndarray:
    """[grid_height, grid_width, channels], float16 or float32, as the message's dtype says."""
    tokens = np.frombuffer(message.data, dtype=np.dtype(message.dtype).newbyteorder("<"))
    return tokens.reshape(message.grid_height, message.grid_width, message.channels)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    # float16 overflows in a sum of squares.
    a, b = a.astype(np.float32), b.astype(np.float32)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


class FeatureListener(Node):
    """Prints one line per message."""

    def __init__(self, topic: str):
        super().__init__("subscribe_features")
        self.n_received = 0
        # Best effort has the lowest latency; a reliable subscription gets lost parts sent again.
        self.subscription = self.create_subscription(
            PatchFeatures, topic, self.on_features, qos_profile_sensor_data
        )

    def on_features(self, message: PatchFeatures) -> None:
        features = features_from_message(message)
        rows, columns, channels = features.shape
        likeness = cosine(features[rows // 2, columns // 2], features[0, 0])
        stamp = message.header.stamp
        print(
            f"{stamp.sec}.{stamp.nanosec:09}  {rows}x{columns} patches of {channels} {message.dtype}, "
            f"cosine of middle and corner {likeness:.3f}",
            flush=True,
        )
        self.n_received += 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--topic", default="/pixio_node/features", help="(default: /pixio_node/features)")
    parser.add_argument("--count", type=int, help="end after this many messages (default: with Ctrl-C)")
    options = parser.parse_args()
    rclpy.init()
    try:
        node = FeatureListener(options.topic)
        while rclpy.ok() and (options.count is None or node.n_received < options.count):
            rclpy.spin_once(node, timeout_sec=0.1)
    except KeyboardInterrupt:
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
