"""The node with peers of another vendor: Cyclone DDS, which has its own mapping of ROS services."""

import os
import re
import subprocess
import sys
from pathlib import Path

import head_files
import images
import numpy as np
import orders
import pytest
from node_process import Node, end_with_parent, environment
from waiting import PATIENCE_SECS, repeat, until

PHOTOGRAPH = images.photograph("coffee", 320, 240)
CAMERA = "/cyclone_camera/image_raw"
# Where nothing has multicast, the loopback: known peers instead.
CONFIG = """<CycloneDDS><Domain><General><Interfaces><NetworkInterface name="lo"/></Interfaces></General>
<Discovery><ParticipantIndex>auto</ParticipantIndex><MaxAutoParticipantIndex>60</MaxAutoParticipantIndex>
<Peers><Peer address="127.0.0.1"/></Peers></Discovery></Domain></CycloneDDS>"""


class Cyclone:
    """The process of cyclone_peer.py."""

    def __init__(self):
        script = Path(__file__).with_name("cyclone_peer.py")
        env = environment(CYCLONEDDS_URI=CONFIG)
        self._process = subprocess.Popen(
            [sys.executable, str(script), os.environ["ROS_DOMAIN_ID"]],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,
        )

    def close(self):
        self._process.stdin.close()
        self._process.wait(PATIENCE_SECS)

    def __getattr__(self, command: str):
        def ask(*names, **fields):
            return orders.give(self._process, command, **dict(zip(ARGUMENTS[command], names)) | fields)

        return ask


ARGUMENTS = {
    "advertise": ("topic", "type_name"),
    "subscribe": ("topic", "type_name"),
    "matched": ("topic",),
    "take": ("topic",),
    "show": ("topic", "sec", "width", "height", "pixels"),
    "client": ("service", "package", "name"),
    "met": ("service",),
    "request": ("service", "type_name", "n"),
    "call": ("service", "client", "secs"),
}


@pytest.fixture(scope="module")
def cyclone():
    made = Cyclone()
    yield made
    made.close()


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    head = head_files.write(tmp_path_factory.mktemp("heads") / "segmentation.safetensors", "segmentation")
    with Node(
        namespace="/other_vendor", remaps=(f"image:={CAMERA}",), options=("--segmentation-head", str(head))
    ) as made:
        yield made


def answers(cyclone, node, topics: dict[str, int]) -> dict[str, dict]:
    """One answer on each topic to one image from a Cyclone camera. Every topic has one more reader that
    serves no one."""
    until(
        lambda: all(cyclone.matched(topic) for topic in (CAMERA, *topics)), "the node's ends", log=node.tail
    )
    pixels, secs, found = PHOTOGRAPH.tobytes().hex(), [], {topic: {} for topic in topics}

    def show():
        secs.append(1000 + len(secs))
        cyclone.show(CAMERA, secs[-1], 320, 240, pixels)

    def common():
        for topic in topics:
            found[topic] |= {message["header"]["stamp"]["sec"]: message for message in cyclone.take(topic)}
        return set.intersection(*(set(messages) for messages in found.values()))

    sec = min(repeat(show, common, f"{' and '.join(topics)} of an image", every_secs=1, log=node.tail))
    return {topic: messages[sec] for topic, messages in found.items()}


@pytest.mark.parametrize("reliable", [False, True], ids=["best effort", "reliable"])
def test_images_go_in_and_features_come_out(cyclone, node, reliable):
    topic = f"{node.name}/features"
    cyclone.advertise(CAMERA, "Image", reliable=reliable)
    cyclone.subscribe(topic, "PatchFeatures", reliable=reliable)
    message = answers(cyclone, node, {topic: 1})[topic]
    assert message["header"]["frame_id"] == "cyclone" and message["header"]["stamp"]["nanosec"] == 5
    assert (message["image_width"], message["image_height"], message["dtype"]) == (320, 240, "float16")
    shape = message["grid_height"], message["grid_width"], message["channels"]
    tokens = np.frombuffer(bytes.fromhex(message["data"]), np.float16).reshape(shape)
    assert np.isfinite(tokens).all() and tokens.std() > 0
    assert message["image_from_grid"][0] == pytest.approx(320 / shape[1])


def test_a_late_reader_hears_what_was_said_once(cyclone, node):
    topic = f"{node.name}/segmentation/label_info"
    cyclone.subscribe(topic, "LabelInfo", reliable=True, latched=True)
    (info,) = until(lambda: cyclone.take(topic), "the names of the classes", log=node.tail)
    assert [one["class_id"] for one in info["class_map"]] == list(range(len(info["class_map"]))) and len(
        info["class_map"]
    ) > 1


