"""Depth, points and segmentation through the real topics."""

import io
import struct

import head_files
import images
import numpy as np
import pytest
from decode import features_from_message
from geometry_msgs.msg import PointStamped
from node_process import run
from offline import infer, labels_agree, largest_difference
from peer import latched, nanos
from PIL import Image as Pillow
from vision_msgs.msg import LabelInfo
from waiting import repeat, until

PHOTOGRAPH = images.photograph("coffee")
DEPTH = (
    "depth/image",
    "depth/image/compressedDepth",
    "depth/camera_info",
    "depth/color/compressed",
    "points",
)
LABELS = (
    "segmentation/image",
    "segmentation/image/compressed",
    "segmentation/confidence",
    "segmentation/camera_info",
    "segmentation/overlay/compressed",
)
FLOAT32, UINT32 = 7, 6


@pytest.fixture(scope="module")
def heads(tmp_path_factory) -> tuple[str, ...]:
    """Options that give the node both heads."""
    folder = tmp_path_factory.mktemp("heads")
    return (
        "--depth-head",
        str(head_files.write(folder / "depth.safetensors", "depth")),
        "--segmentation-head",
        str(head_files.write(folder / "segmentation.safetensors", "segmentation")),
    )


def pixels(message, dtype=np.uint8) -> np.ndarray:
    assert message.step == message.width * np.dtype(dtype).itemsize and message.is_bigendian == 0
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


def calibrated(node, image=PHOTOGRAPH):
    """Everything that is listened to, of one frame that came after the camera's calibration."""
    height, width = image.shape[:2]
    return node.answers(image, camera_info=images.calibration(width, height, node.peer.stamp()))


def points(message) -> np.ndarray:
    """A structured array [height, width]."""
    types = {FLOAT32: "<f4", UINT32: "<u4"}
    dtype = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [types[field.datatype] for field in message.fields],
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    assert message.row_step == message.point_step * message.width and not message.is_bigendian
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


def projected(xyz: np.ndarray, k, d) -> np.ndarray:
    """Pixels [..., 2] of points [..., 3] through plumb_bob, written from OpenCV's description."""
    x, y = xyz[..., 0] / xyz[..., 2], xyz[..., 1] / xyz[..., 2]
    k1, k2, p1, p2, k3 = d
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([k[0] * u + k[2], k[4] * v + k[5]], -1)


def test_all_of_one_frame_fit_together(rig, heads):
    node = rig(listen=DEPTH + LABELS, options=heads)
    found = calibrated(node)
    assert len({(m.header.stamp.sec, m.header.stamp.nanosec, m.header.frame_id) for m in found.values()}) == 1
    expected = infer(PHOTOGRAPH, *heads)

    # The depth is that of infer, for a camera of another focal length.
    info = found["depth/camera_info"]
    sx, sy = 256 / 640, 256 / 480
    assert (info.width, info.height, list(info.d)) == (256, 256, [0.1, -0.2, 0.001, 0.002, 0.05])
    assert np.allclose([info.k[0], info.k[4]], [600 * sx, 580 * sy])
    assert np.allclose([info.k[2], info.k[5]], [(307 + 0.5) * sx - 0.5, (247 + 0.5) * sy - 0.5])
    assert np.array_equal(found["segmentation/camera_info"].k, info.k)
    scale = np.sqrt(info.k[0] * info.k[4]) / 200
    depth = pixels(found["depth/image"], np.dtype("<f4"))
    assert found["depth/image"].encoding == "32FC1" and depth.shape == (256, 256)
    assert largest_difference(depth, expected["depth"] * scale) < 1e-4 and depth.std() > 0.1

    # Its compressed twin is a step of the quantisation away at most.
    twin = found["depth/image/compressedDepth"]
    assert twin.format == "32FC1; compressedDepth png"
    data = bytes(twin.data)
    _, a, b = struct.unpack("<iff", data[:12])
    inverse = np.asarray(Pillow.open(io.BytesIO(data[12:]))).astype(np.float64)
    decoded = a / (inverse - b)
    # The step where 1 / depth moves by 1 / a; 16 bits do not hold what is nearer than 0.155 m.
    fits = depth > 0.16
    assert np.all(np.abs(decoded - depth)[fits] <= depth[fits].astype(np.float64) ** 2 / a * 1.01 + 1e-5)
    assert np.array_equal(inverse == 0, depth == 0)
    assert np.all((decoded[~fits] <= 0.161) | (inverse[~fits] == 0)) and fits.mean() > 0.2

    # The points lie where the depth image says, along the rays of the distorted camera.
    cloud = points(found["points"])
    assert cloud.shape == (64, 64) and not found["points"].is_dense
    assert cloud.dtype.names == ("x", "y", "z", "rgb", "label")
    xyz = np.stack([cloud["x"], cloud["y"], cloud["z"]], -1).astype(np.float64)
    rows, columns = np.meshgrid(2 + 4 * np.arange(64), 2 + 4 * np.arange(64), indexing="ij")
    assert np.array_equal(cloud["z"], depth[rows, columns])
    seen = projected(xyz, info.k, info.d)
    assert np.abs(seen - np.stack([columns, rows], -1)).max() < 0.02

    # Labels, their compressed twin and the cloud's agree exactly, and with infer but for ties.
    labels = pixels(found["segmentation/image"])
    assert found["segmentation/image"].encoding == "mono8" and labels_agree(labels, expected["labels"])
    assert len(np.unique(labels)) > 1 and labels.max() < 4
    assert np.array_equal(
        np.asarray(Pillow.open(io.BytesIO(bytes(found["segmentation/image/compressed"].data)))), labels
    )
    assert np.array_equal(cloud["label"], labels[rows, columns])
    confidence = pixels(found["segmentation/confidence"])
    # The likeliest of four classes.
    assert confidence.shape == labels.shape and confidence.min() >= 63 and confidence.std() > 1

    # What is for eyes decodes, and shows what it should.
    colour = np.asarray(Pillow.open(io.BytesIO(bytes(found["depth/color/compressed"].data))))
    overlay = np.asarray(
        Pillow.open(io.BytesIO(bytes(found["segmentation/overlay/compressed"].data)))
    ).astype(int)
    assert colour.shape == overlay.shape == (256, 256, 3)
    painted = np.array([entry["color"] for entry in head_files.CLASSES])[labels]
    small = np.asarray(Pillow.fromarray(PHOTOGRAPH).resize((256, 256), Pillow.Resampling.BICUBIC)).astype(int)
    assert np.abs(overlay - (painted + small) / 2).max() <= 2
    packed = cloud["rgb"].copy().view(np.uint32)
    rgb = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], -1).astype(int)
    assert np.abs(rgb - small[rows, columns]).max() <= 1


