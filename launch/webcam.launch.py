"""A webcam through pixio_node, to be looked at: ros2 launch pixio_node webcam.launch.py rviz:=true"""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import LogInfo
from launch.launch_description_sources import load_python_launch_file_as_module
from launch_ros.actions import Node

pixio = load_python_launch_file_as_module(str(Path(__file__).with_name("pixio.launch.py")))

SHARE = Path(__file__).absolute().parents[1]
TINY = SHARE / "models" / "pixio-tiny"
FRAME = "camera_optical_frame"
# Package, executable and the driver's name for the frame, of the drivers that publish image_raw and
# camera_info.
DRIVERS = (
    ("usb_cam", "usb_cam_node_exe", "frame_id"),
    ("v4l2_camera", "v4l2_camera_node", "camera_frame_id"),
)
# Package, executable and arguments by launch argument.
VIEWERS = {
    "rviz": ("rviz2", "rviz2", ["-d", str(SHARE / "config" / "pixio.rviz")]),
    "foxglove": ("foxglove_bridge", "foxglove_bridge", []),
}
# From a frame with x forward and z up, so that the points stand upright.
TRANSFORM = (
    "tf2_ros",
    "static_transform_publisher",
    ["--roll", "-1.5708", "--yaw", "-1.5708", "--frame-id", "camera_link", "--child-frame-id", FRAME],
)
ARGUMENTS = (
    ("video_device", "/dev/video0", "The webcam", None),
    ("rviz", "false", "Whether RViz shows what comes out", pixio.TRUE_OR_FALSE),
    ("foxglove", "false", "Whether Foxglove can connect, to ws://localhost:8765", pixio.TRUE_OR_FALSE),
    ("model", "", "As in pixio.launch.py; empty is the small model of this package, with its heads", None),
    *(argument for argument in pixio.PARAMETERS if argument[0] != "model"),
    *pixio.PROCESS,
)


def generate_launch_description():
    return pixio.description(ARGUMENTS, start)


def start(given):
    if not given["model"]:
        heads = {f"{task}_head": str(TINY / f"{task}.safetensors") for task in ("depth", "segmentation")}
        given = {**given, "model": str(TINY), **{name: given[name] or heads[name] for name in heads}}
    viewers = [(argument, VIEWERS[argument]) for argument in VIEWERS if given[argument].lower() == "true"]
    shown = [("the points' frame", TRANSFORM), *viewers] if viewers else []
    return [
        driver(given["video_device"]),
        pixio.node(given, {}, [("image", "/camera/image_raw")]),
        *(viewer(what, *program) for what, program in shown),
    ]


def driver(video_device):
    for package, executable, frame_parameter in DRIVERS:
        if installed(package):
            return Node(
                package=package,
                executable=executable,
                namespace="camera",
                output="screen",
                parameters=[{"video_device": video_device, frame_parameter: FRAME}],
            )
    packages = " or ".join(f"ros-$ROS_DISTRO-{package.replace('_', '-')}" for package, *_ in DRIVERS)
    raise RuntimeError(f"no driver of webcams is installed: apt install {packages}")


def viewer(what, package, executable, arguments):
    if not installed(package):
        return LogInfo(
            msg=f"{what}: not started, for {package} is not installed: "
            f"apt install ros-$ROS_DISTRO-{package.replace('_', '-')}"
        )
    return Node(package=package, executable=executable, arguments=arguments)


def installed(package):
    try:
        return bool(get_package_prefix(package))
    except PackageNotFoundError:
        return False
