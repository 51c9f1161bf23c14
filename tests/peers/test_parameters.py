"""Parameters through the node's services, as `ros2 param` uses them."""

import io

import images
import numpy as np
import pytest
import yaml
from cameras import answered, no_faster
from peer import nanos
from PIL import Image as Pillow
from rcl_interfaces.msg import ParameterType
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient

PHOTOGRAPH = images.photograph("coffee", 320, 240)


@pytest.fixture(scope="module")
def node(peer):
    from rig import Rig

    made = Rig(
        peer,
        namespace="/tuned",
        camera="/tuned_camera/image_raw",
        params=("max_rate:=50.0", "reduced_channels:=8"),
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(node):
    made = AsyncParameterClient(node.peer.node, node.node.name)
    node.peer.meet(made.services_are_ready)
    return made


def values(node, client, *names):
    answer = node.peer.ask(client.get_parameters, list(names))
    return [(v.type, v) for v in answer.values]


def test_get_tells_what_was_given_and_the_defaults(node, client):
    (rate_type, rate), (channels_type, channels), (model_type, model), (fit_type, fit) = values(
        node, client, "max_rate", "reduced_channels", "model", "fit"
    )
    assert (rate_type, rate.double_value) == (ParameterType.PARAMETER_DOUBLE, 50.0)
    assert (channels_type, channels.integer_value) == (ParameterType.PARAMETER_INTEGER, 8)
    assert (model_type, model.string_value) == (ParameterType.PARAMETER_STRING, "random:tiny")
    assert (fit_type, fit.string_value) == (ParameterType.PARAMETER_STRING, "stretch")


def test_an_answer_longer_than_a_datagram_arrives_and_so_does_the_next(node, client):
    names = list(node.peer.ask(client.list_parameters).result.names) * 20
    described = node.peer.ask(client.describe_parameters, names).descriptors
    assert [descriptor.name for descriptor in described] == names
    assert sum(len(descriptor.description) for descriptor in described) > 1 << 16
    for _ in range(2):
        [result] = node.peer.ask(client.set_parameters, [Parameter("x" * 100_000, value=1)]).results
        assert not result.successful and len(result.reason) > 1 << 16
    assert values(node, client, "max_rate")[0][1].double_value == 50.0


def test_list_holds_every_parameter(node, client):
    names = set(node.peer.ask(client.list_parameters).result.names)
    expected = {
        "model",
        "device",
        "precision",
        "size",
        "fit",
        "resize_filter",
        "layer",
        "image_transport",
        "image_reliability",
        "output_reliability",
        "network_interface",
        "send_burst",
        "send_rate",
        "max_rate",
        "features_dtype",
        "reduced_channels",
        "pca_basis",
    }
    assert expected <= names


def test_max_rate_changes_while_the_node_runs(node, client):
    assert node.peer.ask(client.set_parameters, [Parameter("max_rate", value=2.0)]).results[0].successful
    assert values(node, client, "max_rate")[0][1].double_value == 2.0
    since = nanos(node.peer.stamp())

    def served() -> list | None:
        found = answered(node.inboxes["features"], since)
        return found if len(found) >= 8 else None

    assert no_faster(node.feed(PHOTOGRAPH, served, "eight answers"), 2)
    assert node.peer.ask(client.set_parameters, [Parameter("max_rate", value=0.0)]).results[0].successful
    node.ask(PHOTOGRAPH)


def test_a_whole_number_will_do_where_a_double_is_due(node, client):
    assert node.peer.ask(client.set_parameters, [Parameter("max_rate", value=30)]).results[0].successful
    (_, value), *_ = values(node, client, "max_rate")
    assert (value.type, value.double_value) == (ParameterType.PARAMETER_DOUBLE, 30.0)
    assert node.peer.ask(client.set_parameters, [Parameter("max_rate", value=0.0)]).results[0].successful


def test_what_is_dumped_can_be_loaded(node, client):
    names = node.peer.ask(client.list_parameters).result.names
    before = [parameter_value_to_python(value) for _, value in values(node, client, *names)]
    # `ros2 param load` reads each value of the file as YAML once more: 'off' becomes False.
    loaded = [Parameter(name, value=yaml.safe_load(str(value))) for name, value in zip(names, before)]
    results = node.peer.ask(client.set_parameters, loaded).results
    refused = {name: result.reason for name, result in zip(names, results) if not result.successful}
    assert refused == {} and {"engine_build", "cameras", "model"} <= set(names)
    assert [parameter_value_to_python(value) for _, value in values(node, client, *names)] == before


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
    result = node.peer.ask(client.set_parameters, [parameter]).results[0]
    assert not result.successful and result.reason and says in result.reason, result
    assert values(node, client, parameter.name) == before
    node.ask(PHOTOGRAPH)


def test_an_unknown_parameter_is_refused(node, client):
    result = node.peer.ask(client.set_parameters, [Parameter("max_rat", value=1.0)]).results[0]
    assert not result.successful, result


def test_a_parameter_file_is_read(rig, tmp_path):
    file = tmp_path / "pixio.yaml"
    file.write_text("/**:\n  ros__parameters:\n    features_dtype: float32\n    size: 336x192\n")
    node = rig(files=(file,))
    message = node.ask(PHOTOGRAPH)
    # The file was given after the option --size, and the last one given wins.
    assert (message.dtype, message.grid_width, message.grid_height) == ("float32", 21, 12)


@pytest.fixture(scope="module")
def dense(peer, tmp_path_factory):
    """A node with both heads and a client of its parameters."""
    import head_files
    from rig import Rig

    folder = tmp_path_factory.mktemp("heads")
    options = [
        text
        for task in ("depth", "segmentation")
        for text in (f"--{task}-head", str(head_files.write(folder / f"{task}.safetensors", task)))
    ]
    made = Rig(
        peer,
        namespace="/dense",
        camera="/dense_camera/image_raw",
        options=options,
        listen=(
            "features",
            "embedding",
            "depth/image",
            "points",
            "segmentation/image",
            "segmentation/overlay/compressed",
        ),
    )
    client = AsyncParameterClient(peer.node, made.node.name)
    peer.meet(client.services_are_ready)
    yield made, client
    made.close()


def set_to(node, client, name: str, value):
    result = node.peer.ask(client.set_parameters, [Parameter(name, value=value)]).results[0]
    assert result.successful, result


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("publish_features", ("features",)),
        ("publish_embedding", ("embedding",)),
        ("publish_depth", ("depth/image",)),
        ("publish_segmentation", ("segmentation/image", "segmentation/overlay/compressed")),
    ],
)
def test_outputs_go_off_and_on(dense, name, outputs):
    node, client = dense
    others = [
        other
        for other in ("features", "embedding", "depth/image", "segmentation/image")
        if other not in outputs
    ]
    set_to(node, client, name, False)
    last = node.answers(PHOTOGRAPH, *others)[others[0]]
    set_to(node, client, name, True)
    since = nanos(node.peer.stamp())
    node.answers(PHOTOGRAPH, *outputs)
    # Nothing came of what was sent while they were off.
    for output in outputs:
        stamps = {nanos(message.header.stamp) for message in node.inboxes[output].messages}
        assert not any(nanos(last.header.stamp) <= stamp < since for stamp in stamps), output