def test_depth_at_the_cameras_resolution(rig, heads):
    node = rig(
        listen=("depth/image/compressedDepth", "depth/camera_info", "points"),
        options=(*heads, "--depth-resolution", "camera"),
        namespace="/at_camera",
    )
    found = calibrated(node)
    info = found["depth/camera_info"]
    assert (info.width, info.height) == (640, 480) and np.allclose([info.k[0], info.k[4]], [600, 580])
    assert (found["points"].width, found["points"].height) == (64, 64)
    data = bytes(found["depth/image/compressedDepth"].data)
    _, a, b = struct.unpack("<iff", data[:12])
    inverse = np.asarray(Pillow.open(io.BytesIO(data[12:]))).astype(np.float64)
    assert inverse.shape == (480, 640)
    # As Pillow brings infer's depth to the camera's pixels: both pass between pixel centres.
    scale = np.sqrt(600 * 256 / 640 * 580 * 256 / 480) / 200
    small = infer(PHOTOGRAPH, *heads)["depth"] * scale
    expected = np.asarray(Pillow.fromarray(small).resize((640, 480), Pillow.Resampling.BILINEAR)).astype(
        np.float64
    )
    fits = expected > 0.2
    error = np.abs(a / (inverse - b) - expected)[fits]
    assert fits.mean() > 0.2 and error.max() < 1e-3 + (expected[fits] ** 2 / a).max()
    # Nobody offers the raw twin, which best effort would not carry well.
    assert not node.peer.node.get_publishers_info_by_topic(f"{node.node.name}/depth/image")


def test_a_query_is_answered_with_the_similarity_of_every_patch(rig):
    node = rig(listen=("features", "similarity"), options=("--features-dtype", "float32"))
    query = node.peer.publisher(PointStamped, f"{node.node.name}/query")
    until(query.get_subscription_count, "the node's subscription to queries")

    def ask(x, y):
        point = PointStamped()
        point.point.x, point.point.y = float(x), float(y)
        query.publish(point)

    def cosines(features, reference):
        tokens = features_from_message(features).astype(np.float64)
        return tokens @ reference / (np.linalg.norm(tokens, axis=-1) * np.linalg.norm(reference))

    # Nothing was asked: nothing is said.
    before = node.ask(PHOTOGRAPH)

    def asked_and_sent():
        ask(215, 100)
        node.send(PHOTOGRAPH)

    repeat(asked_and_sent, lambda: len(node.inboxes["similarity"]), "similarity", log=node.node.tail)
    assert nanos(node.inboxes["similarity"].messages[0].header.stamp) > nanos(before.header.stamp)
    features, similarity = node.answers(PHOTOGRAPH).values()
    assert (similarity.encoding, similarity.width, similarity.height) == ("32FC1", 16, 16)
    # 40 x 30 pixels of the camera are a patch.
    reference = features_from_message(features)[3, 5].astype(np.float64)
    found = pixels(similarity, np.dtype("<f4"))
    assert np.abs(found - cosines(features, reference)).max() < 1e-5 and found[3, 5] == pytest.approx(
        1, abs=1e-6
    )
    assert similarity.header == features.header

    # What was pointed at stays, also in another image and after a point outside.
    def asked_outside():
        ask(-5, 100)
        node.send(PHOTOGRAPH)

    repeat(
        asked_outside,
        lambda: any("the model sees nothing at (-5, 100)" in line for line in node.node.output.lines),
        "the warning",
        log=node.node.tail,
    )
    features, similarity = node.answers(PHOTOGRAPH[:, ::-1]).values()
    assert np.abs(pixels(similarity, np.dtype("<f4")) - cosines(features, reference)).max() < 1e-5


