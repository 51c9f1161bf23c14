"""Data sets from bags that rosbags has written: images, pairs, and depth of a second camera."""

import io
import struct

import numpy as np
import pytest
import yaml
from PIL import Image
from pixio_train.dataset import Camera, Dataset
from pixio_train.registration import registered
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from training_data import tool

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
SIZE = (12, 8)
FORMATS = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
COLOR, DEPTH, FRAME = "/camera/color/image_raw", "/camera/depth/image_raw", "color_optical"
RGB = np.random.default_rng(2).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
# Metres, whole millimetres; one pixel is unknown.
METRES = np.round(np.linspace(0.5, 4, SIZE[0] * SIZE[1]), 3).reshape(SIZE[1], SIZE[0]).astype(np.float32)
METRES[2, 3] = 0


def header(seconds: float, frame_id: str):
    nanos = round(seconds * 1e9)
    stamp = TYPES["builtin_interfaces/msg/Time"](sec=nanos // 10**9, nanosec=nanos % 10**9)
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def raw_image(pixels: np.ndarray, encoding: str, seconds: float = 1, frame_id: str = FRAME, padding: int = 0):
    """An Image whose rows end in `padding` bytes of nothing."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return TYPES["sensor_msgs/msg/Image"](
        header=header(seconds, frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(pixels.dtype.byteorder == ">"),
        step=rows.shape[1],
        data=rows.flatten(),
    )


def compressed(data: bytes, form: str, seconds: float = 1, frame_id: str = FRAME):
    message = TYPES["sensor_msgs/msg/CompressedImage"]
    return message(header=header(seconds, frame_id), format=form, data=np.frombuffer(data, np.uint8))


def info(camera: Camera, frame_id: str = FRAME):
    k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1], float)
    p = np.array([2 * camera.fx, 0, camera.cx, 0, 0, camera.fy, camera.cy, 0, 0, 0, 1, 0], float)
    roi = TYPES["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return TYPES["sensor_msgs/msg/CameraInfo"](
        header=header(1, frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k,
        r=np.eye(3).flatten(),
        p=p,
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def tf(parent: str, child: str, translation, rotation=(0.0, 0.0, 0.0, 1.0)):
    moved = TYPES["geometry_msgs/msg/Transform"](
        TYPES["geometry_msgs/msg/Vector3"](*map(float, translation)),
        TYPES["geometry_msgs/msg/Quaternion"](*map(float, rotation)),
    )
    one = TYPES["geometry_msgs/msg/TransformStamped"](
        header=header(0, parent), child_frame_id=child, transform=moved
    )
    return TYPES["tf2_msgs/msg/TFMessage"](transforms=[one])


def bag(path, messages: list, storage: str = "mcap"):
    """`messages` are topics with a message, recorded one millisecond after the other."""
    with Writer(path, version=9, storage_plugin=FORMATS[storage]) as writer:
        connections = {}
        for i, (topic, message) in enumerate(messages):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            writer.write(
                connections[topic], 10**9 + i * 10**6, STORE.serialize_cdr(message, message.__msgtype__)
            )
    return path


def convert(path, out, *options):
    tool("dataset_from_bag", path, out, "--color", COLOR, "--depth", DEPTH, *options)
    return Dataset.open(out, "depth").images


def file(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


ALPHA = np.full((*RGB.shape[:2], 1), 9, np.uint8)
GRAY = RGB[:, :, 0]
JPEG = file(RGB, "JPEG", quality=95)
# message, pixels that it means
COLORS = {
    "rgb8": (raw_image(RGB, "rgb8", padding=5), RGB),
    "bgr8": (raw_image(RGB[:, :, ::-1], "bgr8"), RGB),
    "rgba8": (raw_image(np.concatenate([RGB, ALPHA], 2), "rgba8"), RGB),
    "bgra8": (raw_image(np.concatenate([RGB[:, :, ::-1], ALPHA], 2), "bgra8"), RGB),
    "mono8": (raw_image(GRAY, "mono8", padding=3), np.stack([GRAY] * 3, 2)),
    "png": (compressed(file(RGB), "rgb8; png compressed bgr8"), RGB),
    "jpeg": (compressed(JPEG, "rgb8; jpeg compressed bgr8"), np.asarray(Image.open(io.BytesIO(JPEG)))),
}
MILLIMETRES = np.rint(METRES * 1000).astype(np.uint16)
UNKNOWN = np.where(METRES > 0, METRES, np.nan).astype(np.float32)
# depth = a / (q - b), as image_transport quantizes with its defaults: a = 100 * 101, b = 1 - a / 10.
A, B = 100 * 101.0, 1 - 100 * 101.0 / 10
QUANTIZED = np.where(METRES > 0, np.rint(A / np.where(METRES > 0, METRES, 1) + B), 0).astype(np.uint16)
# message, largest error in millimetres
DEPTHS = {
    "16UC1": (raw_image(MILLIMETRES, "16UC1", padding=6), 0),
    "16UC1 big endian": (raw_image(MILLIMETRES.astype(">u2"), "16UC1"), 0),
    "32FC1": (raw_image(UNKNOWN, "32FC1"), 0),
    "png": (compressed(file(MILLIMETRES), "16UC1; png compressed "), 0),
    "compressedDepth 16UC1": (compressed(bytes(12) + file(MILLIMETRES), "16UC1; compressedDepth png"), 0),
    "compressedDepth 32FC1": (
        compressed(struct.pack("<iff", 1, A, B) + file(QUANTIZED), "32FC1; compressedDepth png"),
        2,
    ),
}


@pytest.mark.parametrize("storage", FORMATS)
@pytest.mark.parametrize("encoding", COLORS)
def test_color_images_keep_their_pixels(tmp_path, encoding, storage):
    message, pixels = COLORS[encoding]
    path = bag(tmp_path / "drive", [(COLOR, message), (DEPTH, DEPTHS["16UC1"][0])], storage)
    [image] = convert(path, tmp_path / "out")
    assert (np.asarray(image.pixels()) == pixels).all()
    assert image.name == "drive_1000000000" and image.rgb.suffix == (".jpg" if encoding == "jpeg" else ".png")


@pytest.mark.parametrize("storage", FORMATS)
@pytest.mark.parametrize("encoding", DEPTHS)
def test_depth_keeps_its_metres(tmp_path, encoding, storage):
    message, error_mm = DEPTHS[encoding]
    path = bag(tmp_path / "drive", [(COLOR, COLORS["rgb8"][0]), (DEPTH, message)], storage)
    [image] = convert(path, tmp_path / "out")
    assert np.abs(image.depth() - METRES).max() * 1000 <= error_mm + 0.001 and image.depth()[2, 3] == 0


def test_images_are_paired_by_stamp_and_counted(tmp_path, capsys):
    color, depth = [1.0, 1.1, 1.2, 1.21, 1.3, 5.0], [1.005, 1.105, 1.209, 1.33]
    messages = [(COLOR, raw_image(RGB + i, "rgb8", t)) for i, t in enumerate(color)]
    messages += [(DEPTH, raw_image(MILLIMETRES + 100 * i, "16UC1", t)) for i, t in enumerate(depth)]
    path = bag(tmp_path / "drive", messages)
    images = convert(path, tmp_path / "out")
    said = capsys.readouterr().out
    assert "6 colour and 4 depth images: 3 pairs" in said, said
    assert "of the colour images 1 are without partner, 2 too far apart from any" in said, said
    assert [image.name for image in images] == [
        "drive_1000000000",
        "drive_1100000000",
        "drive_1210000000",
    ]
    for image, (i, j) in zip(images, [(0, 0), (1, 1), (3, 2)]):
        assert (np.asarray(image.pixels()) == RGB + i).all()
        assert np.allclose(image.depth(), (MILLIMETRES + 100 * j) / 1000)
    assert len(convert(path, tmp_path / "wide", "--max-difference", "0.05")) == 4
    assert len(convert(path, tmp_path / "rare", "--every", "0.2")) == 2
    with pytest.raises(SystemExit, match=r"within 0\.0005 s: are both stamped by one clock"):
        convert(path, tmp_path / "none", "--max-difference", "0.0005")


def test_images_without_a_stamp_are_paired_by_their_recording(tmp_path):
    messages = [(COLOR, raw_image(RGB, "rgb8", 0)), (DEPTH, raw_image(MILLIMETRES, "16UC1", 0))]
    [image] = convert(bag(tmp_path / "drive", messages), tmp_path / "out")
    assert image.name == "drive_1000000000"


CAMERA = Camera(*SIZE, fx=10.0, fy=9.0, cx=5.5, cy=3.5)
# Half as wide, and sees more.
OTHER = Camera(6, 4, fx=4.0, fy=4.0, cx=2.5, cy=1.5)


def test_the_camera_comes_along(tmp_path):
    messages = [
        ("/camera/color/camera_info", info(CAMERA)),
        (COLOR, COLORS["rgb8"][0]),
        (DEPTH, DEPTHS["16UC1"][0]),
    ]
    convert(bag(tmp_path / "drive", messages), tmp_path / "out")
    assert yaml.safe_load((tmp_path / "out/camera.yaml").read_text()) == {
        "width": 12,
        "height": 8,
        "fx": 10.0,
        "fy": 9.0,
        "cx": 5.5,
        "cy": 3.5,
    }
    # A second bag of the camera goes beside it, one of another does not.
    again = bag(tmp_path / "second", messages)
    assert len(convert(again, tmp_path / "out")) == 2
    longer = info(Camera(*SIZE, 11.0, 9.0, 5.5, 3.5))
    other = bag(tmp_path / "third", [("/camera/color/camera_info", longer), *messages[1:]])
    with pytest.raises(SystemExit, match="images of another camera"):
        convert(other, tmp_path / "out")


def test_rectified_images_are_those_of_the_projection_matrix(tmp_path):
    color = "/camera/color/image_rect"
    messages = [
        ("/camera/color/camera_info", info(CAMERA)),
        (color, COLORS["rgb8"][0]),
        (DEPTH, DEPTHS["16UC1"][0]),
    ]
    tool(
        "dataset_from_bag",
        bag(tmp_path / "drive", messages),
        tmp_path / "out",
        "--color",
        color,
        "--depth",
        DEPTH,
    )
    assert yaml.safe_load((tmp_path / "out/camera.yaml").read_text())["fx"] == 20.0


def two_cameras(depth: np.ndarray, *more) -> list:
    """Color and a depth camera of another size in another frame."""
    return [
        ("/camera/color/camera_info", info(CAMERA)),
        ("/camera/depth/camera_info", info(OTHER, "depth_optical")),
        *more,
        (COLOR, COLORS["rgb8"][0]),
        (DEPTH, raw_image(depth, "32FC1", 1, "depth_optical")),
    ]


def test_depth_of_a_second_camera_is_projected(tmp_path):
    """A wall 2 m before the depth camera is 1.5 m before a colour camera that stands half a metre in front of
    it."""
    static = [
        ("/tf_static", tf("base", "depth_optical", (1, 2, 3))),
        ("/tf_static", tf("base", "color_optical", (1, 2, 3.5))),
    ]
    [image] = convert(
        bag(tmp_path / "drive", two_cameras(np.full((4, 6), 2, np.float32), *static)), tmp_path / "out"
    )
    depth = image.depth()
    assert (depth[depth > 0] == 1.5).all() and (depth > 0).all()


def test_frames_turn_as_well_as_move(tmp_path):
    """Half a turn about the optical axis turns the image upside down: left stays no left."""
    turned = tf("depth_optical", "color_optical", (0, 0, 0), (0, 0, 1, 0))
    depth = np.full((4, 6), 2, np.float32)
    depth[:, :3] = 1
    [image] = convert(bag(tmp_path / "drive", two_cameras(depth, ("/tf_static", turned))), tmp_path / "out")
    assert (image.depth()[:, 6:] == 1).all() and (image.depth()[:, :6] == 2).all()


def test_a_shifted_camera_sees_a_shifted_image_and_the_nearer_thing():
    camera = Camera(20, 10, fx=10.0, fy=10.0, cx=9.5, cy=4.5)
    depth = np.full((10, 20), 4, np.float32)
    depth[3:6, 8:12] = 1
    shift = np.eye(4)
    # Points lie 0.4 m further left for a camera 0.4 m to the right: 1 pixel at 4 m, 4 pixels at 1 m.
    shift[0, 3] = -0.4
    seen = registered(depth, camera, camera, shift)
    assert (seen[3:6, 4:8] == 1).all() and (seen[0, :19] == 4).all() and (seen[:, 19] == 0).all()
    # What the near thing hid from the depth camera stays unknown.
    assert (seen[3:6, 8:11] == 0).all() and (seen[3:6, 11:19] == 4).all() and (seen[3:6, :4] == 4).all()


def test_one_frame_with_another_lens_needs_no_transform(tmp_path):
    messages = two_cameras(np.full((4, 6), 2, np.float32))
    messages[-1] = (DEPTH, raw_image(np.full((4, 6), 2, np.float32), "32FC1", 1, FRAME))
    [image] = convert(bag(tmp_path / "drive", messages), tmp_path / "out")
    assert (image.depth() == 2).all()


SMALL = np.full((4, 6), 2, np.float32)
# messages, options, what the one line must name
REFUSED = {
    "no color": (
        [("/other/image", COLORS["rgb8"][0]), (DEPTH, DEPTHS["16UC1"][0])],
        [],
        [COLOR, "/other/image", DEPTH],
    ),
    "no depth": ([(COLOR, COLORS["rgb8"][0])], [], [f"no images on {DEPTH}", COLOR]),
    "no images": ([("/info", info(CAMERA))], [], [COLOR, "none"]),
    "no such info": (
        [(COLOR, COLORS["rgb8"][0]), (DEPTH, DEPTHS["16UC1"][0]), ("/info", info(CAMERA))],
        ["--camera-info", "/nfo"],
        ["/nfo", "/info"],
    ),
    "no info": (
        [(COLOR, COLORS["rgb8"][0]), (DEPTH, raw_image(SMALL, "32FC1"))],
        [],
        ["6x4", "12x8", "--camera-info"],
    ),
    "no transform": (two_cameras(SMALL), [], ["depth_optical", "color_optical", "/tf_static"]),
    "wrong info": (
        [("/camera/color/camera_info", info(OTHER)), (COLOR, COLORS["rgb8"][0]), (DEPTH, DEPTHS["16UC1"][0])],
        [],
        ["12x8", "6x4"],
    ),
    "color as depth": ([(COLOR, COLORS["rgb8"][0]), (DEPTH, COLORS["rgb8"][0])], [], ["rgb8", "16UC1"]),
    "bayer": (
        [(COLOR, raw_image(GRAY, "bayer_rggb8")), (DEPTH, DEPTHS["16UC1"][0])],
        [],
        ["bayer_rggb8", "rgb8"],
    ),
    "rvl": (
        [(COLOR, COLORS["rgb8"][0]), (DEPTH, compressed(bytes(40), "16UC1; compressedDepth rvl"))],
        [],
        ["rvl", "PNG"],
    ),
    "8-bit depth": (
        [(COLOR, COLORS["rgb8"][0]), (DEPTH, compressed(file(GRAY), "8UC1; png"))],
        [],
        ["16 bit"],
    ),
    "half a jpeg": (
        [(COLOR, compressed(JPEG[:99], "jpeg")), (DEPTH, DEPTHS["16UC1"][0])],
        [],
        ["cannot be decoded"],
    ),
    "all unknown": (
        [(COLOR, COLORS["rgb8"][0]), (DEPTH, raw_image(0 * MILLIMETRES, "16UC1"))],
        [],
        ["known depth"],
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_bag_that_does_not_do_is_refused_in_one_line(tmp_path, why):
    messages, options, names = REFUSED[why]
    with pytest.raises(SystemExit) as ended:
        convert(bag(tmp_path / "drive", messages), tmp_path / "out", *options)
    said = str(ended.value)
    assert all(name in said for name in names) and "\n" not in said, said


def test_what_is_no_bag_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    cut = bag(tmp_path / "cut", [(COLOR, COLORS["rgb8"][0]), (DEPTH, DEPTHS["16UC1"][0])])
    [recording] = cut.glob("*.mcap")
    recording.write_bytes(recording.read_bytes()[:300])
    unread = "cannot be read"
    for name, expect in (("none", unread), ("empty", unread), ("old.bag", "ROS 1"), ("cut", unread)):
        with pytest.raises(SystemExit) as ended:
            convert(tmp_path / name, tmp_path / "out")
        assert expect in str(ended.value) and "\n" not in str(ended.value), name
