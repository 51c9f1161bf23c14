"""Subscribers in a process of their own, which can be frozen.

The process prints a line for each message: the topic's number, the stamp, the time of arrival and the bytes
of data.
"""

import re
import signal
import subprocess
import sys
from pathlib import Path

from node_process import Output
from waiting import PATIENCE_SECS, until

LINE = re.compile(r"^(\d+) (\d+) (\d+) (\d+)$")


class Listener:
    """Subscribes with default settings; a context manager."""

    def __init__(self, topics: dict[str, str], reliable: bool, before: tuple[str, ...] = ()):
        """`topics` maps names to types. `before` comes before the command, such as that of another network
        namespace."""
        self.topics = list(topics)
        named = [f"{topic}:{message}" for topic, message in topics.items()]
        reliability = "reliable" if reliable else "best_effort"
        self._arguments = [*before, sys.executable, str(Path(__file__).resolve()), reliability, *named]

    def __enter__(self) -> "Listener":
        self.process = subprocess.Popen(self._arguments, stdout=subprocess.PIPE, text=True)
        self._output = Output(self.process.stdout)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE_SECS)
        self._output.drain()

    def heard(self, topic: str | None = None) -> list[tuple[int, int, int]]:
        """Of each message of a topic, the first by default, its stamp and its arrival, in nanoseconds since
        the epoch, and its bytes of data."""
        number = self.topics.index(topic) if topic else 0
        lines = (LINE.match(line) for line in list(self._output.lines))
        heard = [tuple(map(int, match.groups())) for match in lines if match]
        return [message[1:] for message in heard if message[0] == number]

    def stamps(self) -> list[int]:
        return [stamp for stamp, _, _ in self.heard()]

    def wait_until_matched(self):
        until(
            lambda: "matched" in self._output.lines or self.process.poll() is not None,
            "a publisher for the listener",
        )
        assert self.process.poll() is None, "the listener has ended"

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


def main():
    """Listens until it is killed."""
    import importlib
    import time

    import messages  # noqa: F401  (pixio_node.msg)
    import rclpy
    from peer import nanos, qos

    reliability, *named = sys.argv[1:]
    rclpy.init()
    node = rclpy.create_node("listener_" + str(time.time_ns()))

    def subscribe(number: int, topic: str, message: str):
        package, _, name = message.split("/")

        def say(message):
            n_bytes = len(message.data) if hasattr(message, "data") else 0
            print(number, nanos(message.header.stamp), time.time_ns(), n_bytes, flush=True)

        message_type = getattr(importlib.import_module(f"{package}.msg"), name)
        return node.create_subscription(message_type, topic, say, qos(reliability == "reliable"))

    subscriptions = [subscribe(number, *topic.split(":")) for number, topic in enumerate(named)]

    def look():
        if all(subscription.get_publisher_count() for subscription in subscriptions):
            print("matched", flush=True)
            looking.cancel()

    looking = node.create_timer(0.05, look)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
