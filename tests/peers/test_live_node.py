"""The live page of a running node: pages take nothing from ROS subscribers, nor from each other."""

import contextlib

import images
import pytest
from builtin_interfaces.msg import Time
from cameras import Camera, Cameras
from live_page import TINY, Address, Live, free_port
from node_process import Node, run
from pixio_node.msg import PatchFeatures
from rcl_interfaces.msg import Log
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool
from waiting import until

PHOTOGRAPH = images.photograph("chelsea", 320, 240)


@pytest.fixture(scope="module")
def node():
    heads = [f"--{task}-head={TINY / task}.safetensors" for task in ("depth", "segmentation")]
    options = (*heads, "--live-port", str(free_port()))
    with Node(model=TINY, namespace="/seen", options=options, remaps=("image:=/seen/image_raw",)) as node:
        yield node


@pytest.fixture(scope="module")
def address(node) -> Address:
    return Address(node.wait_for_line(r"live page: http").split()[-1])


@pytest.fixture
def subscribe(peer):
    """Subscribes to topics for one test."""
    inboxes = []

    def subscribe(*arguments, **options):
        inboxes.append(peer.inbox(*arguments, **options))
        return inboxes[-1]

    yield subscribe
    for inbox in inboxes:
        peer.drop(inbox)


@pytest.fixture
def camera(peer, node):
    with Cameras(peer, [Camera("/seen/image_raw", PHOTOGRAPH, 20.0)]) as cameras:
        yield cameras


def test_the_token_stays_out_of_the_ros_graph(subscribe, node, address):
    records = subscribe(Log, "/rosout", reliable=True, depth=100)
    until(lambda: any("pixio_node" in record.name for record in records.messages), "records of the node")
    assert not any(address.token in record.msg for record in records.messages)


def test_a_page_sees_what_has_no_subscriber(address, camera):
    with address.open() as page:
        hello = page.text("hello")
        assert (
            hello["mode"] == "node" and hello["node"] == "/seen/pixio_node" and hello["cameras"] == ["image"]
        )
        page.look("depth", "labels", "tokens")
        frames = [page.frame() for _ in range(5)]
        assert all(set(frame.blobs) == {"depth", "labels", "tokens"} for frame in frames)
        stamps = [frame.about["stamp"] for frame in frames]
        assert stamps == sorted(stamps) and len({tuple(stamp) for stamp in stamps}) == 5
        # They count as published, though no topic has a subscriber.
        until(lambda: page.text("status")["counts"]["published"] >= 5, "published frames")


def test_who_subscribes_gets_what_was_subscribed_to_and_not_what_pages_look_at(
    subscribe, node, address, camera
):
    features = subscribe(PatchFeatures, "/seen/pixio_node/features")
    with address.open() as page:
        page.look("depth")
        assert set(page.frame().blobs) == {"depth"}
        until(lambda: len(features) >= 5, "features beside a page")
        stamps = []

        def in_both() -> bool:
            frame = page.frame()
            assert set(frame.blobs) == {"depth"}
            sec, nanosec = frame.about["stamp"]
            stamps.append(Time(sec=sec, nanosec=nanosec))
            return any(features.find(stamp) for stamp in stamps)

        until(in_both, "the features of a frame that the page has seen")


def test_a_page_that_reads_nothing_costs_the_others_nothing(subscribe, node, address, camera):
    features = subscribe(PatchFeatures, "/seen/pixio_node/features")
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(address.open()) for _ in range(3)]
        for page in deaf:
            page.look()
        page = stack.enter_context(address.open())
        page.look()
        [page.frame() for _ in range(3)]
        memory = node.memory_bytes()
        seen = [tuple(page.frame().about["stamp"]) for _ in range(30)]
        assert len(set(seen)) == 30
        until(lambda: len(features) >= 10, "features beside pages that read nothing")
        # Three pages may hold a frame each.
        assert node.memory_bytes() < memory + 30_000_000


def test_what_no_page_looks_at_any_more_is_not_computed(subscribe, node, address, camera):
    with address.open() as page:
        page.look("pca", "tokens")
        page.frame()
        page.look()
    with address.open() as page:
        page.say("look", camera=0, panels=[])
        counts = page.text("status")["counts"]
        later = until(
            lambda: (now := page.text("status")["counts"])["unwanted"] >= counts["unwanted"] + 10 and now,
            "frames that nobody looks at",
        )
        # One may have been underway.
        assert later["published"] <= counts["published"] + 1


def test_a_click_is_a_query_and_the_node_answers_every_page(subscribe, node, address, camera):
    similarity = subscribe(Image, "/seen/pixio_node/similarity")
    with address.open() as page, address.open() as other:
        page.look("similarity")
        other.look("similarity", "tokens")
        page.say("query", x=160.0, y=120.0)
        for one in (page, other):
            frame = until(lambda one=one: (f := one.frame()) and "similarity" in f.blobs and f, "similarity")
            assert frame.about["grid"] == [16, 16] and len(frame.blobs["similarity"]) == 16 * 16 * 4
        until(lambda: len(similarity), "the same on the topic")


def test_a_page_knows_that_the_node_only_listens(peer, node, address, camera):
    client = peer.node.create_client(SetBool, "/seen/pixio_node/set_enabled")
    peer.meet(client.service_is_ready)

    def call(value: bool):
        peer.ask(client.call_async, SetBool.Request(data=value))

    with address.open() as page:
        page.look("pca")
        call(False)
        try:
            until(lambda: not page.text("status")["is_enabled"], "the status of a node that only listens")
        finally:
            call(True)
        until(lambda: page.text("status")["is_enabled"], "the status of a node that works again")


def test_a_page_cannot_feed_a_node_that_has_cameras(address):
    with address.open() as page:
        page.text("hello")
        page.image(b"\xff\xd8")
        code, reason = page.ended()
        assert code == 1008 and "has cameras" in reason


def test_pages_hear_of_the_end_and_the_port_is_free_again():
    with Live(model=("--model", "random:tiny", "--size", "64x64")) as live:
        page = live.address.open()
        page.look("tokens")
        page.frame()
        code = live.stop()
        assert page.ended() == (1001, "The node stops.")
        assert code == 0, live.tail()
    with Live(model=("--model", "random:tiny", "--size", "64x64"), port=live.port) as again:
        assert again.address.token != live.address.token
        assert again.address.get("/", Cookie=live.address.cookie)[0] == 403


def test_a_port_that_is_taken_stops_the_start_by_name():
    with Live(model=("--model", "random:tiny", "--size", "64x64")) as live:
        done = run("live", "--model", "random:tiny", "--device", "cpu", "--live-port", live.port)
        assert done.returncode == 2 and f"127.0.0.1:{live.port}" in done.stderr
        assert "live_port" in done.stderr
