"""An ordinary ROS 2 peer in rclpy: cameras to publish with, inboxes to wait on, the graph to look at."""

import contextlib
import threading
import time

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import try_shutdown
from waiting import PATIENCE_SECS, repeat, until


def qos(reliable: bool = False, depth: int = 10) -> QoSProfile:
    """Volatile, newest `depth` messages."""
    reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=DurabilityPolicy.VOLATILE,
    )


def latched(depth: int = 1) -> QoSProfile:
    """Reliable, and late subscribers get the newest messages too."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def nanos(stamp) -> int:
    """A builtin_interfaces/Time as a number, to compare and to look up."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


class Inbox:
    """Messages of one topic in the order in which they came, with the time of each."""

    def __init__(self, topic: str, subscription_of):
        self.topic = topic
        self.messages: list = []
        self.received_nanos: list[int] = []
        self._by_stamp: dict = {}
        self._lock = threading.Lock()
        self.subscription = subscription_of(self._receive)

    def _receive(self, message):
        with self._lock:
            self.messages.append(message)
            self.received_nanos.append(time.time_ns())
            if hasattr(message, "header"):
                self._by_stamp[nanos(message.header.stamp)] = message

    def __len__(self) -> int:
        return len(self.messages)

    def find(self, stamp):
        """The message with this stamp, or None when it has not come (yet)."""
        return self._by_stamp.get(nanos(stamp))

    def clear(self):
        with self._lock:
            for of in (self.messages, self.received_nanos, self._by_stamp):
                of.clear()

    def matched(self) -> bool:
        return self.subscription.get_publisher_count() > 0


class Peer:
    """A ROS 2 node whose callbacks run on a thread of its own."""

    def __init__(self, name: str = "peer"):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node(name, context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self):
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def close(self):
        try_shutdown(context=self.context)
        self._thread.join(PATIENCE_SECS)
        self._executor.shutdown(PATIENCE_SECS)
        self.node.destroy_node()

    def publisher(self, message_type, topic: str, reliable: bool = True, depth: int = 1):
        return self.node.create_publisher(message_type, topic, qos(reliable, depth))

    def inbox(self, message_type, topic: str, reliable: bool = False, depth: int = 10) -> Inbox:
        def subscription_of(callback):
            return self.node.create_subscription(message_type, topic, callback, qos(reliable, depth))

        return Inbox(topic, subscription_of)

    def drop(self, inbox: Inbox):
        self.node.destroy_subscription(inbox.subscription)

    def node_names(self) -> set[str]:
        """Fully qualified names of the nodes in the graph."""
        return {
            f"{namespace.rstrip('/')}/{name}" for name, namespace in self.node.get_node_names_and_namespaces()
        }

    def meet(self, is_ready):
        """Waits for the services of a client. A call right after the match may get lost, and then costs `ask`
        a repetition."""
        until(is_ready, "the services")
        time.sleep(0.3)

    def ask(self, call, *arguments):
        """The answer to a service call, which is repeated until one is answered."""
        futures = []
        answered = repeat(
            lambda: futures.append(call(*arguments)),
            lambda: next((one for one in futures if one.done()), None),
            "an answer of the service",
            every_secs=3,
        )
        return answered.result()

    def stamp(self):
        return self.node.get_clock().now().to_msg()
