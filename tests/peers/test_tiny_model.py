"""models/pixio-tiny through the running node: what the topics say of rooms that it has never seen, against
the truth."""

import numpy as np
import pytest
import rooms_data
import torch
from recording import Recording
from test_dense import points

TOPICS = ("depth/image", "segmentation/image", "points")
# Every tenth of the held-out images: forty, of all rooms.
STEP = 10


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Recording:
    """A data set of its own, so that the tools judge the same images."""
    whole, some = rooms_data.held_out(), tmp_path_factory.mktemp("held-out")
    for part in ("rgb", "depth", "labels"):
        (some / part).mkdir()
        for file in sorted((whole / part).iterdir())[::STEP]:
            (some / part / file.name).symlink_to(file)
    for name in ("camera.yaml", "classes.yaml"):
        (some / name).symlink_to(whole / name)
    return Recording.open(some)


@pytest.fixture(scope="module")
def answers(peer, recording) -> dict[str, dict]:
    """By topic and number of the image."""
    from rig import Rig

    node = Rig(peer, model=str(rooms_data.TINY), listen=TOPICS, options=rooms_data.HEADS)
    try:
        found = {topic: {} for topic in TOPICS}
        for i, rgb in enumerate(recording.rgb):
            # The calibration is the same for all, and is there from the first answer with points on.
            shown = node.answers(rgb, camera_info=recording.camera_info(peer.stamp()))
            for topic, message in shown.items():
                found[topic][i] = message
        return found
    finally:
        node.close()


def test_depth_from_the_topic_is_as_good_as_the_tools_say(recording, answers, tmp_path):
    found, told = (
        recording.depth_figures(answers["depth/image"]),
        rooms_data.evaluated("depth", recording.folder, tmp_path / "figures.json"),
    )
    assert found["pixels"] == told["pixels"] > 2_000_000
    assert [found["abs_rel"], found["delta1"]] == pytest.approx([told["abs_rel"], told["delta1"]], rel=0.02)


def test_labels_from_the_topic_are_as_good_as_the_tools_say(recording, answers, tmp_path):
    found, told = (
        recording.label_figures(answers["segmentation/image"]),
        rooms_data.evaluated("segmentation", recording.folder, tmp_path / "figures.json"),
    )
    assert found["pixels"] == told["pixels"] > 2_000_000
    assert found["miou"] == pytest.approx(told["miou"], rel=0.02)


def test_points_lie_on_the_surfaces_of_the_scene(recording, answers):
    rays = rooms_data.rays(recording.camera)
    away, range_m = [], []
    for i, message in answers["points"].items():
        cloud = points(message)
        found = np.stack([cloud["x"], cloud["y"], cloud["z"]], -1).reshape(-1, 3)
        assert np.isfinite(found).all()
        surface = (rays * recording.depth(i)[..., None])[::2, ::2].reshape(-1, 3)
        nearest = (
            torch.cdist(torch.from_numpy(found).double(), torch.from_numpy(surface)).min(1).values.numpy()
        )
        away.append(nearest)
        range_m.append(found[:, 2])
    away, range_m = np.concatenate(away), np.concatenate(range_m)
    # As far off as the depth is wrong, and no farther: wrong rays would add to it.
    relative = away / range_m
    assert np.median(relative) < 0.08 and np.percentile(relative, 90) < 0.3, (
        np.median(relative),
        np.percentile(relative, 90),
    )
