"""The code and the parameters in the pages: every block is read, and what can be run is run on messages of
the running node."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import rooms_data
import yaml
from geometry_msgs.msg import Transform
from node_process import ROOT
from pages import PAGES, blocks
from pixio_node.msg import PatchFeatures
from recording import Recording
from rig import OWN_NAMES, Rig
from vision_msgs.msg import LabelInfo, VisionClass
from waiting import repeat

TOPICS = (
    "features",
    "features/reduced",
    "features/camera_info",
    "embedding",
    "depth/image",
    "points",
    "segmentation/image",
)


@pytest.fixture(scope="module")
def names() -> dict:
    """Everything that the blocks define, by name; each stands alone."""
    found = {}
    for page in PAGES:
        for block in blocks(page, "python"):
            alone = {}
            exec(compile(block, page.name, "exec"), alone)
            found |= alone
    return found


def answers(peer, tmp_path_factory, stride: str) -> tuple[dict, Path]:
    """All topics of one image of the recording, and the file of the basis."""
    cache, recording = tmp_path_factory.mktemp("cache"), Recording.open(ROOT / "data" / "room-walk")
    node = Rig(
        peer,
        model=str(rooms_data.TINY),
        listen=TOPICS,
        options=(*rooms_data.HEADS, "--points-stride", stride),
        namespace="/documented",
        cache=cache,
    )
    try:
        images = itertools.cycle(recording.rgb)

        # The basis of the principal components is that of the recording.
        repeat(
            lambda: node.send(next(images)),
            lambda: len(node.inboxes["features/reduced"]),
            "features/reduced",
            every_secs=0.1,
            log=node.node.tail,
        )
        found = node.answers(recording.rgb[1], camera_info=recording.camera_info(peer.stamp()))
        return found, next((cache / "pixio_node" / "pca").iterdir())
    finally:
        node.close()


@pytest.fixture(scope="module")
def as_usual(peer, tmp_path_factory) -> dict:
    return answers(peer, tmp_path_factory, "auto")[0]


@pytest.fixture(scope="module")
def by_patch(peer, tmp_path_factory) -> tuple[dict, Path]:
    return answers(peer, tmp_path_factory, "16")


def test_yaml_can_be_read_and_names_parameters_that_exist():
    known = set(yaml.safe_load((ROOT / "config" / "pixio.yaml").read_text())["/**"]["ros__parameters"]) | {
        "model"
    }
    n_own = 0
    for page in PAGES:
        for block in blocks(page, "yaml"):
            for key, of_node in (yaml.safe_load(block) or {}).items():
                if key in ("/**", "pixio_node", "/pixio_node"):
                    n_own += 1
                    assert set(of_node["ros__parameters"]) <= known, (page.name, block)
    assert n_own


def test_topics_are_those_of_the_node():
    known = {f"/pixio_node/{name}" for name in OWN_NAMES}
    for page in PAGES:
        # What has something before it is a path of files.
        named = set(re.findall(r"(?<![\w.~])/pixio_node/(?!front|left)[\w/]+[\w]", page.read_text()))
        assert named <= known, (page.name, named - known)


def test_the_subscription_is_one_to_the_features(names, peer):
    subscription = names["subscribe"](peer.node, print)
    assert (subscription.topic_name, subscription.msg_type) == ("/pixio_node/features", PatchFeatures)
    peer.node.destroy_subscription(subscription)


def test_masks_and_clouds_for_nav2(names, as_usual):
    cloud, labels = (
        as_usual["points"],
        np.frombuffer(as_usual["segmentation/image"].data, np.uint8).reshape(256, 256),
    )
    mask = names["mask_from_cloud"](cloud)
    assert (
        np.frombuffer(mask.data, np.uint8).reshape(64, 64) == labels[2::4, 2::4]
    ).all() and mask.header == cloud.header
    wall = LabelInfo(
        class_map=[VisionClass(class_id=0, class_name="floor"), VisionClass(class_id=1, class_name="wall")]
    )
    ids = names["ids_of"](wall, ["wall"])
    assert ids == {1}
    kept, before = names["points_of"](names["without_classes"](cloud, ids)), names["points_of"](cloud)
    gone = before["label"] == 1
    assert (
        gone.any()
        and np.isnan(kept["z"][gone]).all()
        and np.array_equal(kept["z"][~gone], before["z"][~gone], equal_nan=True)
    )


def test_feature_points_for_a_mapper(names, by_patch):
    found, basis = by_patch
    reduced = np.frombuffer(found["features/reduced"].data, np.float32).reshape(16, 16, 16)
    assert abs(names["reduced_features"](found["features"], str(basis)) - reduced).max() < 0.02
    by_cloud = names["feature_points"](found["points"], found["features/reduced"])
    by_depth = names["feature_points_from_depth"](
        found["depth/image"], found["features/reduced"], found["features/camera_info"]
    )
    assert by_cloud.shape[1] == by_depth.shape[1] == 3 + 16 and len(by_cloud) > 200 and len(by_depth) > 100
    # The same patches, by their features, lie in the same places.
    place = {tuple(point[3:]): point[:3] for point in by_cloud}
    apart = [
        np.linalg.norm(place[tuple(point[3:])] - point[:3]) for point in by_depth if tuple(point[3:]) in place
    ]
    assert len(apart) > 100 and np.median(apart) < 0.15, np.median(apart)
    turn = Transform()
    turn.translation.x, turn.rotation.z, turn.rotation.w = 1.0, np.sin(np.pi / 4), np.cos(np.pi / 4)
    np.testing.assert_allclose(names["moved"](np.array([[1.0, 0, 0, 7]]), turn), [[1, 1, 0, 7]], atol=1e-6)
    voxels = names["VoxelMap"](0.5)
    voxels.add(by_cloud)
    assert 1 < len(voxels.means()) < len(by_cloud)
    cloud = names["cloud_from_points"](by_cloud, found["points"].header)
    assert cloud.width == len(by_cloud) and len(cloud.data) == cloud.width * cloud.point_step


def test_places_and_tokens(names, as_usual):
    features, embedding = as_usual["features"], as_usual["embedding"]
    keyframes = names["Keyframes"]()
    assert keyframes.add(embedding) and not keyframes.add(embedding)
    nearest, cosine = keyframes.nearest(embedding)
    assert nearest == 0 and cosine == pytest.approx(1)
    row, column = names["patch_under"](features, 160, 200)
    x, y, cosine = names["most_alike"](features, names["directions"](features)[row, column])
    assert abs(x - 160) <= 20 and abs(y - 200) <= 15 and cosine == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError):
        names["patch_under"](features, -20, 0)
    assert names["last_hidden_state"](features, embedding).shape == (8 + 256, 192)
