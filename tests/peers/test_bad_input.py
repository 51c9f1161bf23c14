"""What bad frames get: counted by reason, one warning, and the next good frame is served."""

import itertools
import resource

import bad_frames
import images
import pytest
from bad_frames import COMPRESSED, RAW, jpeg
from node_process import logged_at
from sensor_msgs.msg import CompressedImage
from waiting import PATIENCE_SECS, repeat

GOOD = bad_frames.GOOD


@pytest.fixture(scope="module")
def raw_node(peer):
    yield from shared(peer, "raw")


@pytest.fixture(scope="module")
def compressed_node(peer):
    yield from shared(peer, "compressed")


def shared(peer, transport):
    """A node for all rows; when they are through, its books must show each one."""
    from rig import Rig

    # Apart from the nodes of other tests, which come and go while this one stays.
    node = Rig(peer, transport=transport, namespace=f"/{transport}", camera=f"/{transport}_camera/image_raw")
    try:
        node.n_refused = 0
        node.ask(GOOD if transport == "raw" else jpeg())
        memory = node.node.memory_bytes()
        yield node
        grown = node.node.memory_bytes() - memory
        assert node.node.stop() == 0, node.node.tail()
        counts = node.node.counts()
        assert (counts["refused"], sum(counts["reasons"].values())) == (node.n_refused, node.n_refused), (
            counts
        )
        assert (
            counts["received"]
            == counts["published"] + counts["displaced"] + counts["refused"] + counts["unwanted"]
        )
        assert grown < 60e6, f"{grown / 1e6:.0f} MB for frames that were refused"
    finally:
        node.close()


def refuse_then_serve(node, bad, good):
    """Sends the bad frame until the node has refused one, which no newer one has displaced, and then a good
    one."""
    before = node.settled()["refused"]
    assert before == node.n_refused

    def send():
        bad.header.stamp = node.peer.stamp()
        bad.header.frame_id = "bad"
        node.camera.publish(bad)

    repeat(send, lambda: node.counts()["refused"] > before, "the refusal in the books", log=node.node.tail)
    node.ask(good)
    # Mostly one; more where a frame, or the node, was late.
    node.n_refused = node.settled()["refused"]
    assert all(message.header.frame_id != "bad" for message in node.inboxes["features"].messages)


@pytest.mark.parametrize("row", RAW)
def test_after_a_bad_raw_frame_the_next_good_one_is_served(raw_node, row):
    refuse_then_serve(raw_node, RAW[row], GOOD)


@pytest.mark.parametrize("row", COMPRESSED)
def test_after_a_bad_compressed_frame_the_next_good_one_is_served(compressed_node, row):
    refuse_then_serve(compressed_node, CompressedImage(format="jpeg", data=COMPRESSED[row]), jpeg())


def test_costly_files_take_little_and_give_it_back(rig):
    # Nothing is lost on the way or given up for its age, so each file is sent once: buffers stay as large as
    # two of the last eight images need.
    node = rig(transport="compressed", params=("image_reliability:=reliable", "max_age:=0.0"))

    def ask_once(file: bytes):
        node.answers(file, every_secs=PATIENCE_SECS)
        node.settled()

    for _ in range(3):
        ask_once(jpeg())
    memory = node.node.memory_bytes()
    for name, file, decoded in bad_frames.costly():
        node.node.forget_peak_memory()
        ask_once(file)
        assert node.node.memory_bytes("VmHWM") - memory < 3 * decoded + 16e6 + 2 * len(file), name
        for _ in range(2):
            ask_once(jpeg())
        assert node.node.memory_bytes() - memory < 16e6, name
    assert node.node.stop() == 0


def test_an_image_that_there_is_no_memory_for_is_refused_and_the_next_one_is_served(rig):
    node = rig(transport="compressed", params=("max_age:=0.0",))
    for _ in range(8):
        node.ask(jpeg())
    *_, (_, large, decoded) = bad_frames.costly()
    limit = node.node.memory_bytes("VmSize") + decoded // 2
    resource.prlimit(node.node.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    node.feed(large, lambda: node.counts()["refused"], "the refusal", every_secs=1)
    node.ask(jpeg())
    assert node.node.wait_for_line(f"no memory for {decoded} bytes"), node.node.tail()
    assert node.node.stop() == 0, node.node.tail()
    assert set(node.node.counts()["reasons"]) == {"memory"}, node.node.counts()


def test_bad_frames_are_told_once_with_topic_and_reason(rig):
    node = rig()
    # Slower than they are refused, so that they seldom displace each other.
    node.feed(GOOD, lambda: node.counts()["refused"] >= 20, "twenty refusals", encoding="jpeg2000")
    node.ask(GOOD)
    warned = [logged_at(line) for line in node.node.output.lines if "WARN" in line and "jpeg2000" in line]
    assert warned
    assert all(after - before > 4.9 for before, after in itertools.pairwise(warned)), warned


def test_a_burst_of_a_thousand_frames_is_accounted_for_and_costs_no_memory(rig):
    node = rig()
    small = images.photograph("rocket", 64, 48)
    node.ask(small)
    memory = node.node.memory_bytes()
    for _ in range(1000):
        node.send(small)
    node.ask(small)
    assert node.node.memory_bytes() - memory < 40e6
    assert node.node.stop() == 0
    counts = node.node.counts()
    # Best effort, newest first: what DDS passed over was never received.
    assert counts["received"] > node.base["received"], counts
    assert counts["in_flight"] == 0, counts
    assert (
        counts["received"]
        == counts["published"] + counts["displaced"] + counts["refused"] + counts["unwanted"]
    )
