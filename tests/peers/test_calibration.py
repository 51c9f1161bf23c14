"""Calibrations as real and as broken drivers send them: what goes out, and what is said of it."""

import threading
import time

import head_files
import images
import make_lenses
import numpy as np
import pytest
from cameras import OK, WARN, Diagnostics
from node_process import run
from offline import infer, largest_difference
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from test_dense import pixels, points
from waiting import repeat, until

PHOTOGRAPH = images.photograph("coffee")
NAN, INF = float("nan"), float("inf")
# From the camera's pixels to those of the model input.
SX, SY = 256 / 640, 256 / 480
TRAINED = head_files.TASKS["depth"]["focal_length"]
OUTPUTS = ("depth/image", "depth/camera_info", "points")


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> tuple[str, ...]:
    return (
        "--depth-head",
        str(head_files.write(tmp_path_factory.mktemp("heads") / "depth.safetensors", "depth")),
    )


@pytest.fixture
def diagnosed(rig, peer, head):
    """Starts a node with a depth head, and listens to what it says of itself."""
    made = []

    def start(listen=OUTPUTS, **options):
        node = rig(listen=listen, options=head, **options)
        made.append(Diagnostics(peer, node.node.name))
        return node, made[-1]

    yield start
    for diagnostics in made:
        peer.drop(diagnostics.inbox)


def info(node, **fields) -> CameraInfo:
    message = images.calibration(640, 480, node.peer.stamp())
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def replaced(values, **changes) -> list[float]:
    """`values` with others at the indices of `changes`, such as `_4=0.0`."""
    values = list(values)
    for index, value in changes.items():
        values[int(index[1:])] = value
    return values


def served(node, diagnostics, message, level: int, *texts: str, lost: tuple[str, ...] = ()):
    """Sends `message` and images until diagnostics say `texts`, then all answers to one more image but the
    `lost` ones."""

    def show():
        node.camera_info.publish(message)
        # Not needed, but it spares most frames of coming before their calibration.
        time.sleep(0.05)
        node.send(PHOTOGRAPH)

    repeat(
        show,
        lambda: diagnostics.says("camera", level, *texts),
        f"{texts}",
        every_secs=0.1,
        log=node.node.tail,
    )
    node.settled()
    for name in lost:
        node.inboxes[name].clear()
    outputs = [name for name in node.inboxes if name not in lost]
    n_before = node.counts()["received"]
    found = node.answers(PHOTOGRAPH, *outputs) if outputs else {}
    node.feed(PHOTOGRAPH, lambda: node.counts()["received"] > n_before, "an image received")
    # All of a frame are sent together, and the books close after them.
    node.settled()
    assert not any(len(node.inboxes[name]) for name in lost), texts
    return found


def depth_of(found) -> np.ndarray:
    return pixels(found["depth/image"], np.dtype("<f4"))


def xyz_of(found) -> np.ndarray:
    cloud = points(found["points"])
    return np.stack([cloud["x"], cloud["y"], cloud["z"]], -1).astype(np.float64)


def seen_at() -> np.ndarray:
    """The pixels that the points show, [64, 64, 2]."""
    return np.stack(np.meshgrid(2 + 4 * np.arange(64), 2 + 4 * np.arange(64), indexing="xy"), -1).astype(
        np.float64
    )


def all_finite(message: CameraInfo) -> bool:
    return all(np.isfinite(part).all() for part in (message.k, message.d, message.r, message.p))


