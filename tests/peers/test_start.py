"""What stops the start: one message that names the thing and the way out, and exit code 2. And what a start
says."""

import signal
import time

import checkpoints
import images
import pytest
from node_process import Node, logged_at, run
from pixio_node.msg import PatchFeatures
from sensor_msgs.msg import Image
from waiting import repeat, until

# how the folder is spoilt, what the message must name
FOLDERS = [
    (checkpoints.without_weights, ["safetensors"]),
    (checkpoints.without_config, ["config.json"]),
    (checkpoints.with_a_wrong_shape, ["model.safetensors", "layernorm.weight", "65", "64"]),
    (checkpoints.with_a_tensor_missing, ["model.safetensors", "layernorm.bias"]),
    (checkpoints.with_nan, ["model.safetensors", "layernorm.weight"]),
    (checkpoints.cut_in_half, ["model.safetensors"]),
    (checkpoints.only_a_pickle, ["pytorch_model.bin", "pixio-convert-checkpoint"]),
    (checkpoints.empty, ["model.safetensors"]),
    (lambda path: path, []),
]


def refused(done, *names):
    said = done.stderr
    assert done.returncode == 2, f"exit code {done.returncode}\n{said}"
    for name in names:
        assert name in said, f"{name!r} is not in\n{said}"
    assert "panicked" not in said and "RUST_BACKTRACE" not in said, said
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("spoil", "names"), FOLDERS, ids=[getattr(row[0], "__name__", "") for row in FOLDERS]
)
def test_a_spoilt_model_folder_stops_the_start(tmp_path, spoil, names):
    model = spoil(tmp_path / "spoilt")
    refused(run("run", "--model", model, "--size", "64x64"), *names, "spoilt")


def test_a_good_folder_serves(tmp_path, rig):
    node = rig(model=checkpoints.folder(tmp_path / "narrow"), size="64x64")
    message = node.ask(images.photograph("coffee", 320, 240))
    assert (message.model, message.channels, message.grid_width) == ("narrow", 64, 4)


# lines under ros__parameters, key of the node, what the message must name
FILES = [
    ("max_raet: 5.0", "/cam/pixio_node", ["max_raet", "max_rate"]),
    ("max_raet: 5.0", "/**", ["max_raet", "max_rate"]),
    ("modle: random:tiny", "/cam/*", ["modle", "model"]),
    ("max_rate: fast", "/**", ["max_rate", "fast"]),
    ("size: 250x256", "/**", ["size", "250", "16"]),
    ("fit: strech", "/**", ["fit", "strech", "stretch"]),
    ("reduced_channels: 65", "/**", ["reduced_channels", "64"]),
    ("completely_unrelated: 1", "/cam/pixio_node", ["completely_unrelated"]),
    ("max_rate: [1.0", "/**", []),
]


@pytest.mark.parametrize(("line", "key", "names"), FILES, ids=[f"{row[1]} {row[0]}" for row in FILES])
def test_a_mistake_in_a_parameter_file_stops_the_start(tmp_path, line, key, names):
    file = tmp_path / "camera.yaml"
    file.write_text(f"{key}:\n  ros__parameters:\n    {line}\n")
    done = run("run", "--model", "random:tiny", "--ros-args", "-r", "__ns:=/cam", "--params-file", file)
    refused(done, "camera.yaml", *names)


def test_an_unrelated_name_under_a_wildcard_is_one_warning(tmp_path, rig):
    file = tmp_path / "shared.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    exposure_of_the_other_node: 3\n    use_sim_time: false\n"
        "    qos_overrides:\n      /tf:\n        subscription:\n          depth: 7\n"
    )
    node = rig(files=(file,))
    warnings = [line for line in node.node.output.lines if "exposure_of_the_other_node" in line]
    assert len(warnings) == 1 and "WARN" in warnings[0]
    assert not any("qos_overrides" in line for line in node.node.output.lines)


