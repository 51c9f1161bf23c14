"""The launch files: their arguments, what they start, and that the XML says the same as the Python."""

import re
from xml.etree import ElementTree

import pytest
import yaml
from launch_recorder import LAUNCH, LogInfo, plain, recorded
from node_process import ROOT

FILES = ("pixio.launch.py", "multi_camera.launch.py", "webcam.launch.py")
TINY = ROOT / "models" / "pixio-tiny"


@pytest.fixture
def launch(monkeypatch):
    return lambda file: recorded(monkeypatch, file)


@pytest.fixture
def xml() -> ElementTree.Element:
    return ElementTree.parse(LAUNCH / "pixio.launch.xml").getroot()


def valid_words() -> dict[str, list[str]]:
    """What config/pixio.yaml calls valid of each parameter, word by word."""
    found, comment = {}, ""
    for line in (ROOT / "config" / "pixio.yaml").read_text().splitlines():
        text = line.strip()
        if parameter := re.match(r"(?:# )?(\w+): \S", text):
            valid = re.search(r"Valid: (.*?)\. ", comment)
            found[parameter[1]] = re.split(r", | or ", valid[1]) if valid else []
        elif text.startswith("#"):
            comment += text.removeprefix("# ") + " "
        else:
            comment = ""
    return found


def test_the_xml_declares_what_the_python_declares(launch, xml):
    table = {
        argument.get("name"): (
            argument.get("default"),
            argument.get("description"),
            [choice.get("value") for choice in argument] or None,
        )
        for argument in xml.findall("arg")
    }
    assert table == launch("pixio.launch.py").table()
    assert list(table) == list(launch("pixio.launch.py").table())


def test_the_xml_sets_what_is_given_and_nothing_else(launch, xml):
    group = xml.find("group")
    given = "$(not-equals x$(var {0}) x)".format
    parameters = [name for name, *_ in launch("pixio.launch.py").module.PARAMETERS]
    # Launch reads values as YAML, where only quotes keep a text from being a number, a truth value or a map.
    read = {name: f"$(var {name})" if name == "use_sim_time" else f"'$(var {name})'" for name in parameters}
    assert [action.attrib for action in group.findall("set_parameter")] == [
        {"name": name, "value": read[name], "if": given(name)} for name in parameters
    ]
    assert [action.attrib for action in group.findall("set_remap")] == [
        {"from": "image", "to": "$(var image_topic)"},
        {"from": "camera_info", "to": "$(var camera_info_topic)", "if": given("camera_info_topic")},
    ]
    # Before the parameters, which therefore outweigh it.
    assert [action.tag for action in group][:3] == ["let", "set_parameters_from_file", "set_parameter"]
    node = group.find("node").attrib
    assert (node["name"], node["namespace"], node["respawn"]) == (
        "$(var name)",
        "$(var namespace)",
        "$(var respawn)",
    )


def test_package_and_executable_are_those_that_are_installed(launch, xml):
    package = ElementTree.parse(ROOT / "package.xml").findtext("name")
    binary = re.search(
        r"release/(\w+)\" DESTINATION lib/\$\{PROJECT_NAME\}\)", (ROOT / "CMakeLists.txt").read_text()
    )[1]
    node = xml.find("group/node")
    assert (node.get("pkg"), node.get("exec")) == (package, binary)
    for file in FILES:
        module = launch(file).module
        made = getattr(module, "pixio", module).node(
            dict.fromkeys(launch("pixio.launch.py").arguments, ""), {}, []
        )
        assert (made.package, made.executable) == (package, binary)


@pytest.mark.parametrize("file", FILES)
def test_arguments_are_described_and_their_parameters_are_the_nodes(launch, file):
    valid, loaded = valid_words(), launch(file)
    assert all(argument.description for argument in loaded.arguments.values())
    for name, *_ in getattr(loaded.module, "pixio", loaded.module).PARAMETERS:
        argument = loaded.arguments[name]
        assert name in valid and argument.default_value == ""
        if argument.choices:
            assert {choice.lower() for choice in argument.choices} == {"", *valid[name]}, name


