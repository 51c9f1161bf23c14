"""Faults of the network: interfaces that go and come, and packets that are lost."""

import os
import re
import subprocess

import images
from networks import Host
from node_process import Node
from waiting import until

from .trial import NAMESPACE, Fault, Impossible, Trial

NETWORK = {"ROS_LOCALHOST_ONLY": None, "ROS_AUTOMATIC_DISCOVERY_RANGE": None}
# It drops what exceeds three datagrams of 64 KB.
SHORT_QUEUE = ("tbf", "rate", "100mbit", "burst", "100kb", "limit", "100kb")
LARGE = images.photograph("rocket", 640, 480)
N_LOSSY = 20
DEFAULT_ROUTE = "ip route add default via 10.88.0.2"


def hosts(trial: Trial) -> tuple[Host, Host]:
    made = Host(), Host()
    for host in made:
        trial.at_end(host.close)
    return made


def linked(trial: Trial) -> tuple[Host, Node]:
    """A host with a network, and a node in it."""
    own, other = hosts(trial)
    own.link(other, "one", "10.88.0.1", "10.88.0.2")
    own.do(DEFAULT_ROUTE)
    return own, trial.keep(own.node(remaps=(), namespace=NAMESPACE, env=NETWORK))


def ended_by_network(trial: Trial, node: Node, said: str):
    """The network has just been changed, at which the node ends."""
    trial.injected()
    trial.ends(node, 1, said)
    trial.note(f"ended {trial.since_secs():.1f} s after it")


def goes(trial: Trial):
    own, node = linked(trial)
    own.do("ip link delete one")
    ended_by_network(trial, node, "the network has changed: 10.88.0.1")


def changes(trial: Trial):
    own, node = linked(trial)
    own.do("ip address add 10.88.0.7/24 dev one; ip address del 10.88.0.1/24 dev one")
    ended_by_network(trial, node, "the network has changed: 10.88.0.1")


def comes(trial: Trial):
    own, other = hosts(trial)
    node = trial.keep(own.node(remaps=(), namespace=NAMESPACE, env=NETWORK))
    own.link(other, "one", "10.88.0.1", "10.88.0.2")
    own.do(DEFAULT_ROUTE)
    ended_by_network(trial, node, "the network has come up")


def beside(trial: Trial):
    own, node = linked(trial)
    host = Host()
    trial.at_end(host.close)
    own.link(host, "two", "10.89.0.1", "10.89.0.2")
    node.report()
    own.do("ip link delete two")
    n = len(node.stats())
    until(lambda: len(node.stats()) > n + 15, "reports of three seconds", log=node.tail)
    trial.stops(node)


def lost_packets() -> int:
    """Packets that the loopback's queue has dropped."""
    shown = subprocess.run(["tc", "-s", "qdisc", "show", "dev", "lo"], capture_output=True, text=True)
    return int(re.search(r"dropped (\d+)", shown.stdout)[1])


def loses(trial: Trial):
    if os.environ.get("PIXIO_IN_NETNS") != "1":
        raise Impossible("there is no network namespace")
    rig = trial.rig(reliable_inboxes=True, params=("image_reliability:=reliable", "max_age:=0.0"))
    trial.serve(rig)
    if subprocess.run(
        ["tc", "qdisc", "add", "dev", "lo", "root", *SHORT_QUEUE], capture_output=True
    ).returncode:
        raise Impossible("tc cannot shorten the queue of the loopback")
    trial.at_end(lambda: subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], check=True))
    trial.injected()
    for _ in range(N_LOSSY):
        # Each image is sent once.
        stamp = rig.send(LARGE)
        until(lambda stamp=stamp: rig.inboxes["features"].find(stamp), "an answer", log=rig.node.tail)
        trial.answered()
    n = lost_packets()
    trial.note(f"{n} packets were lost")
    assert n > N_LOSSY, f"only {n} packets were lost"
    trial.stops(rig.node)


FAULTS = [
    Fault(
        "interface goes",
        "the network device is deleted",
        "exit code 1 and the address, so that a launch file starts it again",
        goes,
    ),
    Fault(
        "address changes",
        "the interface gets another address",
        "exit code 1 and the address",
        changes,
    ),
    Fault(
        "interface comes",
        "a start before the network",
        "exit code 1 once there is a network",
        comes,
    ),
    Fault(
        "interface comes and goes beside it",
        "a second network device is added and deleted",
        "nothing happens",
        beside,
    ),
    Fault(
        "packets are lost",
        "a queue of the loopback that is shorter than an image; reliable camera and subscriber",
        "every image is answered, though each is sent once",
        loses,
    ),
]
