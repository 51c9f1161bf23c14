"""What the node shows of itself in the ROS graph, and that it takes all of it along when it leaves."""

import socket
import struct
import time

import images
import pytest
import rtps
from builtin_interfaces.msg import Time
from networks import domain
from node_process import Node
from peer import nanos
from rcl_interfaces.msg import ParameterEvent
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rosgraph_msgs.msg import Clock
from waiting import repeat, until

PHOTOGRAPH = images.photograph("coffee", 320, 240)


def endpoints(peer, topic: str, node: Node) -> list:
    """Types of the node's subscriptions of a topic."""
    of_node = peer.node.get_subscriptions_info_by_topic(topic)
    namespace, _, name = node.name.rpartition("/")
    return [info.topic_type for info in of_node if (info.node_namespace, info.node_name) == (namespace, name)]


def test_a_node_without_simulated_time_has_nothing_to_do_with_the_clock(rig, peer):
    # Its parameters answer: all that the node subscribes to before it is ready has been seen.
    node = rig(namespace="/timeless")
    node.ask(PHOTOGRAPH)
    assert peer.node.get_subscriptions_info_by_topic("/clock") == []
    assert "/clock" not in dict(peer.node.get_topic_names_and_types())


def test_simulated_time_is_one_subscription_of_the_type_that_all_use(rig, peer):
    node = rig(namespace="/simulated", params=("use_sim_time:=true",))
    found = until(lambda: endpoints(peer, "/clock", node.node), "the node's subscription to /clock")
    node.ask(PHOTOGRAPH)
    assert found == endpoints(peer, "/clock", node.node) == ["rosgraph_msgs/msg/Clock"]
    assert dict(peer.node.get_topic_names_and_types())["/clock"] == ["rosgraph_msgs/msg/Clock"]
    # No other end either, such as one that belongs to no node.
    assert len(peer.node.get_subscriptions_info_by_topic("/clock")) == 1

    # What the node says of its parameters has that time too.
    clock, events = (
        peer.publisher(Clock, "/clock"),
        peer.inbox(ParameterEvent, "/parameter_events", reliable=True),
    )
    until(lambda: clock.get_subscription_count() and events.matched(), "the node's ends")
    client = AsyncParameterClient(peer.node, node.node.name)
    peer.meet(client.services_are_ready)

    def set_at_noon():
        clock.publish(Clock(clock=Time(sec=43200)))
        client.set_parameters([Parameter("max_rate", value=30.0)])

    repeat(
        set_at_noon,
        lambda: any(
            nanos(event.stamp) == 43200 * 10**9 for event in events.messages if event.node == node.node.name
        ),
        "an event of simulated time",
        log=lambda: str(events.messages[-3:]),
    )
    peer.drop(events)
    peer.node.destroy_publisher(clock)


def test_time_cannot_be_simulated_once_the_node_runs(rig, peer):
    node = rig(namespace="/decided")
    client = AsyncParameterClient(peer.node, node.node.name)
    peer.meet(client.services_are_ready)
    result = peer.ask(client.set_parameters, [Parameter("use_sim_time", value=True)]).results[0]
    assert not result.successful and "restart" in result.reason, result
    assert peer.ask(client.set_parameters, [Parameter("use_sim_time", value=False)]).results[0].successful


def test_the_ends_of_a_stopped_node_are_forgotten_at_once(rig, peer):
    topic, camera = "/gone/pixio_node/features", "/gone_camera/image_raw"
    node = rig(namespace="/gone", camera=camera)
    node.ask(PHOTOGRAPH)
    with Node(namespace="/crashed", remaps=(f"image:={camera}",)) as crashed:
        counts = (
            lambda: peer.node.count_publishers(topic),
            lambda: peer.node.count_subscribers(camera),
            lambda: len(peer.node.get_publishers_info_by_topic(topic)),
            lambda: peer.node.count_publishers("/crashed/pixio_node/features"),
        )
        until(
            lambda: [count() for count in counts] == [1, 2, 1, 1],
            "the ends of both",
            log=lambda: str([count() for count in counts]),
        )
        # Its ends stay until its lease ends. The other one's would stay longer, for its lease is younger.
        crashed.process.kill()
        assert node.node.stop() == 0, node.node.tail()
        stopped = time.monotonic()
        until(
            lambda: [count() for count in counts] == [0, 1, 0, 1],
            "the end of one",
            log=lambda: str([count() for count in counts]),
        )
        print(f"forgotten {1e3 * (time.monotonic() - stopped):.0f} ms after the end of the process")
    inbox = node.inboxes["features"]
    assert not inbox.matched()


