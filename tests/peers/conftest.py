"""Fixtures of the peers' tests. Run them by `scripts/in-netns .venv/bin/python -m pytest tests/peers`."""

import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Here and in the programs that tests start, the repository's own Python comes before an installed copy of it.
FOLDERS = [str(HERE), str(HERE.parents[1] / "python")]
sys.path[:0] = FOLDERS
os.environ["PYTHONPATH"] = ":".join(FOLDERS)
from networks import enter_own

# Workers run files side by side: each has a network and a domain of its own, from before rclpy is loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    enter_own()
# Before rclpy is loaded: a domain of this run's own.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 90)
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="ros-log-"))

import messages  # noqa: F401  (pixio_node.msg)
import pytest
import vision_messages  # noqa: F401  (vision_msgs.msg)
from peer import Peer
from rig import Rig
from shell import Shell

# The files that take longest, which begin first: whoever begins one last is waited for.
LONGEST = (
    "test_engine_builds",
    "test_rooms",
    "test_calibration",
    "test_live_sources",
    "test_live",
    "test_engines",
    "test_cross_compile",
    "test_transport",
    "test_tiny_model",
    "test_package",
    "test_hostile_packets",
    "test_training",
    "test_streams",
    "test_cameras",
    "test_slow_model",
    "test_real_stereo",
    "test_signals",
    "test_pages",
)


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="module")
def browser():
    """Chromium."""
    from live_browser import BROWSER_OPTIONS, browser_path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=browser_path(), args=list(BROWSER_OPTIONS))
        yield made
        made.close()


@pytest.fixture(scope="module")
def peer():
    made = Peer()
    yield made
    made.close()


@pytest.fixture
def rig(peer):
    """Starts nodes with a camera and inboxes; what a test has started ends with it."""
    rigs = []

    def start(**options) -> Rig:
        rigs.append(Rig(peer, **options))
        return rigs[-1]

    yield start
    for started in rigs:
        started.close()


@pytest.fixture(scope="module")
def small_model(tmp_path_factory) -> Path:
    """A random model of four blocks."""
    from training_data import model_folder

    return model_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def boxes(tmp_path_factory) -> Path:
    """A data set of six images, with depth and labels."""
    from training_data import data_folder

    return data_folder(tmp_path_factory.mktemp("data") / "boxes")


@pytest.fixture
def shell(tmp_path) -> Shell:
    """The functions of scripts/ where programs can be stood in for."""
    return Shell(tmp_path)
