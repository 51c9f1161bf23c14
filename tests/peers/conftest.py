"""Fixtures of the peers' tests. Run them by `scripts/in-netns .venv/bin/python -m pytest tests/peers`."""

import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from networks import enter_own  # noqa: E402

# Workers run files side by side: each has a network and a domain of its own, from before rclpy is loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    enter_own()
# Before rclpy is loaded: a domain of this run's own.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 90)
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="ros-log-"))

import messages  # noqa: E402, F401  (pixio_node.msg from here on)
import pytest  # noqa: E402
import vision_messages  # noqa: E402, F401  (vision_msgs.msg)
from peer import Peer  # noqa: E402
from rig import Rig  # noqa: E402
from shell import Shell  # noqa: E402


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


@pytest.fixture
def shell(tmp_path) -> Shell:
    """The functions of scripts/ where programs can be stood in for."""
    return Shell(tmp_path)
