"""The node's services, as `ros2 service call` uses them."""

import itertools

import images
import numpy as np
import pytest
from peer import nanos
from std_srvs.srv import SetBool, Trigger
from waiting import repeat, until

PHOTOGRAPHS = [images.photograph(name, 320, 240) for name in images.NAMES]


class Services:
    """Clients of one node."""

    def __init__(self, node):
        self._peer = node.peer
        self._clients = {
            name: self._peer.node.create_client(kind, f"{node.node.name}/{name}")
            for name, kind in (
                ("set_enabled", SetBool),
                ("save_pca_basis", Trigger),
                ("reset_pca_basis", Trigger),
            )
        }
        self._peer.meet(lambda: all(client.service_is_ready() for client in self._clients.values()))

    def call(self, name: str, **fields):
        client = self._clients[name]
        return self._peer.ask(client.call_async, client.srv_type.Request(**fields))

    def close(self):
        for client in self._clients.values():
            self._peer.node.destroy_client(client)


@pytest.fixture
def serving(rig):
    made = []

    def start(**options):
        node = rig(**options)
        made.append(Services(node))
        return node, made[-1]

    yield start
    for services in made:
        services.close()


def test_a_node_that_is_not_enabled_counts_frames_and_serves_none(serving):
    node, services = serving(namespace="/switched")
    node.ask(PHOTOGRAPHS[0])
    answer = services.call("set_enabled", data=False)
    assert answer.success and "not enabled" in answer.message, answer
    off, before = nanos(node.peer.stamp()), node.settled()
    node.feed(
        PHOTOGRAPHS[0],
        lambda: node.counts()["unwanted"] >= before["unwanted"] + 10,
        "ten frames that are not served",
    )
    after, on = node.settled(), nanos(node.peer.stamp())
    assert after["unwanted"] - before["unwanted"] == after["received"] - before["received"], (before, after)
    answer = services.call("set_enabled", data=True)
    assert answer.success and answer.message == "enabled", answer
    node.ask(PHOTOGRAPHS[0])
    assert not any(off <= nanos(message.header.stamp) < on for message in node.inboxes["features"].messages)


def test_a_basis_is_thrown_away_estimated_anew_and_kept_by_asking(serving, rig, tmp_path):
    node, services = serving(namespace="/based", listen=("features/reduced",), cache=tmp_path)
    answer = services.call("save_pca_basis")
    assert not answer.success and "16 frames" in answer.message, answer

    shown = itertools.cycle(PHOTOGRAPHS)
    repeat(
        lambda: node.send(next(shown)),
        lambda: len(node.inboxes["features/reduced"]),
        "a basis",
        every_secs=0.05,
        log=node.node.tail,
    )
    first = np.frombuffer(node.ask(PHOTOGRAPHS[0], "features/reduced").data, np.float32)
    file = next((tmp_path / "pixio_node" / "pca").iterdir())
    file.unlink()
    answer = services.call("save_pca_basis")
    assert answer.success and str(file) in answer.message and file.exists(), answer
    saved = answer.message

    answer = services.call("reset_pca_basis")
    assert answer.success and "16 frames" in answer.message, answer

    # Over one photograph alone the components are others.
    def again():
        node.send(PHOTOGRAPHS[0])
        answer = services.call("save_pca_basis")
        return answer.success and answer.message

    assert until(again, "a new basis", log=node.node.tail) != saved
    second = np.frombuffer(node.ask(PHOTOGRAPHS[0], "features/reduced").data, np.float32)
    assert first.shape == second.shape and not np.allclose(first, second, atol=1e-3)
    # The next start has the one that was kept.
    node.node.stop()
    other = rig(namespace="/based_again", listen=("features/reduced",), cache=tmp_path)
    third = np.frombuffer(other.ask(PHOTOGRAPHS[0], "features/reduced").data, np.float32)
    np.testing.assert_allclose(third, second, atol=1e-3)
