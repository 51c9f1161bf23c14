"""Several cameras through one pixio_node: ros2 launch pixio_node multi_camera.launch.py cameras:=front,left
model:=DIR"""

from pathlib import Path

from launch.launch_description_sources import load_python_launch_file_as_module
from launch_ros.parameter_descriptions import ParameterValue

pixio = load_python_launch_file_as_module(str(Path(__file__).with_name("pixio.launch.py")))

ARGUMENTS = (
    ("cameras", None, "Names of the cameras, with commas between", None),
    (
        "image_topic",
        "/{camera}/image_raw",
        "Image topic of each camera, without the transport's suffix; {camera} is its name",
        None,
    ),
    ("camera_info_topic", "", "CameraInfo topic, likewise; empty is camera_info beside the images", None),
    *pixio.PARAMETERS,
    *pixio.PROCESS,
)


def generate_launch_description():
    return pixio.description(ARGUMENTS, start)


def start(given):
    cameras = [name.strip() for name in given["cameras"].split(",")]
    if not all(cameras) or len(set(cameras)) < len(cameras):
        raise RuntimeError(f"cameras: {given['cameras']!r} is no list of different names, such as front,left")
    remappings = []
    for argument, topic in (("image_topic", "image"), ("camera_info_topic", "camera_info")):
        pattern = given[argument]
        if pattern and "{camera}" not in pattern:
            raise RuntimeError(
                f"{argument}: {pattern} lacks {{camera}}: every camera would read the same topic"
            )
        if pattern:
            remappings += [(f"{camera}/{topic}", pattern.replace("{camera}", camera)) for camera in cameras]
    return [pixio.node(given, {"cameras": ParameterValue(cameras, value_type=list[str])}, remappings)]
