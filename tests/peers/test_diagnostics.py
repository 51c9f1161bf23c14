"""What the node says on /diagnostics: that all is well, and each trouble with its cause and cure."""

import re
import time

import numpy as np
import pictures
import pytest
from cameras import ERROR, OK, WARN, Camera, Cameras, Diagnostics, accounted, values
from node_process import Node
from peer import until
from pixio_node.msg import PatchFeatures
from sensor_msgs.msg import Image
from std_msgs.msg import Float64

PHOTOGRAPH = pictures.photograph("coffee", 320, 240)
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


def test_all_is_well_and_every_figure_is_there(diagnosed, peer):
    node, diagnostics = diagnosed(options=("--expected-rate", "10"), namespace="/well")
    feed = Camera("/camera/image_raw", PHOTOGRAPH, 10, silent_after=20)
    with Cameras(peer, [feed]):
        status = until(lambda: diagnostics.says("camera", OK, "Hz in", "Hz out"), 15, "a camera that is well")
        time.sleep(3)
        found = diagnostics.last()
    assert set(found) == {"camera", "/camera/image_raw", "model", "engine", "transport"}
    assert all(status.level[0] == OK and status.hardware_id == "well/pixio_node" for status in found.values()), found
    of_camera = values(found["camera"])
    assert float(of_camera["Actual frequency (Hz)"]) == pytest.approx(10, rel=0.1)
    assert float(of_camera["Published frequency (Hz)"]) == pytest.approx(10, rel=0.1)
    assert accounted(found["camera"]) and int(of_camera["published"]) > 20, status
    assert (of_camera["picture"], of_camera["topic"], of_camera["publishers"]) == ("320x240", "/camera/image_raw", "2")
    assert 0 <= float(of_camera["seconds since the last frame"]) < 1 and 0 < float(of_camera["age of the last output (s)"]) < 1
    for span in ("fit", "wait", "forward", "heads", "publish", "total", "age"):
        assert PERCENTILES.fullmatch(of_camera[f"{span} p50/p95/p99 (ms)"]), of_camera
    # What greenwave_monitor and NITROS dashboards read, under the topic's own name.
    greenwave = values(found["/camera/image_raw"])
    assert float(greenwave["frame_rate_node"]) == pytest.approx(10, rel=0.1)
    assert float(greenwave["frame_rate_msg"]) == pytest.approx(10, rel=0.1)
    assert 0 <= float(greenwave["current_delay_from_realtime_ms"]) < 1000
    assert float(greenwave["expected_frequency"]) == 10 and float(greenwave["tolerance"]) == 1
    model, engine = values(found["model"]), values(found["engine"])
    assert model["model"] == "random:tiny" and re.fullmatch(r"[0-9a-f]{12}", model["revision"]) and "frames" in model["PCA basis"]
    assert engine["engine"] == "eager" and "Float" not in engine["precision and device"] and "float32" in engine["precision and device"]
    assert int(engine["forward passes of 1"]) > 20 and "pixio_node build" in engine["hint"]
    assert values(found["transport"])["address"] == "127.0.0.1"
    # Once a second.
    times = [at for at, _ in diagnostics.messages()]
    gaps = np.diff(times[-4:]) / 1e9
    assert 0.5 < np.median(gaps) < 1.5, gaps


def test_a_slow_camera_is_told_of(diagnosed, peer):
    node, diagnostics = diagnosed(options=("--expected-rate", "30"), namespace="/slow")
    with Cameras(peer, [Camera("/camera/image_raw", PHOTOGRAPH, 10, silent_after=20)]):
        until(lambda: diagnostics.says("camera", WARN, "30.0 Hz are expected"), 15, "the slow camera")


def test_a_silent_camera_is_told_of_and_comes_back(diagnosed, peer):
    node, diagnostics = diagnosed(namespace="/silent")
    node.ask(PHOTOGRAPH)
    until(lambda: diagnostics.says("camera", WARN, "silent for", "/camera/image_raw", "publisher"), 5, "the silent camera")
    node.peer.node.destroy_publisher(node.camera)
    until(lambda: diagnostics.says("camera", WARN, "nobody publishes it"), 5, "the camera that has gone")
    node.camera = peer.publisher(Image, "/camera/image_raw")
    until(node.camera.get_subscription_count, 10, "the node's subscription")

    def well():
        node.send(PHOTOGRAPH)
        time.sleep(0.1)
        return diagnostics.says("camera", OK)
    until(well, 10, "a camera that is well again")


