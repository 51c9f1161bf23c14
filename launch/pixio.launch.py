"""One camera through pixio_node: ros2 launch pixio_node pixio.launch.py image_topic:=/camera/image_raw
model:=DIR"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

TRUE_OR_FALSE = ["true", "false", "True", "False"]
# Name, default, description, choices. What is empty is left to params_file and the node's own default.
TOPICS = (
    ("image_topic", "image", "Image topic, without the transport's suffix", None),
    ("camera_info_topic", "", "CameraInfo topic; empty is camera_info beside the images", None),
)
PARAMETERS = (
    ("image_transport", "", "Transport of the images; empty is raw", ["", "raw", "compressed"]),
    (
        "model",
        "",
        "Model folder, cached Hugging Face id or random:NAME; required, here or in params_file",
        None,
    ),
    ("engine", "", "auto, eager or an engine folder; empty is auto", None),
    ("depth_head", "", "Head file that makes depth and points, or none; empty is none", None),
    ("segmentation_head", "", "Head file that makes labels, or none; empty is none", None),
    ("device", "", "auto, cpu, cuda or cuda:N; empty is auto", None),
    (
        "precision",
        "",
        "Arithmetic of the model; empty is auto",
        ["", "auto", "float32", "bfloat16", "float16", "int8"],
    ),
    ("log_level", "", "Least severity that is logged; empty is info", ["", "debug", "info", "warn", "error"]),
    ("use_sim_time", "", "Whether ages are by the time on /clock; empty is false", ["", *TRUE_OR_FALSE]),
)
PROCESS = (
    ("params_file", "", "YAML file with more parameters; the arguments given here override it", None),
    ("namespace", "", "Namespace of the node", None),
    ("name", "pixio_node", "Name of the node", None),
    ("respawn", "false", "Whether the node is started again two seconds after it has ended", TRUE_OR_FALSE),
)
ARGUMENTS = (*TOPICS, *PARAMETERS, *PROCESS)


def generate_launch_description():
    return description(ARGUMENTS, start)


def description(arguments, function):
    """Declares the arguments and calls `function` with what was given for them."""

    def called(context):
        return function({name: LaunchConfiguration(name).perform(context) for name, *_ in arguments})

    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, default, text, choices in arguments
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=called)])


def start(given):
    remappings = [("image", given["image_topic"])]
    if given["camera_info_topic"]:
        remappings.append(("camera_info", given["camera_info_topic"]))
    return [node(given, {}, remappings)]


def node(given, parameters, remappings):
    """The node with what was given and with `parameters`."""
    params_file = given["params_file"]
    if params_file and not Path(params_file).is_file():
        raise RuntimeError(f"params_file: there is no file {params_file}")
    # As text, for a folder may be called 2024.
    chosen = {name: ParameterValue(given[name], value_type=str) for name, *_ in PARAMETERS if given[name]}
    if given["use_sim_time"]:
        chosen["use_sim_time"] = given["use_sim_time"].lower() == "true"
    files = [params_file] if params_file else []
    return Node(
        package="pixio_node",
        executable="pixio_node",
        name=given["name"],
        namespace=given["namespace"],
        parameters=[*files, {**chosen, **parameters}],
        remappings=remappings,
        output="screen",
        respawn=given["respawn"].lower() == "true",
        respawn_delay=2.0,
    )
