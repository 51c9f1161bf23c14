"""The two ends of the comparison, each in a process of its own: `camera` publishes prepared pictures, `receive` times answers.

Both print one JSON object and end by themselves. `receive` also ends when a line comes in on its standard input.
"""

import argparse
import json
import select
import sys
import time

import messages  # noqa: F401  (pixio_node.msg)
import pictures
import rclpy
from peer import Peer, nanos, qos
from pixio_node.msg import PatchFeatures
from sensor_msgs.msg import CompressedImage, Image


def camera(options):
    """Publishes at a fixed rate; a tick that could not be kept is left out rather than caught up."""
    rclpy.init()
    node = rclpy.create_node("bench_camera")
    compressed = options.transport == "compressed"
    kind, topic = (CompressedImage, f"{options.topic}/compressed") if compressed else (Image, options.topic)
    publisher = node.create_publisher(kind, topic, qos(depth=1))
    photographs = [pictures.photograph(name, options.width, options.height) for name in pictures.NAMES]
    stamp = node.get_clock().now().to_msg()
    prepared = [pictures.compressed(pictures.file_bytes(rgb), stamp) if compressed else pictures.image(rgb, stamp)
                for rgb in photographs]
    deadline = time.monotonic() + 10
    while publisher.get_subscription_count() == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    n_sent, start = 0, time.monotonic()
    while (now := time.monotonic()) < start + options.seconds:
        message = prepared[n_sent % len(prepared)]
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        n_sent += 1
        ticks = int((now - start) * options.rate) + 1
        time.sleep(max(0.0, start + ticks / options.rate - time.monotonic()))
    print(json.dumps({"sent": n_sent, "seconds": time.monotonic() - start, "matched": publisher.get_subscription_count()}))
    node.destroy_node()
    rclpy.shutdown()


def receive(options):
    """Collects answers, with the time from each stamp to our callback."""
    peer = Peer("bench_receiver")
    arrived = []
    peer.node.create_subscription(PatchFeatures, options.topic,
                                  lambda message: arrived.append((nanos(message.header.stamp), time.time_ns())), qos(depth=10))
    print("listening", flush=True)
    select.select([sys.stdin], [], [], options.seconds)
    peer.close()
    print(json.dumps({"stamps": [stamp for stamp, _ in arrived], "millis": [(at - stamp) / 1e6 for stamp, at in arrived],
                      "at": [at for _, at in arrived]}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    ends = parser.add_subparsers(required=True)
    sender = ends.add_parser("camera")
    sender.set_defaults(run=camera)
    sender.add_argument("--transport", choices=["raw", "compressed"], default="raw")
    sender.add_argument("--width", type=int, default=640)
    sender.add_argument("--height", type=int, default=480)
    sender.add_argument("--rate", type=float, default=10)
    receiver = ends.add_parser("receive")
    receiver.set_defaults(run=receive)
    for end in (sender, receiver):
        end.add_argument("--topic", required=True)
        end.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