def test_a_calibration_that_is_missing_zero_or_of_another_size_is_told_of(diagnosed):
    node, diagnostics = diagnosed(namespace="/calibrated", listen=("features", "features/camera_info"))

    def told(level: int, *texts: str, **change):
        def sent():
            if change:
                message = pictures.calibration(320, 240, node.peer.stamp())
                for name, value in change.items():
                    setattr(message, name, value)
                node.camera_info.publish(message)
                time.sleep(0.05)
            node.send(PHOTOGRAPH)
            time.sleep(0.1)
            return diagnostics.says("camera", level, *texts)
        until(sent, 10, f"{texts}\n{node.node.tail()}")

    told(WARN, "no features/camera_info: no CameraInfo has come", "/camera/camera_info")
    told(WARN, "the camera is not calibrated", k=[0.0] * 9)
    told(WARN, "the CameraInfo is for 640x480, the images are 320x240", width=640, height=480)
    told(OK, "Hz in", width=320)


def test_pictures_that_cannot_be_read_are_told_of(diagnosed):
    node, diagnostics = diagnosed(namespace="/broken")

    def sent(encoding: str, level: int, *texts: str):
        node.send(PHOTOGRAPH, encoding=encoding)
        time.sleep(0.1)
        return diagnostics.says("camera", level, *texts)
    until(lambda: node.ask(PHOTOGRAPH) and sent("jpeg2000", WARN, "some pictures are refused", "jpeg2000"), 10, "the refused pictures")
    until(lambda: sent("jpeg2000", ERROR, "no picture can be read", "jpeg2000"), 15, "that none can be read")
    assert int(values(diagnostics.last()["camera"])["refused: encoding"]) > 10


def test_peers_that_do_not_fit_are_told_of(peer):
    topic, name = "/lossy/image_raw", "/strict/pixio_node"
    publisher = peer.publisher(Image, topic, reliable=False)
    inbox = peer.inbox(PatchFeatures, f"{name}/features", reliable=True)
    with Node(namespace="/strict", remaps=(f"image:={topic}",), params=("image_reliability:=reliable", "features_dtype:=float32")) as node:
        diagnostics = Diagnostics(peer, name)
        until(lambda: diagnostics.says("camera", ERROR, f"{topic}: ", "no picture comes", "image_reliability:=best_effort"), 10,
              f"the camera that does not fit\n{node.tail()}")
        until(lambda: diagnostics.says("transport", WARN, f"{name}/features", "output_reliability:=reliable"), 10,
              f"the subscriber that does not fit\n{node.tail()}")
        peer.drop(inbox)
        until(lambda: diagnostics.says("transport", OK), 10, "a graph without misfits")
    peer.node.destroy_publisher(publisher)
    peer.drop(diagnostics.inbox)


def test_a_model_that_loads_is_warming_up(peer):
    name = "/warming/pixio_node"
    diagnostics = Diagnostics(peer, name)
    with Node(model="random:vitb16", namespace="/warming") as node:
        until(lambda: diagnostics.says("model", OK, "random:vitb16"), 10, f"a model that is loaded\n{node.tail()}")
    before = [statuses for _, statuses in diagnostics.messages() if statuses["model"].level[0] == WARN]
    assert before and all("warming up" in statuses[what].message for statuses in before for what in ("model", "camera")), before
    peer.drop(diagnostics.inbox)


def test_an_engine_that_does_not_serve_is_told_of(diagnosed, tmp_path):
    folder = tmp_path / "pixio_node" / "engines" / "spoilt"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"format": 1}')
    node, diagnostics = diagnosed(namespace="/eager", cache=tmp_path)
    until(lambda: diagnostics.says("engine", WARN, "fell back to eager", "spoilt"), 5, f"the spoilt engine\n{node.node.tail()}")
    node.ask(PHOTOGRAPH)


def test_latencies_have_topics_to_plot(rig, peer):
    node = rig(namespace="/plotted")
    inboxes = {name: peer.inbox(Float64, f"{node.node.name}/{name}") for name in ("pipeline_latency_ms", "processing_time_ms")}
    until(lambda: all(inbox.matched() for inbox in inboxes.values()), 10, "the publishers")

    def told():
        node.ask(PHOTOGRAPH)
        return all(map(len, inboxes.values()))
    until(told, 10, f"times\n{node.node.tail()}")
    latency, processing = (inboxes[name].messages[-1].data for name in inboxes)
    assert 0 < processing <= latency < 5000, (processing, latency)
    # They alone are no reason to work.
    peer.drop(node.inboxes.pop("features"))
    time.sleep(1)
    n_before = node.counts()["published"]
    for _ in range(5):
        node.send(PHOTOGRAPH)
        time.sleep(0.1)
    time.sleep(0.5)
    assert node.counts()["published"] == n_before
    for inbox in inboxes.values():
        peer.drop(inbox)