def test_depth_beyond_its_limits_is_infinite_and_no_point(dense):
    node, client = dense
    height, width = PHOTOGRAPH.shape[:2]

    def answers():
        return node.answers(
            PHOTOGRAPH,
            "depth/image",
            "points",
            camera_info=images.calibration(width, height, node.peer.stamp()),
        ).values()

    depth = np.frombuffer(next(iter(answers())).data, np.float32)
    low, high = (float(value) for value in np.quantile(depth, (0.25, 0.75)))
    set_to(node, client, "max_depth", high)
    set_to(node, client, "min_depth", low)
    image, cloud = answers()
    limited = np.frombuffer(image.data, np.float32)
    inside = (np.float32(low) <= depth) & (depth <= np.float32(high))
    assert (limited[inside] == depth[inside]).all() and 0.4 < inside.mean() < 0.6
    assert (limited[depth < np.float32(low)] == -np.inf).all() and (
        limited[depth > np.float32(high)] == np.inf
    ).all()
    z = np.frombuffer(cloud.data, np.float32).reshape(-1, cloud.point_step // 4)[:, 2]
    assert np.isnan(z).any() and low <= np.nanmin(z) and np.nanmax(z) <= high
    result = node.peer.ask(client.set_parameters, [Parameter("max_depth", value=low)]).results[0]
    assert not result.successful and "min_depth" in result.reason, result
    for name in ("min_depth", "max_depth"):
        set_to(node, client, name, 0.0)


def test_the_overlay_fades(dense):
    node, client = dense

    def overlay() -> np.ndarray:
        message = node.ask(PHOTOGRAPH, "segmentation/overlay/compressed")
        return np.asarray(Pillow.open(io.BytesIO(bytes(message.data))), np.int16)

    half = overlay()
    set_to(node, client, "overlay_opacity", 0.0)
    image = overlay()
    set_to(node, client, "overlay_opacity", 1.0)
    colors = overlay()
    assert len(np.unique(colors.reshape(-1, 3), axis=0)) <= 4 < len(np.unique(image.reshape(-1, 3), axis=0))
    assert abs(2 * half - image - colors).max() <= 2
    result = node.peer.ask(client.set_parameters, [Parameter("overlay_opacity", value=1.5)]).results[0]
    assert not result.successful and "from 0 to 1" in result.reason, result


def test_the_log_level_changes_while_the_node_runs(dense):
    node, client = dense

    def lines(encoding: str) -> list[str]:
        return [line for line in node.node.output.lines if "WARN" in line and encoding in line]

    set_to(node, client, "log_level", "error")
    before = node.counts()["refused"]
    node.feed(PHOTOGRAPH, lambda: node.counts()["refused"] > before, "a refusal", encoding="nonsense1")
    set_to(node, client, "log_level", "info")
    # One warning in five seconds.
    node.feed(PHOTOGRAPH, lambda: lines("nonsense2"), "a warning", every_secs=0.2, encoding="nonsense2")
    assert not lines("nonsense1")