def test_a_calibration_that_nothing_can_be_computed_with_is_none(diagnosed, head):
    node, diagnostics = diagnosed(namespace="/broken_calibration")
    good, started = info(node), time.monotonic()
    plain = infer(PHOTOGRAPH, *head)["depth"]

    def check(cause: str, **fields):
        found = served(
            node,
            diagnostics,
            info(node, **fields),
            WARN,
            cause,
            "no points",
            "no depth/camera_info",
            "depth is not scaled",
            "/camera/camera_info",
            lost=("points", "depth/camera_info"),
        )
        assert largest_difference(depth_of(found), plain) < 1e-4, cause

    k, d = good.k, good.d
    for _ in range(2):
        found = served(node, diagnostics, good, OK, "Hz out")
        scale = np.sqrt(600 * SX * 580 * SY) / TRAINED
        assert largest_difference(depth_of(found), plain * scale) < 1e-4
        assert np.isfinite(xyz_of(found)).all() and all_finite(found["depth/camera_info"])
        check("not calibrated: K holds NaN", k=replaced(k, _0=NAN))
    check("not calibrated: K holds inf", k=replaced(k, _5=INF))
    check("not calibrated: K holds 1e300", k=replaced(k, _2=1e300))
    check("not calibrated: K is all zeros", k=[0.0] * 9)
    check("not calibrated: the focal lengths in K are -600 and 580", k=replaced(k, _0=-600.0))
    check("not calibrated: the focal lengths in K are 600 and 0", k=replaced(k, _4=0.0))
    check("not calibrated: the skew in K", k=replaced(k, _1=5000.0))
    check("not calibrated: K has 307 where", k=np.array(k).reshape(3, 3).T.ravel())
    check("not calibrated: D holds NaN", d=replaced(d, _4=NAN))
    check("not calibrated: D has 1000 coefficients", d=[0.1] * 1000)
    check("not calibrated: its images are 0x0", width=0, height=0)
    check("the CameraInfo is for 320x240, the images are 640x480", width=320, height=240)
    check(
        "the CameraInfo is for 320x240 (a sensor of 640x480 with binning 2x2), the images are 640x480",
        binning_x=2,
        binning_y=2,
    )
    check(
        "not calibrated: the region of interest 600x10 at (100, 0)",
        roi=RegionOfInterest(x_offset=100, width=600, height=10),
    )
    # What these images have no use for does no harm, and is not passed on.
    found = served(node, diagnostics, info(node, p=[NAN] * 12), WARN, "camera_info is not whole: its P")
    assert largest_difference(depth_of(found), plain * scale) < 1e-4 and np.isfinite(xyz_of(found)).all()
    sent = found["depth/camera_info"]
    assert (
        all_finite(sent)
        and not np.any(sent.p)
        and list(sent.d) == list(d)
        and np.isclose(sent.k[0], 600 * SX)
    )
    # A monocular driver leaves P zero, and some leave R zero too.
    found = served(node, diagnostics, info(node, p=[0.0] * 12, r=[0.0] * 9), OK, "Hz out")
    assert np.isfinite(xyz_of(found)).all() and not np.any(found["depth/camera_info"].p)
    # One line a minute in the log for each kind of cause, however often it comes.
    lines = [line for line in node.node.output.lines if "depth is not scaled" in line]
    assert all(
        any(cause in line for line in lines)
        for cause in ("K holds", "K is all zeros", "no CameraInfo has arrived", "the CameraInfo is for")
    ), lines
    n_minutes = (time.monotonic() - started) // 60 + 1
    assert len([line for line in lines if "holds" in line]) <= n_minutes, lines


def test_points_that_are_all_that_is_wanted_are_missed_in_diagnostics(diagnosed):
    node, diagnostics = diagnosed(listen=("points",), namespace="/points_only")

    def check(text: str, **fields):
        served(node, diagnostics, info(node, **fields), WARN, "no points", text, lost=("points",))

    check("the camera is not calibrated: K holds NaN", k=[NAN] * 9)
    check('no points: the distortion model "omni" is not known', distortion_model="omni")
    served(node, diagnostics, info(node), OK, "Hz out")


