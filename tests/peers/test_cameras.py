"""Four cameras of two sizes and both transports through one model: each gets its share, and none holds the others."""

import os
import re
import time
from pathlib import Path

import pictures
import pytest
import rooms_data
from cameras import OK, WARN, Camera, Cameras, Diagnostics, accounted, values
from node_process import Node
from peer import nanos, until
from pixio_node.msg import Embedding, PatchFeatures
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from sensor_msgs.msg import CameraInfo

NAMES = ("front", "left", "right", "rear")
SECS = 60
# More than the model can do here, so that the cameras must share.
RATE_HZ = 15
SILENT_AFTER_SECS = 5


def cameras(secs: float = SECS) -> list[Camera]:
    large, small = pictures.photograph("coffee"), pictures.photograph("chelsea", 320, 240)
    return [Camera("/rig/front/image_raw", large, RATE_HZ, "front_optical", secs),
            Camera("/rig/left/image_raw", pictures.file_bytes(pictures.photograph("rocket")), RATE_HZ, "left_optical", secs),
            Camera("/rig/right/image_raw", small, RATE_HZ, "right_optical", secs),
            Camera("/rig/rear/image_raw", small, RATE_HZ, "rear_optical", SILENT_AFTER_SECS)]


def node(model, **options) -> Node:
    remaps = [f"{name}/image:=/rig/{name}/image_raw" for name in NAMES]
    params = ("cameras:=[front, left, right, rear]", "left.image_transport:=compressed", "rear.expected_rate:=15.0")
    return Node(model=model, remaps=remaps, params=params + options.pop("params", ()), **options)


def threads_and_files(pid: int) -> tuple[int, int]:
    return len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))


def test_four_cameras_share_one_model_for_a_minute(peer):
    sent = cameras()
    with node(rooms_data.TINY, namespace="/robot") as running:
        diagnostics = Diagnostics(peer, running.name)
        inboxes = {name: peer.inbox(PatchFeatures, f"{running.name}/{name}/features", depth=100) for name in NAMES}
        with Cameras(peer, sent) as feed:
            until(lambda: all(p.get_subscription_count() for p in feed.publishers), 10, "the node's subscriptions")
            until(lambda: all(map(len, inboxes.values())), 15, f"features of every camera\n{running.tail()}")
            time.sleep(10)
            before = running.memory_bytes(), *threads_and_files(running.pid)
            until(lambda: max(stamp for camera in sent for stamp in camera.stamps[-1:]) > sent[3].stamps[0] + (SECS - 1) * 10**9,
                  SECS + 10, "a minute of pictures")
            after = running.memory_bytes(), *threads_and_files(running.pid)
            last = diagnostics.last()
        messages = diagnostics.messages()
        assert running.stop() == 0, running.tail()
    for inbox in (*inboxes.values(), diagnostics.inbox):
        peer.drop(inbox)

    # Each camera's own pictures came back, in order, under its own frame.
    for name, camera in zip(NAMES, sent):
        stamps = [nanos(message.header.stamp) for message in inboxes[name].messages]
        assert stamps == sorted(stamps) and set(stamps) <= set(camera.stamps), name
        assert {message.header.frame_id for message in inboxes[name].messages} == {f"{name}_optical"}
    sizes = {name: (m.image_width, m.image_height) for name in NAMES for m in inboxes[name].messages[-1:]}
    assert sizes == {"front": (640, 480), "left": (640, 480), "right": (320, 240), "rear": (320, 240)}

    # Fair among the live ones, each with its books.
    status = {name: last[f"camera {name}"] for name in NAMES}
    published = {name: int(values(status[name])["published"]) for name in NAMES}
    live = [published[name] for name in NAMES[:3]]
    assert min(live) > 0.9 * max(live) and min(live) > 5 * SECS, published
    assert all(accounted(of) for of in status.values()), status
    assert all(of.level[0] == OK for name, of in status.items() if name != "rear"), status

    # The silent one is told of within two seconds.
    fell_silent = sent[3].stamps[-1]
    warned = next(at for at, statuses in messages
                  if at > fell_silent and statuses.get("camera rear") and statuses["camera rear"].level[0] == WARN
                  and "silent" in statuses["camera rear"].message)
    assert warned - fell_silent < 2e9, (warned - fell_silent) / 1e9
    assert "/rig/rear/image_raw" in status["rear"].message, status["rear"].message

    # Nothing leaks.
    assert after[1:] == before[1:], (before, after)
    assert after[0] - before[0] < 16 << 20, (before, after)

    # More than one picture went through the model at once.
    batches = {int(key.split()[-1]): int(n) for key, n in values(last["engine"]).items() if key.startswith("forward passes of ")}
    assert max(batches) > 1, batches


@pytest.fixture(scope="module")
def quick(peer):
    """Four cameras into random:tiny, which keeps up with them."""
    with node("random:tiny", namespace="/quick", params=("front.max_rate:=3.0",)) as running:
        yield running


