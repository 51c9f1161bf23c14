"""The node among others: its log, two of it at once, and how it leaves."""

import itertools
import re
import signal
import time

import images
import pytest
from cameras import OK, WARN, Camera, Cameras, Diagnostics
from decode import features_from_message
from node_process import Node, logged_at
from rcl_interfaces.msg import Log
from waiting import until

PHOTOGRAPH = images.photograph("chelsea", 320, 240)
# In the order of a frame's life.
SPANS = ["fit", "wait", "forward", "heads", "publish", "total", "age"]


def closed(counts: dict) -> bool:
    fates = ("published", "displaced", "refused", "unwanted")
    return counts["in_flight"] == 0 and counts["received"] == sum(counts[fate] for fate in fates)


def test_the_log_goes_to_rosout(rig, peer):
    log = peer.inbox(Log, "/rosout", reliable=True, depth=100)
    started = int(time.time())
    node = rig()
    node.ask(PHOTOGRAPH)
    # A warning made after everybody has met, and made again because one may be missed.
    entry = node.feed(
        PHOTOGRAPH,
        lambda: next((m for m in log.messages if "jpeg2000" in m.msg), None),
        "the warning on /rosout",
        encoding="jpeg2000",
        every_secs=1,
    )
    assert entry.level == Log.WARN
    assert "pixio_node" in entry.name and entry.file and entry.line > 0
    assert started <= entry.stamp.sec <= time.time()
    peer.drop(log)


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=["SIGTERM", "SIGINT", "SIGHUP"]
)
def test_a_stopped_node_leaves_no_ghost_and_closes_its_books(rig, peer, how):
    node = rig(namespace="/leaving")
    for _ in range(5):
        node.ask(PHOTOGRAPH)
    with Node(namespace="/killed", remaps=()) as killed:
        until(
            lambda: {"/leaving/pixio_node", "/killed/pixio_node"} <= peer.node_names(),
            "both nodes in the graph",
        )
        # Its ghost stays until its lease ends. The other one's would stay longer, for its lease is younger.
        killed.process.kill()
        assert node.node.stop(how) == 0, node.node.tail()
    left = until(
        lambda: "/leaving/pixio_node" not in (names := peer.node_names()) and names,
        "the node gone from the graph",
    )
    assert "/killed/pixio_node" in left, left
    counts = node.node.counts()
    assert counts["published"] - node.base["published"] >= 5 and closed(counts), counts
    noise = [line for line in node.node.output.lines if "ERROR" in line or "panicked" in line]
    assert not noise, noise


def test_a_signal_that_is_said_twice_is_one_signal(rig):
    """A terminal tells the whole process group, and launch tells its processes once more."""

    def told_twice() -> bool:
        """Tells a node, and whether the second signal came within the half of a second that makes it the
        same."""
        node = rig(namespace="/told_twice")
        first = time.monotonic()
        node.node.process.send_signal(signal.SIGINT)
        time.sleep(0.002)
        node.node.process.send_signal(signal.SIGINT)
        if time.monotonic() - first > 0.5:
            return False
        assert node.node.ended() == 0, node.node.tail()
        return True

    until(told_twice, "two signals at once")


def test_a_node_stops_while_frames_keep_coming(rig, peer):
    node = rig()
    with Cameras(peer, [Camera("/camera/image_raw", PHOTOGRAPH, rate_hz=500)]) as feed:
        until(lambda: node.counts()["received"] > node.base["received"] + 50, "frames", log=node.node.tail)
        n_sent = len(feed.cameras[0].stamps)
        assert node.node.stop() == 0, node.node.tail()
        # They did.
        until(lambda: len(feed.cameras[0].stamps) > n_sent, "a frame after the end")
    assert closed(node.node.counts()), node.node.counts()


def test_two_nodes_in_two_namespaces_serve_their_own_camera(rig, peer):
    left = rig(namespace="/left", camera="/left_camera/image_raw")
    right = rig(namespace="/right", camera="/right_camera/image_raw", options=("--features-dtype", "float32"))
    assert {"/left/pixio_node", "/right/pixio_node"} <= peer.node_names()
    for _ in range(3):
        of_left = left.ask(images.photograph("astronaut"), frame_id="left")
        of_right = right.ask(images.photograph("rocket"), frame_id="right")
        assert (of_left.header.frame_id, of_right.header.frame_id) == ("left", "right")
        assert (of_left.dtype, of_right.dtype) == ("float16", "float32")
        assert abs(features_from_message(of_left).astype("f4") - features_from_message(of_right)).max() > 0.1
    for node, own in ((left, "left"), (right, "right")):
        assert {message.header.frame_id for message in node.inboxes["features"].messages} == {own}


