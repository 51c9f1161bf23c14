"""What the node says on /diagnostics: that all is well, and each trouble with its cause and cure."""

import itertools
import re

import images
import pytest
from cameras import ERROR, OK, WARN, Camera, Cameras, Diagnostics, accounted, fits, values
from node_process import Node
from peer import nanos
from pixio_node.msg import PatchFeatures
from sensor_msgs.msg import Image
from std_msgs.msg import Float64
from waiting import repeat, until

PHOTOGRAPH = images.photograph("coffee", 320, 240)
PERCENTILES = re.compile(r"[\d.]+ / [\d.]+ / [\d.]+")


@pytest.fixture
def diagnosed(rig, peer):
    """Starts a node with a camera, and listens to what it says of itself."""
    made = []

    def start(**options):
        node = rig(**options)
        made.append(Diagnostics(peer, node.node.name))
        return node, made[-1]

    yield start
    for diagnostics in made:
        peer.drop(diagnostics.inbox)


def sent_hz(feed: Camera) -> float:
    """The rate of the images that the last figures are about."""
    stamps = feed.stamps[-32:]
    return (len(stamps) - 1) / (stamps[-1] - stamps[0]) * 1e9


def test_all_is_well_and_every_figure_is_there(diagnosed, peer):
    _node, diagnostics = diagnosed(options=("--expected-rate", "1"), namespace="/well")
    feed = Camera("/camera/image_raw", PHOTOGRAPH, 10)

    def well() -> dict | None:
        """The statuses, if the rates in them are what the camera did and nothing was late."""
        found = diagnostics.last()
        if not fits(found.get("camera"), OK, ("Hz in", "Hz out")) or len(feed.stamps) < 40:
            return None
        of_camera, greenwave = values(found["camera"]), values(found["/camera/image_raw"])
        rates = (
            of_camera["Actual frequency (Hz)"],
            of_camera["Published frequency (Hz)"],
            greenwave["frame_rate_node"],
            greenwave["frame_rate_msg"],
        )
        ages = (
            float(of_camera["seconds since the last frame"]),
            float(of_camera["age of the last output (s)"]),
        )
        is_true = all(float(rate) == pytest.approx(sent_hz(feed), rel=0.1) for rate in rates)
        is_late = max(ages) > 1 or float(greenwave["current_delay_from_realtime_ms"]) > 1000
        is_long = (
            int(of_camera["published"]) > 20 and int(values(found["engine"])["forward passes of 1"]) > 20
        )
        return found if is_true and is_long and not is_late else None

    def told_every_second() -> bool:
        """Whether the last messages came a second apart by the node's own clock: now and then a machine is
        late."""
        stamps = [
            nanos(message.header.stamp) / 1e9
            for message in diagnostics.inbox.messages
            if diagnostics.is_own(message)
        ][-4:]
        return len(stamps) == 4 and all(
            0.99 < after - before < 1.5 for before, after in itertools.pairwise(stamps)
        )

    with Cameras(peer, [feed]):
        found = until(well, "a camera that is well", log=lambda: f"{sent_hz(feed)} Hz {diagnostics.last()}")
        until(told_every_second, "a message every second")
    assert set(found) == {"camera", "/camera/image_raw", "model", "engine", "transport"}
    assert all(
        status.level[0] == OK and status.hardware_id == "well/pixio_node" for status in found.values()
    ), found
    of_camera = values(found["camera"])
    assert accounted(found["camera"]), found["camera"]
    assert (of_camera["image"], of_camera["topic"], of_camera["publishers"]) == (
        "320x240",
        "/camera/image_raw",
        "2",
    )
    assert 0 <= float(of_camera["seconds since the last frame"]) and 0 < float(
        of_camera["age of the last output (s)"]
    )
    for span in ("fit", "wait", "forward", "heads", "publish", "total", "age"):
        assert PERCENTILES.fullmatch(of_camera[f"{span} p50/p95/p99 (ms)"]), of_camera
    # What greenwave_monitor and NITROS dashboards read, under the topic's own name.
    greenwave = values(found["/camera/image_raw"])
    assert 0 <= float(greenwave["current_delay_from_realtime_ms"])
    assert float(greenwave["expected_frequency"]) == 1 and float(greenwave["tolerance"]) == pytest.approx(0.1)
    model, engine = values(found["model"]), values(found["engine"])
    assert (
        model["model"] == "random:tiny"
        and re.fullmatch(r"[0-9a-f]{12}", model["revision"])
        and "frames" in model["PCA basis"]
    )
    assert (
        engine["engine"] == "eager"
        and "Float" not in engine["precision and device"]
        and "float32" in engine["precision and device"]
    )
    assert "pixio_node build" in engine["hint"]
    assert values(found["transport"])["address"] == "127.0.0.1"


