"""Who is served under which reliability, and what those hear of whom the node cannot serve."""

import images
import pytest
from decode import features_from_message
from pixio_node.msg import PatchFeatures
from sensor_msgs.msg import Image

PHOTOGRAPH = images.photograph("coffee", 320, 240)
# 16 x 16 x 192 x 4 bytes are 196 KB.
FLOAT32 = ("--features-dtype", "float32")


def warning(node, topic: str) -> str:
    """The one warning that names the topic."""
    found = node.wait_for_line(rf"WARN.*{topic}\b")
    assert found, f"no warning about {topic}\n{node.tail()}"
    return found


def test_a_reliable_subscriber_of_best_effort_features_is_told_what_helps(rig, peer):
    node = rig(listen=("embedding",), params=("output_reliability:=best_effort",))
    inbox = peer.inbox(PatchFeatures, f"{node.node.name}/features", reliable=True)
    said = warning(node.node, f"{node.node.name}/features")
    assert (
        "/peer" in said and "output_reliability:=reliable" in said and "best effort" in said.replace("_", " ")
    ), said
    node.ask(PHOTOGRAPH, "embedding")
    assert not inbox.messages
    # Once, not with every look at the graph, of which there are several a second.
    for _ in range(3):
        node.node.report()
    assert sum("output_reliability" in line for line in node.node.output.lines) == 1, node.node.tail()
    peer.drop(inbox)


@pytest.mark.parametrize("setting", [(), ("output_reliability:=reliable",)], ids=["auto", "reliable"])
def test_a_reliable_subscriber_is_served_unless_told_otherwise(rig, setting):
    node = rig(reliable_inboxes=True, options=FLOAT32, params=setting)
    for _ in range(3):
        assert features_from_message(node.ask(PHOTOGRAPH)).shape == (16, 16, 192)
    assert not [line for line in node.node.output.lines if "output_reliability" in line]


def test_a_node_that_wants_a_reliable_camera_is_served_by_one(rig):
    node = rig(params=("image_reliability:=reliable",))
    node.ask(PHOTOGRAPH)
    assert not [line for line in node.node.output.lines if "image_reliability" in line]


def test_a_node_that_wants_a_reliable_camera_tells_of_one_that_is_not(peer):
    from node_process import Node

    topic = "/lossy_camera/image_raw"
    publisher = peer.publisher(Image, topic, reliable=False)
    node = Node(namespace="/strict", remaps=(f"image:={topic}",), params=("image_reliability:=reliable",))
    with node:
        said = warning(node, topic)
        assert "/peer" in said and "image_reliability:=best_effort" in said, said
        assert publisher.get_subscription_count() == 0
        assert node.stop() == 0, node.tail()
    peer.node.destroy_publisher(publisher)