def test_diagnostics_arrive(cyclone, node):
    cyclone.subscribe("/diagnostics", "DiagnosticArray", reliable=True)
    heard = []

    def camera():
        heard.extend(status for message in cyclone.take("/diagnostics") for status in message["status"])
        return next((status for status in heard if status["name"] == f"{node.name[1:]}: camera"), None)

    assert until(camera, "the camera's status", log=lambda: str(heard[-3:]))["values"]


# A request begins with the client's own number, whose bytes stand where Fast DDS has the request itself: both
# values of a boolean, what is none, and what looks like the length of a list.
CLIENTS = [0, 1, 0x0102030405060707, 0xFFFFFFFFFFFFFFFF, 0x0000000100000001]


def client_of(cyclone, node, service: str, package: str, name: str) -> str:
    """A client that has met the service."""
    service = f"{node.name}/{service}"
    cyclone.client(service, package, name)
    until(lambda: cyclone.met(service), f"the service {service}", log=node.tail)
    return service


def call(cyclone, node, service: str, client: int, **fields) -> dict:
    """An answer. The first request after a match may be lost."""
    return until(
        lambda: cyclone.call(service, client, 3, **fields),
        f"an answer of {service} to {fields}",
        log=node.tail,
    )


@pytest.mark.parametrize("client", CLIENTS, ids=hex)
def test_a_client_sets_what_it_says(cyclone, node, client):
    service = client_of(cyclone, node, "set_enabled", "std_srvs", "SetBool")
    for data, message in (
        (False, "not enabled"),
        (True, "enabled"),
        (True, "enabled"),
        (False, "not enabled"),
        (True, "enabled"),
    ):
        answer = call(cyclone, node, service, client, data=data)
        assert (
            answer["success"]
            and message in answer["message"]
            and ("not" in answer["message"]) == ("not" in message)
        ), answer


# What is sent, and why it is no request.
SPOILT = [
    ("SetBoolRequestWithoutHeader", {"data": False}, "end of input|too short|unexpected"),
    (
        "SetBoolRequestOfMore",
        {"client": 1, "number": 1, "data": False, "more": 1},
        "only 1 of them belong to its type",
    ),
]


@pytest.mark.parametrize(("type_name", "fields", "why"), SPOILT, ids=[row[0] for row in SPOILT])
def test_what_is_no_request_is_refused_by_name_and_changes_nothing(cyclone, type_name, fields, why):
    with Node(namespace=f"/{type_name.lower()}", remaps=()) as node:
        service = client_of(cyclone, node, "set_enabled", "std_srvs", "SetBool")
        cyclone.request(service, type_name, 200, **fields)
        line = node.wait_for_line(f"{service}: a request was not answered")
        assert line and "WARN" in line and re.search(why, line, re.IGNORECASE), line or node.tail()
        # The others were counted: one line in five seconds, however many come.
        assert call(cyclone, node, service, 7, data=True)["message"] == "enabled"
        assert sum("a request was not answered" in line for line in node.output.lines) <= 2, node.tail()


def test_a_client_triggers(cyclone, node):
    service = client_of(cyclone, node, "save_pca_basis", "std_srvs", "Trigger")
    answer = call(cyclone, node, service, 7, nothing=0)
    assert not answer["success"] and "16 frames" in answer["message"], answer


@pytest.mark.parametrize("client", CLIENTS, ids=hex)
def test_a_client_gets_and_sets_parameters(cyclone, node, client):
    get = client_of(cyclone, node, "get_parameters", "rcl_interfaces", "GetParameters")
    change = client_of(cyclone, node, "set_parameters", "rcl_interfaces", "SetParameters")
    rate = float(CLIENTS.index(client) + 20)
    (result,) = call(cyclone, node, change, client, set={"max_rate": {"type": 3, "double_value": rate}})[
        "results"
    ]
    assert result["successful"], result
    found, model = call(cyclone, node, get, client, names=["max_rate", "model"])["values"]
    assert (found["type"], found["double_value"]) == (3, rate)
    assert (model["type"], model["string_value"]) == (4, "random:tiny")
    (result,) = call(
        cyclone, node, change, client, set={"model": {"type": 4, "string_value": "random:vitb16"}}
    )["results"]
    assert not result["successful"] and "read at start" in result["reason"], result


def test_the_ends_of_a_stopped_node_are_forgotten_at_once(cyclone):
    with Node(namespace="/leaving", remaps=()) as node, Node(namespace="/crashed", remaps=()) as crashed:
        left, remains = (f"{one.name}/features" for one in (node, crashed))
        for topic in (left, remains):
            cyclone.subscribe(topic, "PatchFeatures")
            until(lambda: cyclone.matched(topic), f"a publisher of {topic}")
        # Its ends stay until its lease ends. The other one's would stay longer, for its lease is younger.
        crashed.process.kill()
        assert node.stop() == 0, node.tail()
        until(lambda: not cyclone.matched(left), "the end of the publisher")
        assert cyclone.matched(remains)