def test_a_slow_camera_is_told_of(diagnosed, peer):
    _node, diagnostics = diagnosed(options=("--expected-rate", "1000"), namespace="/slow")
    with Cameras(peer, [Camera("/camera/image_raw", PHOTOGRAPH, 10)]):
        until(lambda: diagnostics.says("camera", WARN, "1000.0 Hz are expected"), "the slow camera")


def test_a_silent_camera_is_told_of_and_comes_back(diagnosed, peer):
    node, diagnostics = diagnosed(namespace="/silent")
    node.ask(PHOTOGRAPH)
    until(
        lambda: diagnostics.says("camera", WARN, "silent for", "/camera/image_raw", "publisher"),
        "the silent camera",
    )
    node.peer.node.destroy_publisher(node.camera)
    until(lambda: diagnostics.says("camera", WARN, "there is no publisher"), "the camera that has gone")
    node.camera = peer.publisher(Image, "/camera/image_raw")
    node.feed(PHOTOGRAPH, lambda: diagnostics.says("camera", OK), "a camera that is well again")


def test_a_calibration_that_is_missing_zero_or_of_another_size_is_told_of(diagnosed):
    node, diagnostics = diagnosed(namespace="/calibrated", listen=("features", "features/camera_info"))

    def told(level: int, *texts: str, **change):
        message = images.calibration(320, 240, node.peer.stamp())
        for name, value in change.items():
            setattr(message, name, value)

        def send():
            if change:
                node.camera_info.publish(message)
            node.send(PHOTOGRAPH)

        repeat(
            send,
            lambda: diagnostics.says("camera", level, *texts),
            f"{texts}",
            every_secs=0.1,
            log=node.node.tail,
        )

    told(WARN, "no features/camera_info: no CameraInfo has arrived", "/camera/camera_info")
    told(WARN, "the camera is not calibrated", k=[0.0] * 9)
    told(WARN, "the CameraInfo is for 640x480, the images are 320x240", width=640, height=480)
    told(OK, "Hz in", width=320)


def test_images_that_cannot_be_read_are_told_of(diagnosed):
    node, diagnostics = diagnosed(namespace="/broken")

    def some_are_refused():
        return diagnostics.says("camera", WARN, "some images are refused", "jpeg2000")

    def good_and_bad():
        node.send(PHOTOGRAPH)
        node.send(PHOTOGRAPH, encoding="jpeg2000")

    repeat(good_and_bad, some_are_refused, "the refused images", every_secs=0.2, log=node.node.tail)

    def none_can_be_read():
        status = diagnostics.says("camera", ERROR, "no image can be read", "jpeg2000")
        return status and int(values(status)["refused: encoding"]) > 10

    node.feed(PHOTOGRAPH, none_can_be_read, "that none can be read", every_secs=0.1, encoding="jpeg2000")


