"""The node among others: its log, two of it at once, and how it leaves."""

import re
import signal
import time

import pictures
import pytest
from decode import features_from_message
from peer import until
from rcl_interfaces.msg import Log

PHOTOGRAPH = pictures.photograph("chelsea", 320, 240)
# In the order of a frame's life.
SPANS = ["fit", "wait", "forward", "heads", "publish", "total", "age"]


def test_the_log_goes_to_rosout(rig, peer):
    log = peer.inbox(Log, "/rosout", reliable=True, depth=100)
    node = rig()
    node.ask(PHOTOGRAPH)
    # A warning made after everybody has met, so that it cannot be missed.
    node.send(PHOTOGRAPH, encoding="jpeg2000")
    entry = until(lambda: next((m for m in log.messages if "jpeg2000" in m.msg), None), 10, "the warning on /rosout")
    assert entry.level == Log.WARN
    assert "pixio_node" in entry.name and entry.file and entry.line > 0
    assert abs(entry.stamp.sec - time.time()) < 60
    peer.drop(log)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_stopped_node_leaves_no_ghost_and_closes_its_books(rig, peer, how):
    node = rig(namespace="/leaving")
    until(lambda: "/leaving/pixio_node" in peer.node_names(), 10, "the node in the graph")
    for _ in range(5):
        node.ask(PHOTOGRAPH)
    stamp = node.send(PHOTOGRAPH)
    assert node.node.stop(how) == 0, node.node.tail()
    until(lambda: "/leaving/pixio_node" not in peer.node_names(), 5, "the node gone from the graph")
    counts = node.node.counts()
    n_received = counts["received"] - node.base["received"]
    assert n_received in (5, 6) and counts["published"] - node.base["published"] >= 5, (counts, stamp)
    told = counts["published"] + counts["displaced"] + counts["refused"] + counts["unwanted"] + counts["in_flight"]
    assert counts["received"] == told
    noise = [line for line in node.node.output.lines if "ERROR" in line or "panicked" in line]
    assert not noise, noise


def test_a_signal_that_is_said_twice_is_one_signal(rig):
    """A terminal tells the whole process group, and launch tells its processes once more."""
    node = rig(namespace="/told_twice")
    node.node.process.send_signal(signal.SIGINT)
    time.sleep(0.002)
    assert node.node.stop(signal.SIGINT) == 0, node.node.tail()


def test_a_node_under_load_stops_within_seconds(rig):
    node = rig()
    stop_at = time.monotonic() + 2
    while time.monotonic() < stop_at:
        node.send(PHOTOGRAPH)
        time.sleep(0.002)
    asked = time.monotonic()
    assert node.node.stop() == 0
    assert time.monotonic() - asked < 5
    counts = node.node.counts()
    told = counts["published"] + counts["displaced"] + counts["refused"] + counts["unwanted"] + counts["in_flight"]
    assert counts["received"] == told and counts["displaced"] >= 0


def test_two_nodes_in_two_namespaces_serve_their_own_camera(rig, peer):
    left = rig(namespace="/left", camera="/left_camera/image_raw")
    right = rig(namespace="/right", camera="/right_camera/image_raw", options=("--features-dtype", "float32"))
    assert {"/left/pixio_node", "/right/pixio_node"} <= peer.node_names()
    for _ in range(3):
        of_left = left.ask(pictures.photograph("astronaut"), frame_id="left")
        of_right = right.ask(pictures.photograph("rocket"), frame_id="right")
        assert (of_left.header.frame_id, of_right.header.frame_id) == ("left", "right")
        assert (of_left.dtype, of_right.dtype) == ("float16", "float32")
        assert abs(features_from_message(of_left).astype("f4") - features_from_message(of_right)).max() > 0.1
    assert len(left.inboxes["features"]) == len(right.inboxes["features"]) == 3


def test_a_remapped_output_goes_where_it_was_sent(rig, peer):
    from pixio_node.msg import PatchFeatures
    node = rig(listen=(), extra_remaps=("~/features:=/elsewhere/tokens",))
    inbox = node.inboxes["features"] = peer.inbox(PatchFeatures, "/elsewhere/tokens")
    node.wait_until_matched()
    node.ask(PHOTOGRAPH)
    assert inbox.messages


# As printed: rates, the books, and the times of the frames since the line before, if there were any.
LINE = re.compile(r"INFO.*/camera/image_raw: (?P<rate_in>[\d.]+) Hz in, (?P<rate_out>[\d.]+) Hz out; received \d+ = .*; "
                  r"(?P<times>no frame|ms p50/p95/p99: .*)$")


def test_a_statistics_line_is_printed_every_period(rig):
    node = rig()
    n_before = len(node.node.output.lines)
    started = time.monotonic()
    for _ in range(20):
        node.ask(PHOTOGRAPH)
        time.sleep(0.1)
    elapsed_secs = time.monotonic() - started
    printed = [line for line in node.node.output.lines[n_before:] if "Hz in" in line]
    lines = [LINE.search(line) for line in printed]
    assert all(lines), printed
    n_periods = elapsed_secs / 0.2
    assert 0.6 * n_periods <= len(lines) <= n_periods + 1, (elapsed_secs, printed)
    busy = [line for line in lines if float(line["rate_out"]) > 0]
    assert len(busy) > len(lines) / 2, printed
    for line in busy[1:-1]:
        assert 1 < float(line["rate_in"]) < 30
        assert re.findall(r"(\w+) [\d.]+/[\d.]+/[\d.]+", line["times"]) == SPANS, line[0]


def test_the_statistics_file_gets_every_period_too(rig):
    node = rig()
    for _ in range(10):
        node.ask(PHOTOGRAPH)
        time.sleep(0.1)
    periods = node.node.stats()
    assert len(periods) >= 5
    spans = next(period["spans"] for period in reversed(periods) if period["spans"]["total"]["n"] > 0)
    assert set(spans) == set(SPANS)
    for span in spans.values():
        assert 0 < span["p50"] <= span["p95"] <= span["p99"] < 10_000, spans
    assert spans["forward"]["p50"] < spans["total"]["p50"] <= spans["age"]["p50"]