def test_each_camera_has_its_own_calibration_and_rate(peer, quick):
    sent = cameras(secs=8)
    infos = {name: peer.publisher(CameraInfo, f"/rig/{name}/camera_info") for name in ("front", "right")}
    grids = {name: peer.inbox(CameraInfo, f"{quick.name}/{name}/features/camera_info", depth=100) for name in NAMES}
    counted = {name: peer.inbox(Embedding, f"{quick.name}/{name}/embedding", depth=100) for name in ("front", "right")}
    with Cameras(peer, sent) as feed:
        until(lambda: all(p.get_subscription_count() for p in (*feed.publishers, *infos.values())), 10, "subscriptions")

        def calibrated():
            infos["front"].publish(pictures.calibration(640, 480, peer.stamp()))
            infos["right"].publish(pictures.calibration(320, 240, peer.stamp()))
            time.sleep(0.1)
            return len(grids["front"]) and len(grids["right"])
        until(calibrated, 10, f"calibrations of the grid\n{quick.tail()}")
        for inbox in counted.values():
            inbox.clear()
        time.sleep(3)
        n_front, n_right = map(len, counted.values())
    # The left one and the rear one were never calibrated.
    assert not len(grids["left"]) and not len(grids["rear"])
    centre = {name: (grids[name].messages[-1].k[2], grids[name].messages[-1].width) for name in ("front", "right")}
    assert centre["front"] == pytest.approx(((320 - 13 + 0.5) / 40 - 0.5, 16)), centre
    assert centre["right"] == pytest.approx(((160 - 13 + 0.5) / 20 - 0.5, 16)), centre
    # front.max_rate is 3; the right one comes at 15.
    assert 7 <= n_front <= 11 and n_right > 25, (n_front, n_right)
    for inbox in (*grids.values(), *counted.values()):
        peer.drop(inbox)
    for publisher in infos.values():
        peer.node.destroy_publisher(publisher)


def test_the_rate_of_one_camera_changes_while_the_node_runs(peer, quick):
    client = AsyncParameterClient(peer.node, quick.name)
    assert client.wait_for_services(10)
    time.sleep(0.3)

    def changed(name: str, value: float):
        return peer.ask(client.set_parameters, [Parameter(name, value=value)]).results[0]
    assert changed("right.max_rate", 2.0).successful
    refused = changed("max_rate", 2.0)
    assert not refused.successful and "front.max_rate" in refused.reason, refused
    inboxes = {name: peer.inbox(Embedding, f"{quick.name}/{name}/embedding", depth=100) for name in ("left", "right")}
    with Cameras(peer, cameras(secs=7)):
        until(lambda: all(map(len, inboxes.values())), 15, f"embeddings\n{quick.tail()}")
        before = {name: len(inbox) for name, inbox in inboxes.items()}
        time.sleep(3)
        n = {name: len(inbox) - before[name] for name, inbox in inboxes.items()}
    assert 4 <= n["right"] <= 8 and n["left"] > 25, n
    assert changed("right.max_rate", 0.0).successful
    for inbox in inboxes.values():
        peer.drop(inbox)


def test_a_broken_camera_does_not_hold_the_others(peer, quick):
    garbage = [Camera("/rig/left/image_raw", b"no picture", 15, silent_after=6), *(cameras(secs=6)[i] for i in (0, 2))]
    diagnostics = Diagnostics(peer, quick.name)
    inbox = peer.inbox(Embedding, f"{quick.name}/right/embedding", depth=100)
    others = peer.inbox(Embedding, f"{quick.name}/left/embedding", depth=100)
    with Cameras(peer, garbage):
        until(lambda: len(inbox) > 30, 20, f"embeddings of the right camera\n{quick.tail()}")
        status = until(lambda: diagnostics.says("camera left", 2, "no picture can be read"), 5, "the broken camera's status")
        assert int(values(status)["refused"]) > 10 and accounted(status), status
    assert not len(others)
    for of in (inbox, others, diagnostics.inbox):
        peer.drop(of)


def test_the_log_has_a_line_for_every_camera(quick):
    text = Path(quick.stats_file).read_text().splitlines()[-1]
    assert all(f"/rig/{name}/image_raw" in text for name in NAMES), text
    printed = [line for line in quick.output.lines if "Hz in" in line]
    assert {found[1] for line in printed if (found := re.search(r"/rig/(\w+)/image_raw(?:/compressed)?: ", line))} == set(NAMES)


# What is wrong, what the one error must name.
REFUSALS = [
    (("cameras:=[front, front]",), "there twice"),
    (("cameras:=[front]", "rear.max_rate:=1.0"), "rear.max_rate"),
    (("cameras:=[2nd]",), "begins with a digit"),
    (("cameras:=[front]", "front.size:=64x64"), "front.size"),
]


@pytest.mark.parametrize(("params", "says"), REFUSALS, ids=[" ".join(params) for params, _ in REFUSALS])
def test_cameras_that_cannot_be_stop_the_start(params, says):
    refused = Node(params=params).spawn()
    assert refused.process.wait(timeout=10) == 2
    refused.output.drain()
    assert len(refused.output.lines) == 1 and says in refused.output.lines[0], refused.output.lines