def test_peers_that_do_not_fit_are_told_of(peer):
    topic, name = "/lossy/image_raw", "/strict/pixio_node"
    publisher = peer.publisher(Image, topic, reliable=False)
    inbox = peer.inbox(PatchFeatures, f"{name}/features", reliable=True)
    with Node(
        namespace="/strict",
        remaps=(f"image:={topic}",),
        params=("image_reliability:=reliable", "output_reliability:=best_effort"),
    ) as node:
        diagnostics = Diagnostics(peer, name)
        until(
            lambda: diagnostics.says(
                "camera", ERROR, f"{topic}: ", "no image arrives", "image_reliability:=best_effort"
            ),
            "the camera that does not fit",
            log=node.tail,
        )
        until(
            lambda: diagnostics.says("transport", WARN, f"{name}/features", "output_reliability:=reliable"),
            "the subscriber that does not fit",
            log=node.tail,
        )
        peer.drop(inbox)
        until(lambda: diagnostics.says("transport", OK), "a graph without misfits")
    peer.node.destroy_publisher(publisher)
    peer.drop(diagnostics.inbox)


def test_a_model_that_loads_is_warming_up(peer):
    name = "/warming/pixio_node"
    diagnostics = Diagnostics(peer, name)

    def met_while_it_warms_up() -> list:
        """What was told before the model was there: nothing where the two met later than that."""
        n = len(diagnostics.messages())
        with Node(model="random:vitb16", namespace="/warming") as node:
            until(
                lambda: len(diagnostics.messages()) > n and diagnostics.says("model", OK, "random:vitb16"),
                "a model that is loaded",
                log=node.tail,
            )
        return [statuses for _, statuses in diagnostics.messages()[n:] if statuses["model"].level[0] == WARN]

    before = until(met_while_it_warms_up, "a node that warms up")
    assert all(
        "warming up" in statuses[what].message for statuses in before for what in ("model", "camera")
    ), before
    peer.drop(diagnostics.inbox)


def test_an_engine_that_does_not_serve_is_told_of(diagnosed, tmp_path):
    folder = tmp_path / "pixio_node" / "engines" / "spoilt"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"format": 1}')
    node, diagnostics = diagnosed(namespace="/eager", cache=tmp_path)
    until(
        lambda: diagnostics.says("engine", WARN, "fell back to eager", "spoilt"),
        "the spoilt engine",
        log=node.node.tail,
    )
    node.ask(PHOTOGRAPH)


def test_latencies_have_topics_to_plot(rig, peer):
    node = rig(namespace="/plotted")
    inboxes = [
        peer.inbox(Float64, f"{node.node.name}/{name}", reliable=True)
        for name in ("pipeline_latency_ms", "processing_time_ms")
    ]
    until(lambda: all(inbox.matched() for inbox in inboxes), "the publishers")
    node.feed(PHOTOGRAPH, lambda: all(map(len, inboxes)), "times", every_secs=1)
    # From here on the node serves both readers, so that what comes next is of one frame.
    node.settled()
    for inbox in inboxes:
        inbox.clear()
    sent_nanos = nanos(node.send(PHOTOGRAPH))
    until(lambda: all(map(len, inboxes)), "the times of one frame", log=node.node.tail)
    latency, processing = (inbox.messages[0].data for inbox in inboxes)
    # Milliseconds: of a forward pass at least, and no more than have passed since the image was stamped.
    took = (inboxes[0].received_nanos[0] - sent_nanos) / 1e6
    assert 0.1 < processing <= latency < took, (processing, latency, took)
    # They alone are no reason to work.
    peer.drop(node.inboxes.pop("features"))

    def n_unwanted() -> int:
        return node.counts()["unwanted"]

    before = n_unwanted()
    node.feed(PHOTOGRAPH, lambda: n_unwanted() > before, "that nobody listens any more")
    before = node.settled()
    node.feed(PHOTOGRAPH, lambda: n_unwanted() >= before["unwanted"] + 5, "five frames that nobody wants")
    assert node.settled()["published"] == before["published"]
    for inbox in inboxes:
        peer.drop(inbox)