def test_two_nodes_of_one_name_both_serve_and_tell(rig, peer):
    first = rig(namespace="/twins", camera="/first_camera/image_raw")
    diagnostics = Diagnostics(peer, first.node.name)
    assert not diagnostics.says("transport", WARN, "another node is called")
    with Node(namespace="/twins", remaps=("image:=/second_camera/image_raw",)) as second:
        for node in (first.node, second):
            said = node.wait_for_line("another node is called /twins/pixio_node too")
            assert said and said.startswith("[WARN]"), node.tail()
        until(lambda: diagnostics.says("transport", WARN, "another node is called"), "the namesake")
        first.ask(PHOTOGRAPH)
        assert second.stop() == 0, second.tail()
    # It is told as long as it is so.
    until(
        lambda: diagnostics.says("transport", OK),
        "a node with a name of its own",
        log=lambda: str(diagnostics.last()),
    )
    first.ask(PHOTOGRAPH)
    peer.drop(diagnostics.inbox)


def test_a_remapped_output_goes_where_it_was_sent(rig, peer):
    from pixio_node.msg import PatchFeatures

    node = rig(listen=(), extra_remaps=("~/features:=/elsewhere/tokens",))
    inbox = node.inboxes["features"] = peer.inbox(PatchFeatures, "/elsewhere/tokens")
    node.wait_until_matched()
    node.ask(PHOTOGRAPH)
    assert inbox.messages


# As printed: rates, the books, and the times of the frames since the line before, if there were any.
LINE = re.compile(
    r"INFO.*/camera/image_raw: (?P<rate_in>[\d.]+) Hz in, (?P<rate_out>[\d.]+) Hz out; received \d+ = .*; "
    r"(?P<times>no frame|ms p50/p95/p99: .*)$"
)


PERIOD_SECS = 0.2


def test_a_statistics_line_is_printed_every_period_and_says_what_the_file_says(rig):
    node = rig()
    start = len(node.node.output.lines)

    def lines() -> list[str]:
        return [line for line in node.node.output.lines[start:] if "Hz in" in line]

    def are_regular() -> bool:
        """Whether the last four lines came a period apart by the log's own stamps: now and then a machine is
        late."""
        stamps = [logged_at(line) for line in lines()[-4:]]
        return len(stamps) == 4 and all(
            0.99 * PERIOD_SECS < after - before < 1.5 * PERIOD_SECS
            for before, after in itertools.pairwise(stamps)
        )

    node.feed(PHOTOGRAPH, lambda: len(lines()) >= 10 and are_regular(), "a line every period", every_secs=0.1)
    assert node.node.stop() == 0, node.node.tail()
    # Line and object of a period are written together; the last object has no line.
    *periods, final = node.node.stats()
    assert final["final"] and not any(period["final"] for period in periods)
    printed = lines()
    of_file = periods[-len(printed) :]
    before = [period["counts"] for period in periods[-len(printed) - 1 : -1]]
    assert len(of_file) == len(before) == len(printed)
    n_busy = 0
    for line, period, earlier in zip(printed, of_file, before):
        found = LINE.search(line)
        assert found, line
        for rate, fate in (("rate_in", "received"), ("rate_out", "published")):
            n = period["counts"][fate] - earlier[fate]
            assert float(found[rate]) == pytest.approx(n / period["period_secs"], abs=0.051), (line, period)
        if all(span["n"] for span in period["spans"].values()):
            n_busy += 1
            assert re.findall(r"(\w+) [\d.]+/[\d.]+/[\d.]+", found["times"]) == SPANS, line
    assert n_busy > 0


def test_the_statistics_file_gets_every_period_too(rig):
    node = rig()

    def of_one_frame() -> dict | None:
        """The spans of a period that has the whole of one frame and nothing else."""
        n = len(node.node.stats())
        node.ask(PHOTOGRAPH)
        node.settled()
        found = (period["spans"] for period in node.node.stats()[n:])
        return next((spans for spans in found if all(span["n"] == 1 for span in spans.values())), None)

    spans = until(of_one_frame, "a period with one frame")
    assert set(spans) == set(SPANS)
    for span in spans.values():
        assert 0 < span["p50"] <= span["p95"] <= span["p99"], spans
    assert spans["forward"]["p50"] < spans["total"]["p50"] <= spans["age"]["p50"]