def test_rectified_images_are_those_of_p(diagnosed, head):
    node, diagnostics = diagnosed(camera="/camera/image_rect", namespace="/rectified")
    plain = infer(PHOTOGRAPH, *head)["depth"]
    k = [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]
    p = [380.0, 0.0, 318.0, -40.0, 0.0, 380.0, 236.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    # A distortion that is unknown is none of the rectified image's.
    for fields in ({}, {"distortion_model": "omni"}):
        found = served(node, diagnostics, info(node, k=k, p=p, **fields), OK, "Hz out")
        scale = 380 * np.sqrt(SX * SY) / TRAINED
        assert largest_difference(depth_of(found), plain * scale) < 1e-4
        sent, xyz = found["depth/camera_info"], xyz_of(found)
        assert np.allclose([sent.p[0], sent.p[5], sent.p[3]], [380 * SX, 380 * SY, -40 * SX])
        assert np.isclose(sent.k[0], 500 * SX)
        rectified = np.array(sent.p).reshape(3, 4)[:, :3]
        seen = xyz @ rectified.T
        assert np.abs(seen[..., :2] / seen[..., 2:] - seen_at()).max() < 0.01
    for cause, fields in (("P is all zeros", {"p": [0.0] * 12}), ("P holds NaN", {"p": replaced(p, _5=NAN)})):
        found = served(
            node,
            diagnostics,
            info(node, k=k, **fields),
            WARN,
            f"not calibrated: {cause}",
            "no points",
            lost=("points", "depth/camera_info"),
        )
        assert largest_difference(depth_of(found), plain) < 1e-4
    # Their K and D may be anything.
    found = served(
        node,
        diagnostics,
        info(node, k=[NAN] * 9, d=[NAN], p=p),
        WARN,
        "camera_info is not whole: its K and D",
    )
    assert np.isfinite(xyz_of(found)).all() and all_finite(found["depth/camera_info"])


def test_a_region_and_a_binning_of_the_sensor(diagnosed, head):
    node, diagnostics = diagnosed(namespace="/read_out")
    # 1400x1000 of it from (100, 20), cut to 1280x960, two by two.
    k = [1000.0, 0.0, 800.0, 0.0, 1000.0, 540.0, 0.0, 0.0, 1.0]
    message = info(
        node,
        width=1600,
        height=1100,
        k=k,
        d=[0.0] * 5,
        binning_x=2,
        binning_y=2,
        roi=RegionOfInterest(x_offset=100, y_offset=20, width=1280, height=960),
    )
    found = served(node, diagnostics, message, OK, "Hz out")
    scale = 500 * np.sqrt(SX * SY) / TRAINED
    assert largest_difference(depth_of(found), infer(PHOTOGRAPH, *head)["depth"] * scale) < 1e-4
    sent, xyz = found["depth/camera_info"], xyz_of(found)
    centre = [
        ((value - offset + 0.5) / 2) * side - 0.5 for value, offset, side in ((800, 100, SX), (540, 20, SY))
    ]
    assert np.allclose([sent.k[0], sent.k[4], sent.k[2], sent.k[5]], [500 * SX, 500 * SY, *centre])
    assert (sent.binning_x, sent.roi.width) == (0, 0)
    seen = xyz @ np.array(sent.k).reshape(3, 3).T
    assert np.abs(seen[..., :2] / seen[..., 2:] - seen_at()).max() < 0.01


def test_the_distortions_of_real_drivers_are_undone(diagnosed):
    node, diagnostics = diagnosed(namespace="/lenses")
    for index, (name, d) in enumerate(make_lenses.REAL.items()):
        model = name.split(".")[0]
        f = 480.0 + index
        k = [f, 0.0, 315.0, 0.0, f, 236.0, 0.0, 0.0, 1.0]
        message = info(node, k=k, d=d, distortion_model=model)

        def answered(message=message, f=f):
            found = served(node, diagnostics, message, OK, "Hz out")
            sent = found["depth/camera_info"]
            return np.isclose(sent.k[0], f * SX) and found

        found = until(answered, name)
        sent, xyz = found["depth/camera_info"], xyz_of(found)
        # Zeros that the driver adds go on.
        assert (list(sent.d), sent.distortion_model) == (d, model)
        assert np.isfinite(xyz).all(), name
        rays = (xyz[..., :2] / xyz[..., 2:]).reshape(-1, 2)
        seen = make_lenses.project(model, [sent.k[0], sent.k[4], sent.k[2], sent.k[5]], d, rays)
        assert np.abs(seen.reshape(64, 64, 2) - seen_at()).max() < 0.02, name


def test_a_distortion_that_is_not_known_is_named(diagnosed, head):
    node, diagnostics = diagnosed(namespace="/unknown_lens")
    scaled = infer(PHOTOGRAPH, *head)["depth"] * np.sqrt(600 * SX * 580 * SY) / TRAINED

    def check(model: str, d: list[float], *texts: str):
        found = served(
            node,
            diagnostics,
            info(node, distortion_model=model, d=d),
            WARN,
            "no points: ",
            *texts,
            lost=("points",),
        )
        # Nothing else hangs on the distortion.
        assert largest_difference(depth_of(found), scaled) < 1e-4
        assert list(found["depth/camera_info"].d) == d
        assert "not scaled" not in diagnostics.last()["camera"].message

    check("omni", [0.1, 0.2], 'the distortion model "omni" is not known')
    check("plumb_bob", [0.1] * 15, "plumb_bob has 15 coefficients here, at most 14 are known")
    check("equidistant", [0.1] * 5, "equidistant has 5 coefficients here, at most 4 are known")
    check("", [0.1, 0.2, 0.0, 0.0, 0.3], 'is "" and D has 5 coefficients')
    check("rational_polynomial", [0.0] * 12 + [1.5, 0.0], "tilts the sensor")
    served(node, diagnostics, info(node, distortion_model="", d=[0.0] * 5), OK, "Hz out")


def test_check_says_what_an_image_is_projected_by(peer, head, tmp_path):
    def check(topic: str, *expect: str, **fields):
        stop = threading.Event()
        image, camera_info = (
            peer.publisher(Image, topic),
            peer.publisher(CameraInfo, f"{topic.rsplit('/', 1)[0]}/camera_info"),
        )

        def publish():
            while not stop.wait(0.1):
                message = images.calibration(640, 480, peer.stamp())
                for name, value in fields.items():
                    setattr(message, name, value)
                camera_info.publish(message)
                image.publish(images.image(PHOTOGRAPH, peer.stamp()))

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            done = run(
                "check",
                "--model",
                "random:tiny",
                "--device",
                "cpu",
                *head,
                "--ros-args",
                "-r",
                f"image:={topic}",
            )
        finally:
            stop.set()
            thread.join()
            peer.node.destroy_publisher(image)
            peer.node.destroy_publisher(camera_info)
        rows = [line for line in done.stdout.splitlines() if line[6:].startswith("calibration")]
        assert len(rows) == 1 and all(text in rows[0] for text in expect), done.stdout + done.stderr

    p = [380.0, 0.0, 318.0, 0.0, 0.0, 380.0, 236.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    check("/raw/image_raw", "ok ", "focal length 589.9 pixels, from K of the CameraInfo", p=p)
    check("/rect/image_rect", "ok ", "focal length 380.0 pixels, from P of the CameraInfo", p=p)
    check("/nan/image_raw", "WARN", "not calibrated: K holds NaN", "no points", k=[NAN] * 9)
    check("/omni/image_raw", "WARN", "focal length 589.9", "no points", '"omni"', distortion_model="omni")
