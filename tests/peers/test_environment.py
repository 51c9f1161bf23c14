"""What the node makes of environment variables."""

import os
import subprocess
from pathlib import Path

import images
import pytest
from node_process import Node, run
from peer import Peer
from rig import Rig
from waiting import PATIENCE_SECS

PHOTOGRAPH = images.photograph("coffee", 320, 240)
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")

# what was given, what the running process must have
POLICIES = [
    ({}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}),
    ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ({"GOMP_SPINCOUNT": "1000"}, {"GOMP_SPINCOUNT": "1000"}),
]


@pytest.mark.parametrize(("given", "expected"), POLICIES, ids=[str(row[0]) for row in POLICIES])
def test_idle_threads_sleep_unless_the_user_said_otherwise(given, expected):
    # Threads spin or sleep as the environment said when the program was loaded: the node starts itself again,
    # in place.
    with Node(env=dict.fromkeys(WAITING) | given) as node:
        pairs = (entry.partition("=") for entry in Path(f"/proc/{node.pid}/environ").read_text().split("\0"))
        found = {name: text for name, _, text in pairs if name in WAITING}
        assert found == expected
        own = Path(f"/proc/{node.pid}/cmdline").read_text().split("\0")[:-1]
        assert own[1:] == node.arguments[1:]
        # The process that was started is the one that serves, so it is the one that a signal ends.
        assert node.stop() == 0, node.tail()


@pytest.fixture(scope="module")
def default_route():
    """A network that is not loopback, with the default route; its address. None where that cannot be made."""
    if os.environ.get("PIXIO_IN_NETNS") != "1":
        yield None
        return
    made = (
        "ip link add pixio0 type veth peer name pixio1 && ip link set pixio1 up && ip address add "
        "10.99.0.1/24 dev pixio0"
        " && ip link set pixio0 up && ip route add default dev pixio0"
    )
    works = subprocess.run(["sh", "-c", made], capture_output=True, timeout=PATIENCE_SECS).returncode == 0
    yield "10.99.0.1" if works else None
    subprocess.run(["ip", "link", "delete", "pixio0"], capture_output=True, timeout=PATIENCE_SECS)


def address(node) -> str:
    """Where the node says it is."""
    line = node.wait_for_line(r"is in ROS domain")
    assert line, node.tail()
    return line.split(" on ")[-1].strip()


def test_the_default_route_decides_when_nothing_is_set(default_route):
    if default_route is None:
        pytest.skip("no second network can be made here")
    with Node(env={"ROS_LOCALHOST_ONLY": None, "ROS_AUTOMATIC_DISCOVERY_RANGE": None}) as node:
        assert address(node) == default_route


@pytest.mark.parametrize(
    "variable",
    [("ROS_LOCALHOST_ONLY", "1"), ("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")],
    ids="=".join,
)
def test_a_node_kept_to_localhost_serves_peers_there(monkeypatch, default_route, variable):
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    monkeypatch.setenv(*variable)
    peer = Peer()
    rig = Rig(peer, namespace="/local", camera="/local_camera/image_raw")
    try:
        assert address(rig.node) == "127.0.0.1"
        rig.ask(PHOTOGRAPH)
    finally:
        rig.close()
        peer.close()


# What other nodes heed and this one does not.
IN_VAIN = {
    "RMW_IMPLEMENTATION": "rmw_zenoh_cpp",
    "ROS_DISCOVERY_SERVER": "10.0.0.1:11811",
    "ROS_SECURITY_ENABLE": "true",
    "ROS_DISTRO": "humble",
    "ROS_STATIC_PEERS": "10.0.0.1",
}
# rcl does not use peers either then.
LOCALHOST = {"ROS_LOCALHOST_ONLY": "1", "ROS_AUTOMATIC_DISCOVERY_RANGE": None}


def test_what_the_environment_asks_for_in_vain_is_one_warning_each():
    with Node(remaps=(), env=IN_VAIN | LOCALHOST) as node:
        node.report()
        warnings = [line for line in node.output.lines if "[WARN]" in line and "RANDOM WEIGHTS" not in line]
        assert node.stop() == 0, node.tail()
    for name in IN_VAIN:
        assert sum(f": {name}" in line for line in warnings) == 1, (name, warnings)
    assert len(warnings) == len(IN_VAIN), warnings
    # The library's advice is about builds of the library.
    assert not any("--features" in line or "[ERROR]" in line for line in node.output.lines), node.tail()

    rows = [
        line.split(maxsplit=2)
        for line in run("check", "--model", "random:tiny", **IN_VAIN, **LOCALHOST).stdout.splitlines()
        if " environment " in line
    ]
    texts = [line.split("pixio_node]: ")[1] for line in warnings]
    assert [text for level, _, text in rows if level == "WARN"] == texts, rows
    # What is heeded is told as well.
    heeded = [text for level, _, text in rows if level == "ok"]
    assert "ROS_LOCALHOST_ONLY=1: 1 keeps the node to this machine" in heeded, rows


@pytest.mark.parametrize(("command", "code"), [("run", 2), ("check", 1)])
def test_enforced_security_stops_the_start(command, code):
    ended = run(
        command, "--model", "random:tiny", ROS_SECURITY_ENABLE="true", ROS_SECURITY_STRATEGY="Enforce"
    )
    assert ended.returncode == code, ended
    assert "ROS_SECURITY_STRATEGY=Enforce asks for DDS security" in ended.stdout + ended.stderr, ended
    assert "joined" not in ended.stdout + ended.stderr
