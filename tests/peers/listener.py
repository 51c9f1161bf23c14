"""A subscriber in a process of its own, which can be frozen: says each message's stamp, and when it came, on
a line."""

import re
import signal
import subprocess
import sys
from pathlib import Path

from node_process import Output
from waiting import PATIENCE_SECS, until

LINE = re.compile(r"^(\d+) (\d+) (\d+)$")


class Listener:
    """Subscribes to one topic with default settings; a context manager."""

    def __init__(self, topic: str, message: str, reliable: bool, before: tuple[str, ...] = ()):
        """`before` comes before the command, such as that of another network namespace."""
        self._arguments = [
            *before,
            sys.executable,
            str(Path(__file__).resolve()),
            topic,
            message,
            "reliable" if reliable else "best_effort",
        ]

    def __enter__(self) -> "Listener":
        self.process = subprocess.Popen(self._arguments, stdout=subprocess.PIPE, text=True)
        self._output = Output(self.process.stdout)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE_SECS)
        self._output.drain()

    def heard(self) -> list[tuple[int, int, int]]:
        """Of each message its stamp and when it came, in nanoseconds since the epoch, and its bytes of
        data."""
        found = (LINE.match(line) for line in list(self._output.lines))
        return [tuple(map(int, match.groups())) for match in found if match]

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

    topic, message, reliability = sys.argv[1:]
    package, _, name = message.split("/")
    message_type = getattr(importlib.import_module(f"{package}.msg"), name)
    rclpy.init()
    node = rclpy.create_node("listener_" + str(time.time_ns()))

    def say(message):
        print(nanos(message.header.stamp), time.time_ns(), len(message.data), flush=True)

    subscription = node.create_subscription(message_type, topic, say, qos(reliability == "reliable"))

    def look():
        if subscription.get_publisher_count():
            print("matched", flush=True)
            looking.cancel()

    looking = node.create_timer(0.05, look)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
