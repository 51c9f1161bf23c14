"""Parameters through the node's services, as `ros2 param` uses them."""

import time

import pictures
import pytest
from rcl_interfaces.msg import ParameterType
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient

PHOTOGRAPH = pictures.photograph("coffee", 320, 240)


@pytest.fixture(scope="module")
def node(peer):
    from rig import Rig
    made = Rig(peer, namespace="/tuned", camera="/tuned_camera/image_raw", params=("max_rate:=50.0", "reduced_channels:=8"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(node):
    made = AsyncParameterClient(node.peer.node, node.node.name)
    assert made.wait_for_services(10)
    time.sleep(0.3)
    return made


def ask(node, call, *arguments):
    """The answer; a first call right after the match may get lost, so there are three tries."""
    for _ in range(3):
        future = call(*arguments)
        try:
            return node.peer.result(future, 3)
        except AssertionError:
            continue
    raise AssertionError("no answer to three calls")


def values(node, client, *names):
    answer = ask(node, client.get_parameters, list(names))
    return [(v.type, v) for v in answer.values]


def test_get_tells_what_was_given_and_the_defaults(node, client):
    (rate_type, rate), (channels_type, channels), (model_type, model), (fit_type, fit) = values(
        node, client, "max_rate", "reduced_channels", "model", "fit")
    assert (rate_type, rate.double_value) == (ParameterType.PARAMETER_DOUBLE, 50.0)
    assert (channels_type, channels.integer_value) == (ParameterType.PARAMETER_INTEGER, 8)
    assert (model_type, model.string_value) == (ParameterType.PARAMETER_STRING, "random:tiny")
    assert (fit_type, fit.string_value) == (ParameterType.PARAMETER_STRING, "stretch")


def test_list_holds_every_parameter(node, client):
    names = set(ask(node, client.list_parameters).result.names)
    expected = {"model", "device", "precision", "size", "fit", "resize_filter", "layer", "image_transport", "image_reliability",
                "output_reliability", "network_interface", "max_rate", "features_dtype", "reduced_channels", "pca_basis"}
    assert expected <= names


def test_max_rate_changes_while_the_node_runs(node, client):
    assert ask(node, client.set_parameters, [Parameter("max_rate", value=2.0)]).results[0].successful
    assert values(node, client, "max_rate")[0][1].double_value == 2.0
    inbox = node.inboxes["features"]
    n_before = len(inbox)
    for _ in range(60):
        node.send(PHOTOGRAPH)
        time.sleep(0.05)
    time.sleep(0.3)
    n_answers = len(inbox) - n_before
    assert 4 <= n_answers <= 9, f"{n_answers} answers in three seconds at two a second"
    assert ask(node, client.set_parameters, [Parameter("max_rate", value=0.0)]).results[0].successful
    node.ask(PHOTOGRAPH)


# parameter, what the answer must name
REFUSALS = [
    (Parameter("model", value="random:vitb16"), "model"),
    (Parameter("size", value="512x512"), "size"),
    (Parameter("max_rate", value=-1.0), "max_rate"),
    (Parameter("max_rate", value="fast"), ""),
]


@pytest.mark.parametrize(("parameter", "says"), REFUSALS, ids=[f"{p.name}={p.value}" for p, _ in REFUSALS])
def test_what_cannot_change_is_refused_with_a_reason(node, client, parameter, says):
    before = values(node, client, parameter.name)
    result = ask(node, client.set_parameters, [parameter]).results[0]
    assert not result.successful and result.reason and says in result.reason, result
    assert values(node, client, parameter.name) == before
    node.ask(PHOTOGRAPH)


def test_an_unknown_parameter_is_refused(node, client):
    result = ask(node, client.set_parameters, [Parameter("max_rat", value=1.0)]).results[0]
    assert not result.successful, result


def test_a_parameter_file_is_read(rig, tmp_path):
    file = tmp_path / "pixio.yaml"
    file.write_text("/**:\n  ros__parameters:\n    features_dtype: float32\n    size: 336x192\n")
    node = rig(files=(file,))
    message = node.ask(PHOTOGRAPH)
    # The file was given after the option --size, and the last one given wins.
    assert (message.dtype, message.grid_width, message.grid_height) == ("float32", 21, 12)