# What a participant says of its nodes, and how much of that is told here.
NODES = ("ros_discovery_info", "rmw_dds_common::msg::dds_::ParticipantEntitiesInfo_")
NODES_LOG = {
    "RUST_LOG": "ros2_client::entities_info=debug,ros2_client::node=debug,rustdds::rtps::reader=info"
}
RELIABLE = rtps.parameter(0x1A, struct.pack("<IiI", 2, 0, 0))
TRANSIENT_LOCAL = rtps.parameter(0x1D, struct.pack("<I", 1))


def nodes_of(prefix: bytes, name: str) -> bytes:
    """That a participant has one node, of this name, as a payload."""
    texts = b"".join(text + bytes(-len(text) % 4) for text in (rtps.text("/"), rtps.text(name)))
    return rtps.CDR_LE + prefix + rtps.PARTICIPANT + struct.pack("<I", 1) + texts + bytes(8)


@pytest.mark.parametrize("name", ["", "2b", "my node"])
def test_a_name_that_no_node_may_have_is_no_error_of_this_one(name):
    prefix, writer = b"\1\x0fnameless\0\0", bytes([0, 0, 1, 3])
    with (
        Node(namespace="/named", remaps=(), env=NODES_LOG) as node,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as at,
    ):
        ports = rtps.Ports(node.pid, domain())

        def send(port: int, reader: bytes, writer: bytes, n: int, payload: bytes):
            datagram = rtps.packet(prefix, rtps.data(reader, writer, n, payload))
            at.sendto(datagram, ("127.0.0.1", port))

        at.sendto(rtps.participant(prefix, 3600), ("127.0.0.1", ports.discovery))
        assert node.wait_for_line(f"Matched new remote writer.*{prefix.hex()}"), node.tail()
        told = rtps.endpoint(prefix + writer, *NODES, RELIABLE, TRANSIENT_LOCAL)
        send(ports.discovery, rtps.PUBLICATIONS_READER, rtps.PUBLICATIONS_WRITER, 1, told)
        assert node.wait_for_line(f"Matched new remote writer.*{NODES[0]}.*{prefix.hex()}"), node.tail()
        send(ports.data, rtps.UNKNOWN, writer, 1, nodes_of(prefix, name))
        for text in ("Offending node name", "ros_discovery_info error"):
            said = node.wait_for_line(text)
            # Unseen by default.
            assert said and said.startswith("[DEBUG]"), said or node.tail()
        assert node.stop() == 0, node.tail()


@pytest.fixture(scope="module")
def described(peer):
    """The descriptors of a node with two cameras, by name."""
    with Node(namespace="/described", remaps=(), params=("cameras:=[front, rear]",)) as node:
        client = AsyncParameterClient(peer.node, node.name)
        peer.meet(client.services_are_ready)
        names = peer.ask(client.list_parameters).result.names
        answer = peer.ask(client.describe_parameters, names).descriptors
        values = peer.ask(client.get_parameters, names).values
        assert [descriptor.name for descriptor in answer] == list(names)
        assert [descriptor.type for descriptor in answer] == [value.type for value in values]
        yield dict(zip(names, answer))


def test_every_parameter_is_described(described):
    assert all(
        len(found.description) > 10 and "missing" not in found.description for found in described.values()
    )
    assert not any(found.dynamic_typing for found in described.values())
    assert {name for name, found in described.items() if not found.read_only} == {
        "front.max_rate",
        "rear.max_rate",
        "max_age",
        "min_depth",
        "max_depth",
        "overlay_opacity",
        "log_level",
        "publish_features",
        "publish_embedding",
        "publish_depth",
        "publish_segmentation",
    }


def test_numbers_have_a_range_and_all_else_a_sentence(described):
    (rate,) = described["front.max_rate"].floating_point_range
    assert (rate.from_value, rate.to_value, rate.step) == (0.0, 1000.0, 0.0)
    (batch,) = described["batch_max"].integer_range
    assert (batch.from_value, batch.to_value, batch.step) == (1, 64, 1)
    assert (
        "Unit: Hz" in described["front.max_rate"].description
        and "front" in described["front.max_rate"].description
    )
    assert described["log_level"].additional_constraints == "valid is debug, info, warn or error"
    for name, found in described.items():
        ranges = len(found.floating_point_range) + len(found.integer_range)
        assert ranges + bool(found.additional_constraints) == 1, (name, found)
