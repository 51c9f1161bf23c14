"""The layouts for RViz and Foxglove show topics that the node has, in panels that can show them."""

import json

import pytest
import rooms_data
import yaml
from node_process import ROOT, Node
from waiting import until

CAMERA = "/camera/image_raw"
IMAGES = {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"}
POINTS = {"sensor_msgs/msg/PointCloud2"}
NUMBERS = {"std_msgs/msg/Float64"}
STATUSES = {"diagnostic_msgs/msg/DiagnosticArray"}


@pytest.fixture(scope="module")
def topics(peer):
    """The topics in the graph, with their types, while the node runs under its default name with both
    heads."""
    with Node(model=rooms_data.TINY, namespace="/", options=rooms_data.HEADS).start() as node:
        yield lambda: {name: set(types) for name, types in peer.node.get_topic_names_and_types()}
        assert node.stop() == 0, node.tail()


def rviz() -> list[tuple[str, set[str]]]:
    """Topic and types of each display."""
    displays = yaml.safe_load((ROOT / "config" / "pixio.rviz").read_text())["Visualization Manager"][
        "Displays"
    ]
    shows = {"rviz_default_plugins/Image": IMAGES, "rviz_default_plugins/PointCloud2": POINTS}
    shown = [display for display in displays if "Topic" in display]
    # It receives from every publisher, and images above 96 KB are offered no other way.
    assert {display["Topic"]["Reliability Policy"] for display in shown} == {"Best Effort"}
    return [(display["Topic"]["Value"], shows[display["Class"]]) for display in shown]


def foxglove() -> list[tuple[str, set[str]]]:
    """Topic and types of each panel."""
    layout = json.loads((ROOT / "config" / "pixio.foxglove.json").read_text())
    panels = layout["configById"]

    def placed(tree):
        return {tree} if isinstance(tree, str) else placed(tree["first"]) | placed(tree["second"])

    assert placed(layout["layout"]) == panels.keys()
    # Foxglove and Lichtblick read a title each.
    titles = [(panel["foxglovePanelTitle"], panel["lichtblickPanelTitle"]) for panel in panels.values()]
    assert all(ours == theirs for ours, theirs in titles)
    found = []
    for name, panel in panels.items():
        match name.split("!")[0]:
            case "Image":
                found.append((panel["imageMode"]["imageTopic"], IMAGES))
            case "3D":
                found += [(topic, POINTS) for topic in panel["topics"]]
            case "Plot":
                found += [(path["value"].removesuffix(".data"), NUMBERS) for path in panel["paths"]]
            case "DiagnosticSummary":
                found.append((panel["topicToRender"], STATUSES))
    assert {name.split("!")[0] for name in panels} == {"Image", "3D", "Plot", "DiagnosticSummary"}
    return found


@pytest.mark.parametrize("layout", [rviz, foxglove])
def test_every_topic_is_one_of_the_node_and_of_the_panels_type(topics, layout):
    shown = layout()
    for topic, types in shown:
        until(lambda: topics().get(topic, set()) & types, f"{topic} with one of {types}")
    assert {
        CAMERA,
        "/pixio_node/features/pca",
        "/pixio_node/depth/color/compressed",
        "/pixio_node/points",
        "/pixio_node/segmentation/overlay/compressed",
    } <= {topic for topic, _ in shown}