def test_a_late_subscriber_hears_what_the_labels_mean(rig, heads):
    node = rig(listen=("segmentation/image",), options=heads)
    heard = []
    topic = f"{node.node.name}/segmentation/label_info"
    subscription = node.peer.node.create_subscription(LabelInfo, topic, heard.append, latched())
    until(lambda: heard, "label_info", log=node.node.tail)
    named = {entry.class_id: entry.class_name for entry in heard[0].class_map}
    assert named == dict(enumerate(["floor", "wall", "chair", "robot"]))
    node.peer.node.destroy_subscription(subscription)


def test_without_calibration_there_is_depth_but_no_cloud(rig, heads):
    node = rig(listen=("depth/image", "points"), options=heads)
    depth = node.ask(PHOTOGRAPH, "depth/image")
    assert largest_difference(pixels(depth, np.dtype("<f4")), infer(PHOTOGRAPH, *heads)["depth"]) < 1e-4
    zero, small = (
        images.calibration(640, 480, node.peer.stamp()),
        images.calibration(320, 240, node.peer.stamp()),
    )
    zero.k = [0.0] * 9
    for message in (zero, small):
        last = node.answers(PHOTOGRAPH, "depth/image", camera_info=message)["depth/image"]
    warnings = [line for line in node.node.output.lines if "no points" in line]
    assert len(warnings) == 3 and all("depth is not scaled" in warning for warning in warnings), warnings
    causes = (
        "no CameraInfo has arrived",
        "K is all zeros",
        "the CameraInfo is for 320x240, the images are 640x480",
    )
    assert all(cause in warning for cause, warning in zip(causes, warnings)), warnings
    # The first points are those of a frame that came after a calibration that does.
    first = min(
        nanos(message.header.stamp)
        for message in (calibrated(node)["points"], *node.inboxes["points"].messages)
    )
    assert first > nanos(last.header.stamp)


def test_only_the_camera_image_has_depth_in_a_letterbox(rig, heads):
    node = rig(listen=("depth/image", "segmentation/image"), options=(*heads, "--fit", "letterbox"))
    found = node.answers(PHOTOGRAPH)
    depth, labels = pixels(found["depth/image"], np.dtype("<f4")), pixels(found["segmentation/image"])
    inside = np.zeros((256, 256), bool)
    inside[32:224] = True
    assert np.array_equal(np.isfinite(depth), inside) and np.array_equal(labels != 255, inside)


def test_windows_cover_the_camera_image_at_its_own_size(rig, heads):
    options = (*heads, "--fit", "window")
    node = rig(listen=("depth/image", "segmentation/image", "points"), options=options)
    image = images.photograph("coffee", 400, 300)
    found = calibrated(node, image)
    expected = infer(image, *options)
    scale = np.sqrt(600 * 580) / 200
    depth = pixels(found["depth/image"], np.dtype("<f4"))
    assert depth.shape == (300, 400) and largest_difference(depth, expected["depth"] * scale) < 1e-4
    assert labels_agree(pixels(found["segmentation/image"]), expected["labels"])
    assert (found["points"].width, found["points"].height) == (58, 43)


def refused(tmp_path, *options: str) -> str:
    file = tmp_path / "image.png"
    file.write_bytes(images.file_bytes(PHOTOGRAPH, "PNG"))
    done = run(
        "infer",
        "--model",
        "random:tiny",
        "--device",
        "cpu",
        "--image",
        file,
        "--out",
        tmp_path / "out",
        *options,
    )
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert done.returncode == 2 and len(errors) == 1 and "panicked" not in done.stderr, done.stderr
    return errors[0]


def test_a_head_that_does_not_fit_is_refused_by_name(tmp_path):
    def check(task: str, expect: list[str], option: str = "--depth-head", **card):
        file = head_files.write(tmp_path / "head.safetensors", task, **card)
        said = refused(tmp_path, option, str(file))
        assert "head.safetensors" in said and all(word in said for word in expect), said

    # The tensors do not fit what the card says of the backbone.
    check("depth", ["tensor", "expected"], backbone=head_files.TINY | {"hidden_size": 96})
    check("segmentation", ["it is for segmentation, depth was asked for"])
    check("depth", ["it is for depth, segmentation was asked for"], option="--segmentation-head")
    check("depth", ["4 are needed"], taps=[1, 2, 3])
    check(
        "depth", ["12 blocks of 192", "4 blocks of 192"], backbone=head_files.TINY | {"num_hidden_layers": 12}
    )
    missing = refused(tmp_path, "--depth-head", str(tmp_path / "nothing.safetensors"))
    assert "nothing.safetensors" in missing and "depth_head" in missing
    assert "depth_head or segmentation_head" in refused(tmp_path, "--fit", "window")


def test_a_head_of_another_revision_serves_with_a_warning(rig, heads):
    node = rig(listen=("depth/image",), options=heads)
    assert any("trained on revision 0123456789ab" in line for line in node.node.output.lines), (
        node.node.tail()
    )
