"""One camera through pixio_node: ros2 launch pixio_node pixio.launch.py image_topic:=/camera/image_raw model:=DIR"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# name, default, description, choices. An empty one is left to params_file and the node's own default.
ARGUMENTS = (
    ("image_topic", "image", "Pictures to read, without the transport's suffix", None),
    ("camera_info_topic", "", "Calibration to read; empty is camera_info beside the pictures", None),
    ("image_transport", "", "How pictures come; empty is raw", ("", "raw", "compressed")),
    ("model", "", "Model folder, cached Hugging Face id or random:NAME; here or in params_file", None),
    ("engine", "", "auto, eager or an engine folder; empty is auto", None),
    ("depth_head", "", "Head file that makes depth and points; empty is none", None),
    ("segmentation_head", "", "Head file that makes labels; empty is none", None),
    ("device", "", "auto, cpu, cuda or cuda:N; empty is auto", None),
    ("precision", "", "Arithmetic of the model; empty is auto", ("", "auto", "float32", "bfloat16", "float16", "int8")),
    ("params_file", "", "YAML file with more parameters; what is given here outweighs it", None),
    ("namespace", "", "Namespace of the node", None),
    ("name", "pixio_node", "Name of the node", None),
    ("log_level", "info", "Least severe messages that are logged", ("debug", "info", "warn", "error", "fatal")),
    ("use_sim_time", "false", "Whether time comes from /clock", ("true", "false")),
    ("respawn", "false", "Whether a node that ends is started again", ("true", "false")),
)
PARAMETERS = ("image_transport", "model", "engine", "depth_head", "segmentation_head", "device", "precision")


def generate_launch_description():
    declared = [DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)
                for name, default, description, choices in ARGUMENTS]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context):
    given = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    parameters = {name: given[name] for name in PARAMETERS if given[name]} | {"use_sim_time": given["use_sim_time"] == "true"}
    remappings = [("image", given["image_topic"])]
    if given["camera_info_topic"]:
        remappings.append(("camera_info", given["camera_info_topic"]))
    return [Node(package="pixio_node", executable="pixio_node", name=given["name"], namespace=given["namespace"], output="screen",
                 parameters=[*filter(None, [given["params_file"]]), parameters], remappings=remappings,
                 ros_arguments=["--log-level", given["log_level"]], respawn=given["respawn"] == "true", respawn_delay=2.0)]