# arguments, what the message must name
ARGUMENTS = [
    ([], ["model", "random:tiny"]),
    (["--model", "random:enormous"], ["enormous", "tiny"]),
    (["--model", "random:tiny", "--sise", "256x256"], ["--sise", "--size"]),
    (["--model", "random:tiny", "--ros-args", "-p", "max_raet:=5.0"], ["max_raet", "max_rate"]),
    (["--model", "random:tiny", "--ros-args", "-p", "max_rate:=true"], ["max_rate"]),
    (["--model", "random:tiny", "--ros-args", "-p", "max_rate"], ["max_rate"]),
    (["--model", "random:tiny", "--ros-args", "-r", "__ns:=not/absolute"], ["not/absolute"]),
    (["--model", "random:tiny", "--layer", "5"], ["layer", "4"]),
    (["--model", "random:tiny", "--network-interface", "203.0.113.9"], ["203.0.113.9"]),
    (["--model", "random:tiny", "--pca-basis", "/nowhere/basis.safetensors"], ["/nowhere/basis.safetensors"]),
    (["--model", "nobody/nothing"], ["nobody/nothing"]),
    (
        ["--model", "random:tiny", "--stats-file", "/nonexistent/x.jsonl"],
        ["stats_file", "/nonexistent/x.jsonl"],
    ),
]


@pytest.mark.parametrize(
    ("arguments", "names"), ARGUMENTS, ids=[" ".join(row[0]) or "none" for row in ARGUMENTS]
)
def test_a_mistake_on_the_command_line_stops_the_start(arguments, names):
    refused(run("run", *arguments), *names)


def test_a_domain_that_does_not_exist_stops_the_start():
    refused(run("run", "--model", "random:tiny", ROS_DOMAIN_ID="900"), "ROS_DOMAIN_ID", "900")


# rules, what the message must name
REMAPS = [
    (["~/features:=/clock"], ["~/features", "/clock"]),
    (["~/embedding:=/rosout"], ["~/embedding", "/rosout"]),
    (["~/features:=/diagnostics"], ["~/features", "/diagnostics"]),
    (["~/features:=/parameter_events"], ["~/features", "/parameter_events"]),
    (["~/features:=/x", "~/embedding:=/x"], ["~/features", "~/embedding", "/x"]),
]


@pytest.mark.parametrize(("rules", "names"), REMAPS, ids=[" ".join(rules) for rules, _ in REMAPS])
def test_an_output_without_a_topic_of_its_own_stops_the_start(tmp_path, rules, names):
    options = ("--model", "random:tiny", "--device", "cpu", "--size", "64x64", "--ros-args")
    done = run(
        "run", *options, *(part for rule in rules for part in ("-r", rule)), XDG_CACHE_HOME=str(tmp_path)
    )
    refused(done, *names, "remap")


def test_help_and_version_are_no_errors():
    for argument, word in (("--help", "infer"), ("--version", "pixio_node")):
        done = run(argument)
        assert done.returncode == 0 and word in done.stdout


def test_random_weights_are_said_loudly():
    with Node() as node:
        warnings = [line for line in node.output.lines if "WARN" in line and "random" in line.lower()]
        assert len(warnings) == 1 and "random:tiny" in warnings[0], node.tail()
        assert node.stop() == 0


def test_a_node_that_is_stopped_while_it_loads_never_gets_ready():
    def stopped_while_it_loads() -> bool:
        """Stops a node, and whether it was still loading: it may be faster than we are."""
        with Node(model="random:vitl16").spawn() as node:
            assert node.wait_for_line(r"random:vitl16"), node.tail()
            asked = time.time()
            assert node.stop(signal.SIGINT) == 0, node.tail()
            ready = next((line for line in node.output.lines if "ready:" in line), None)
            assert not ready or logged_at(ready) < asked, node.tail()
            return not ready

    until(stopped_while_it_loads, "a node that is stopped while it loads")


def test_a_log_level_silences_what_is_below_it(peer):
    node = Node(
        namespace="/quiet", remaps=("image:=/quiet_camera/image_raw",), ros_args=("--log-level", "error")
    )
    camera = peer.publisher(Image, "/quiet_camera/image_raw")
    inbox = peer.inbox(PatchFeatures, "/quiet/pixio_node/features")
    image = images.photograph("coffee", 320, 240)

    def send():
        camera.publish(images.image(image, peer.stamp()))
        # Refused frames are warned about.
        camera.publish(images.image(image, peer.stamp(), encoding="jpeg2000"))

    try:
        with node.spawn():
            repeat(
                send,
                lambda: len(inbox) and any(line["counts"]["refused"] for line in node.stats()),
                "features of the quiet node",
                every_secs=0.1,
            )
            assert node.stop() == 0
            assert node.output.lines == []
    finally:
        peer.drop(inbox)
        peer.node.destroy_publisher(camera)
