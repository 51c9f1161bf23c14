"""The two ends of the comparison, each in a process of its own that takes orders (orders.py).

`camera` publishes prepared images at a rate; `receiver` collects answers between `listen` and `finish`.
Every order is answered with one line; both end when their input does.
"""

import itertools
import sys
import time

import cameras
import images
import messages  # noqa: F401  (pixio_node.msg)
import orders
from peer import Peer, nanos, qos
from pixio_node.msg import PatchFeatures
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from waiting import until


class Camera:
    def __init__(self):
        self._peer = Peer("bench_camera")

    def shoot(
        self,
        topic: str,
        transport: str,
        size: list[int],
        rate: float,
        seconds: float,
        camera_info: str | None = None,
    ) -> dict:
        """Publishes at a fixed rate; a tick that could not be kept is left out rather than caught up.
        `camera_info` is the topic of the calibration, which then comes before each image."""
        compressed = transport == "compressed"
        kind, topic = (CompressedImage, f"{topic}/compressed") if compressed else (Image, topic)
        publisher = self._peer.publisher(kind, topic)
        calibrations = self._peer.publisher(CameraInfo, camera_info) if camera_info else None
        stamp = self._peer.stamp()
        photographs = [images.photograph(name, *size) for name in images.NAMES]
        prepared = [
            images.compressed(images.file_bytes(rgb), stamp) if compressed else images.image(rgb, stamp)
            for rgb in photographs
        ]
        until(lambda: publisher.get_subscription_count() > 0, f"a subscription to {topic}")
        time.sleep(0.3)
        n_sent, start = 0, time.monotonic()
        while (now := time.monotonic()) < start + seconds:
            message = prepared[n_sent % len(prepared)]
            message.header.stamp = self._peer.stamp()
            if calibrations:
                calibrations.publish(images.calibration(*size, message.header.stamp))
            publisher.publish(message)
            n_sent += 1
            ticks = int((now - start) * rate) + 1
            time.sleep(max(0.0, start + ticks / rate - time.monotonic()))
        # Destroyed at once, the publisher would take what it has just sent with it.
        time.sleep(0.5)
        self._peer.node.destroy_publisher(publisher)
        return {"sent": n_sent}

    def shoot_all(self, topics: list[str], size: list[int], rate: float, seconds: float) -> dict:
        """Publishes on several topics at once, each at the rate, out of step."""
        photographs = itertools.cycle(images.photograph(name, *size) for name in images.NAMES)
        sent = [cameras.Camera(topic, image, rate) for topic, image in zip(topics, photographs)]
        feed = cameras.Cameras(self._peer, sent)
        until(
            lambda: all(publisher.get_subscription_count() for publisher in feed.publishers),
            f"subscriptions to {topics}",
        )
        time.sleep(0.3)
        with feed:
            time.sleep(seconds)
            feed.silence()
            # What is still on its way.
            time.sleep(0.5)
        return {"sent": sum(len(camera.stamps) for camera in sent)}


class Receiver:
    def __init__(self):
        self._peer = Peer("bench_receiver")

    def listen(self, topic: str) -> dict:
        self._arrived = []
        self._subscription = self._peer.node.create_subscription(
            PatchFeatures, topic, self._receive, qos(depth=10)
        )
        until(lambda: self._subscription.get_publisher_count() > 0, f"a publisher of {topic}")
        time.sleep(0.3)
        return {}

    def _receive(self, message):
        self._arrived.append((nanos(message.header.stamp), time.time_ns()))

    def listen_all(self, topics: list[str]) -> dict:
        self._arrived = []
        self._subscriptions = [
            self._peer.node.create_subscription(PatchFeatures, topic, self._receive, qos(depth=10))
            for topic in topics
        ]
        until(
            lambda: all(subscription.get_publisher_count() for subscription in self._subscriptions),
            f"publishers of {topics}",
        )
        return {}

    def forget(self) -> dict:
        self._arrived.clear()
        return {}

    def finish_all(self) -> dict:
        for subscription in self._subscriptions:
            self._peer.node.destroy_subscription(subscription)
        return self._latencies()

    def finish(self) -> dict:
        self._peer.node.destroy_subscription(self._subscription)
        return self._latencies()

    def _latencies(self) -> dict:
        return {
            "millis": [(at - stamp) / 1e6 for stamp, at in self._arrived],
            "at": [at for _, at in self._arrived],
        }


def main():
    orders.serve({"camera": Camera, "receiver": Receiver}[sys.argv[1]]())


if __name__ == "__main__":
    main()