def test_what_is_given_outweighs_the_file_and_the_rest_is_left_to_it(launch, tmp_path):
    file = tmp_path / "p.yaml"
    file.touch()
    bare = launch("pixio.launch.py").node()
    assert bare.parameters == [{}] and bare.remappings == [("image", "image")] and bare.respawn is False
    assert (bare.name, bare.namespace) == ("pixio_node", "")
    node = launch("pixio.launch.py").node(
        params_file=str(file),
        model="2024",
        use_sim_time="True",
        respawn="true",
        name="eye",
        image_topic="/front/image_raw",
        camera_info_topic="/calibration",
    )
    first, then = node.parameters
    assert first == str(file) and plain(then) == {"model": "2024", "use_sim_time": True}
    assert node.remappings == [("image", "/front/image_raw"), ("camera_info", "/calibration")]
    assert node.respawn is True and node.name == "eye"


def test_a_missing_params_file_is_named(launch):
    for file, given in zip(FILES, ({}, {"cameras": "a"}, {})):
        loaded = launch(file)
        if file == "webcam.launch.py":
            loaded.module.installed = lambda package: True
        with pytest.raises(RuntimeError, match=r"params_file: there is no file /nowhere\.yaml"):
            loaded.start(params_file="/nowhere.yaml", **given)


def test_every_camera_gets_its_own_topics(launch):
    node = launch("multi_camera.launch.py").node(
        cameras="front, left", model="m", camera_info_topic="{camera}/calibration"
    )
    parameters = plain(node.parameters[0])
    assert parameters == {"model": "m", "cameras": ["front", "left"]}
    assert parameters.keys() <= valid_words().keys()
    assert node.remappings == [
        ("front/image", "/front/image_raw"),
        ("left/image", "/left/image_raw"),
        ("front/camera_info", "front/calibration"),
        ("left/camera_info", "left/calibration"),
    ]


@pytest.mark.parametrize(
    "given, told",
    [
        ({"cameras": "front,,left"}, "cameras: 'front,,left' is no list of different names"),
        ({"cameras": "front,front"}, "cameras: 'front,front' is no list of different names"),
        ({"cameras": "front,left", "image_topic": "/image"}, "image_topic: /image lacks {camera}"),
    ],
)
def test_cameras_that_cannot_be_told_apart_are_refused(launch, given, told):
    with pytest.raises(RuntimeError, match=re.escape(told)):
        launch("multi_camera.launch.py").start(**given)


def test_cameras_must_be_named(launch):
    assert launch("multi_camera.launch.py").arguments["cameras"].default_value is None


def webcam(launch, *packages: str):
    """The webcam's file on a machine with these packages."""
    loaded = launch("webcam.launch.py")
    loaded.module.installed = packages.__contains__
    return loaded


def test_a_webcam_shows_the_small_model_with_its_heads(launch):
    for package, frame in (("usb_cam", "frame_id"), ("v4l2_camera", "camera_frame_id")):
        driver, node = webcam(launch, package).start(video_device="/dev/video2")
        assert driver.package == package and driver.namespace == "camera"
        assert driver.parameters == [{"video_device": "/dev/video2", frame: "camera_optical_frame"}]
        assert node.remappings == [("image", "/camera/image_raw")]
        assert plain(node.parameters[0]) == {
            "model": str(TINY),
            "depth_head": str(TINY / "depth.safetensors"),
            "segmentation_head": str(TINY / "segmentation.safetensors"),
        }
    assert plain(webcam(launch, "usb_cam").node(model="random:tiny").parameters[0]) == {
        "model": "random:tiny"
    }
    assert plain(webcam(launch, "usb_cam").node(depth_head="none").parameters[0])["depth_head"] == "none"


def test_without_a_driver_the_webcam_says_what_to_install(launch):
    with pytest.raises(
        RuntimeError, match=r"no driver of webcams is installed: apt install ros-.ROS_DISTRO-usb-cam or "
    ):
        webcam(launch).start()


def test_viewers_start_where_they_are_installed_and_are_named_where_not(launch):
    with_rviz = webcam(launch, "usb_cam", "tf2_ros", "rviz2").start(rviz="true", foxglove="True")
    started = {action.package: action for action in with_rviz if not isinstance(action, LogInfo)}
    assert started.keys() == {"usb_cam", "pixio_node", "tf2_ros", "rviz2"}
    layout = ROOT / "config" / "pixio.rviz"
    assert started["rviz2"].arguments == ["-d", str(layout)]
    (told,) = (action.msg for action in with_rviz if isinstance(action, LogInfo))
    assert told.startswith(
        "foxglove: not started, for foxglove_bridge is not installed: apt install ros-$ROS_DISTRO-foxglove"
    )
    fixed_frame = yaml.safe_load(layout.read_text())["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert fixed_frame in started["tf2_ros"].arguments
