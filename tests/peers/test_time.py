"""Time: this machine's, a bag's on /clock at other rates, stamps from the future and stamps that jump
back."""

import time

import images
import pytest
from builtin_interfaces.msg import Time
from cameras import OK, WARN, Diagnostics, values
from diagnostic_msgs.msg import DiagnosticStatus
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64
from waiting import repeat, until

PHOTOGRAPH = images.photograph("coffee", 320, 240)


# No image takes that long.
AHEAD_SECS = 10_000


def stamp(secs: float) -> Time:
    return Time(sec=int(secs), nanosec=int(secs % 1 * 1e9))


def send(node, secs: float):
    """Sends one image stamped `secs` until the node answers under that stamp."""
    message = images.image(PHOTOGRAPH, stamp(secs))
    repeat(
        lambda: node.camera.publish(message),
        lambda: node.inboxes["features"].find(message.header.stamp),
        f"an answer to an image of {secs}",
        log=node.node.tail,
    )


class Bag:
    """Tells the time on /clock as it is moved on."""

    def __init__(self, peer):
        self._peer = peer
        self._publisher = peer.publisher(Clock, "/clock")
        self.now_secs = 1000.0

    def wait(self):
        until(self._publisher.get_subscription_count, "the node's subscription to /clock")

    def tell(self, now_secs: float):
        self.now_secs = now_secs
        self._publisher.publish(Clock(clock=stamp(now_secs)))
        time.sleep(0.05)

    def close(self):
        self._peer.node.destroy_publisher(self._publisher)


def test_ages_follow_the_clock_of_a_bag(rig, peer):
    node = rig(namespace="/replayed", params=("use_sim_time:=true",))
    bag, diagnostics = Bag(peer), Diagnostics(peer, node.node.name)
    latencies = peer.inbox(Float64, f"{node.node.name}/pipeline_latency_ms", depth=100)
    bag.wait()
    until(
        lambda: diagnostics.says("transport", WARN, "nothing has arrived on /clock", "--clock"),
        "a clock that stands still",
    )
    until(latencies.matched, "the publisher of latencies")

    # Faster than it was recorded, each image a quarter of a second behind the clock.
    def play(level: int, *texts: str, what: str = "camera"):
        bag.tell(bag.now_secs + 0.3)
        send(node, bag.now_secs - 0.25)
        return diagnostics.said(what, level, *texts)

    def n_as_recorded() -> int:
        """Frames that came after their time on the clock, as in a bag; for one that came before it was still
        ahead of it."""
        found = [message.data for message in list(latencies.messages)]
        assert all(data == 0 or data == pytest.approx(250, abs=1) for data in found[1:]), found
        return sum(data > 0 for data in found)

    def is_well():
        status = play(OK, "Hz out")
        of_camera = values(diagnostics.last().get("camera", DiagnosticStatus()))
        age = float(of_camera.get("age of the last output (s)", "never").replace("never", "nan"))
        return status and n_as_recorded() > 10 and age == pytest.approx(0.25, abs=0.001)

    until(is_well, "a camera that is well", log=lambda: f"{diagnostics.last()} {latencies.messages}")
    until(
        lambda: (
            diagnostics.says("transport", OK) and values(diagnostics.last()["transport"])["time"] == "/clock"
        ),
        "a clock that is told",
    )
    assert 1000 <= diagnostics.inbox.messages[-1].header.stamp.sec <= bag.now_secs

    # The bag starts again: images are served, and both jumps are told of.
    def n_jumps() -> int:
        return int(values(diagnostics.last()["camera"])["stamps that jumped back"])

    before = n_jumps()
    bag.now_secs -= 500
    until(lambda: play(WARN, "stamps jumped back by 499.7", "loop"), "the jump of the stamps")
    until(lambda: play(WARN, "/clock jumped back by 499.", what="transport"), "the jump of the clock")
    until(lambda: n_jumps() == before + 1, "the jump in the books")
    assert all(message.data >= 0 for message in latencies.messages)
    for inbox in (latencies, diagnostics.inbox):
        peer.drop(inbox)
    bag.close()


def test_stamps_from_the_future_are_served_and_told_of(rig, peer):
    node = rig(namespace="/early")
    diagnostics = Diagnostics(peer, node.node.name)
    latencies = peer.inbox(Float64, f"{node.node.name}/pipeline_latency_ms")
    until(latencies.matched, "the publisher of latencies")

    def early():
        send(node, time.time() + AHEAD_SECS)
        status = diagnostics.says("camera", WARN, "s ahead of the clock", "chrony")
        return status and int(values(status)["stamps from the future"]) >= 5 and status

    status = until(early, "the stamps from the future", log=lambda: str(diagnostics.last()))
    assert float(values(status)["age of the last output (s)"]) == 0, status
    until(lambda: len(latencies), "a latency")
    assert all(message.data == 0 for message in latencies.messages), latencies.messages
    send(node, time.time())
    for inbox in (latencies, diagnostics.inbox):
        peer.drop(inbox)
