"""Time: this machine's, a bag's on /clock at other rates, stamps from the future and stamps that jump back."""

import time

import pictures
from builtin_interfaces.msg import Time
from cameras import OK, WARN, Diagnostics, values
from peer import until
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64

PHOTOGRAPH = pictures.photograph("coffee", 320, 240)


def stamp(secs: float) -> Time:
    return Time(sec=int(secs), nanosec=int(secs % 1 * 1e9))


def send(node, secs: float):
    """One picture stamped `secs`, and the node's answer under that stamp."""
    message = pictures.image(PHOTOGRAPH, stamp(secs))
    node.camera.publish(message)
    return node.inboxes["features"].answer(message.header.stamp, 5)


class Bag:
    """Tells the time on /clock as it is moved on."""

    def __init__(self, peer):
        self._peer = peer
        self._publisher = peer.publisher(Clock, "/clock")
        self.now_secs = 1000.0

    def wait(self):
        until(self._publisher.get_subscription_count, 10, "the node's subscription to /clock")

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
    until(lambda: diagnostics.says("transport", WARN, "nothing has come on /clock", "--clock"), 5, "a clock that stands still")
    until(latencies.matched, 10, "the publisher of latencies")
    # Faster than it was recorded, each picture a quarter of a second behind the clock.
    def play(level: int, *texts: str, what: str = "camera"):
        bag.tell(bag.now_secs + 0.3)
        assert send(node, bag.now_secs - 0.25), node.node.tail()
        return diagnostics.says(what, level, *texts)
    until(lambda: play(OK, "Hz out") and len(latencies) > 10, 15, "a camera that is well")
    status = diagnostics.last()["camera"]
    assert diagnostics.says("transport", OK) and values(diagnostics.last()["transport"])["time"] == "/clock"
    assert 1000 <= diagnostics.inbox.messages[-1].header.stamp.sec < 1100
    assert 0.2 < float(values(status)["age of the last output (s)"]) < 0.35, status
    assert all(200 < message.data < 350 for message in latencies.messages[2:]), latencies.messages

    # The bag starts again: pictures are served, and both jumps are told of.
    def n_jumps() -> int:
        return int(values(diagnostics.last()["camera"])["stamps that jumped back"])
    before = n_jumps()
    bag.now_secs -= 500
    until(lambda: play(WARN, "stamps jumped back by 499.7", "loop"), 5, "the jump of the stamps")
    until(lambda: play(WARN, "/clock jumped back by 499.", what="transport"), 5, "the jump of the clock")
    assert n_jumps() == before + 1
    assert all(message.data >= 0 for message in latencies.messages)
    for inbox in (latencies, diagnostics.inbox):
        peer.drop(inbox)
    bag.close()


def test_stamps_from_the_future_are_served_and_told_of(rig, peer):
    node = rig(namespace="/early")
    diagnostics = Diagnostics(peer, node.node.name)
    latencies = peer.inbox(Float64, f"{node.node.name}/pipeline_latency_ms")
    until(latencies.matched, 10, "the publisher of latencies")

    def early():
        assert send(node, time.time() + 7), node.node.tail()
        time.sleep(0.05)
        status = diagnostics.says("camera", WARN, "s ahead of the clock", "chrony")
        return status and int(values(status)["stamps from the future"]) >= 5 and status
    status = until(early, 10, "the stamps from the future")
    assert float(values(status)["age of the last output (s)"]) == 0, status
    until(lambda: len(latencies), 5, "a latency")
    assert all(message.data == 0 for message in latencies.messages), latencies.messages
    assert send(node, time.time()), node.node.tail()
    for inbox in (latencies, diagnostics.inbox):
        peer.drop(inbox)
