"""The node's services, as `ros2 service call` uses them."""

import time

import numpy as np
import pictures
import pytest
from peer import until
from std_srvs.srv import SetBool, Trigger

PHOTOGRAPHS = [pictures.photograph(name, 320, 240) for name in pictures.NAMES]


class Services:
    """Clients of one node."""

    def __init__(self, node):
        self._peer = node.peer
        self._clients = {name: self._peer.node.create_client(kind, f"{node.node.name}/{name}")
                         for name, kind in (("set_enabled", SetBool), ("save_pca_basis", Trigger), ("reset_pca_basis", Trigger))}
        assert all(client.wait_for_service(10) for client in self._clients.values())
        time.sleep(0.3)

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
    n_answers, before = len(node.inboxes["features"]), node.counts()
    for _ in range(10):
        node.send(PHOTOGRAPHS[0])
        time.sleep(0.05)
    counts = until(lambda: (now := node.counts())["received"] >= before["received"] + 9 and now, 5, "the frames in the books")
    assert counts["unwanted"] >= before["unwanted"] + 9 and len(node.inboxes["features"]) == n_answers, counts
    answer = services.call("set_enabled", data=True)
    assert answer.success and answer.message == "enabled", answer
    node.ask(PHOTOGRAPHS[0])


def test_a_basis_is_thrown_away_estimated_anew_and_kept_by_asking(serving, rig, tmp_path):
    node, services = serving(namespace="/based", listen=("features/reduced",), cache=tmp_path)
    answer = services.call("save_pca_basis")
    assert not answer.success and "16 frames" in answer.message, answer

    def gathered() -> np.ndarray:
        """The reduced features of the first photograph, as soon as there is a basis."""
        for i in range(40):
            stamp = node.send(PHOTOGRAPHS[i % 4])
            if i % 4 == 0 and (found := node.inboxes["features/reduced"].answer(stamp, 0.5)):
                return np.frombuffer(found.data, np.float32)
            time.sleep(0.05)
        raise AssertionError(f"no basis after forty frames\n{node.node.tail()}")
    first = gathered()
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
        time.sleep(0.05)
        answer = services.call("save_pca_basis")
        return answer.success and answer.message
    assert until(again, 20, f"a new basis\n{node.node.tail()}") != saved
    second = np.frombuffer(node.ask(PHOTOGRAPHS[0], "features/reduced").data, np.float32)
    assert first.shape == second.shape and not np.allclose(first, second, atol=1e-3)
    # The next start has the one that was kept.
    node.node.stop()
    other = rig(namespace="/based_again", listen=("features/reduced",), cache=tmp_path)
    third = np.frombuffer(other.ask(PHOTOGRAPHS[0], "features/reduced").data, np.float32)
    np.testing.assert_allclose(third, second, atol=1e-3)
