"""Four cameras of two sizes and both transports through one model: each gets its share, and none holds the
others."""

import re
from pathlib import Path

import images
import pytest
import rooms_data
from cameras import OK, WARN, Camera, Cameras, Diagnostics, accounted, answered, no_faster, values
from node_process import Node
from peer import nanos
from pixio_node.msg import Embedding, PatchFeatures
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from sensor_msgs.msg import CameraInfo
from waiting import PATIENCE_SECS, repeat, until

NAMES = ("front", "left", "right", "rear")
RATE_HZ = 15
SILENT = re.compile(r"silent for ([\d.]+) s")
# What each camera is answered before memory is looked at for the first time, and for the second.
N_BEFORE, N_AFTER = 50, 250


def cameras() -> list[Camera]:
    large, small = images.photograph("coffee"), images.photograph("chelsea", 320, 240)
    return [
        Camera("/rig/front/image_raw", large, RATE_HZ, "front_optical"),
        Camera(
            "/rig/left/image_raw", images.file_bytes(images.photograph("rocket")), RATE_HZ, "left_optical"
        ),
        Camera("/rig/right/image_raw", small, RATE_HZ, "right_optical"),
        Camera("/rig/rear/image_raw", small, RATE_HZ, "rear_optical"),
    ]


def node(model, **options) -> Node:
    remaps = [f"{name}/image:=/rig/{name}/image_raw" for name in NAMES]
    params = (
        "cameras:=[front, left, right, rear]",
        "left.image_transport:=compressed",
        "rear.expected_rate:=15.0",
    )
    return Node(model=model, remaps=remaps, params=params + options.pop("params", ()), **options)


def threads_and_files(pid: int) -> tuple[int, int]:
    task, fd = (len(list(Path(f"/proc/{pid}", folder).iterdir())) for folder in ("task", "fd"))
    return task, fd


def counts(running: Node) -> dict[str, dict[str, int]]:
    """The books of each camera, as of now or a little later."""
    return {camera["name"].split("/")[2]: camera["counts"] for camera in running.report()["cameras"]}


def test_four_cameras_share_one_model(peer):
    sent, live = cameras(), NAMES[:3]
    # On one thread no machine keeps up with all of them, so that they must share.
    with node(rooms_data.TINY, namespace="/robot", options=("--threads", "1")) as running:
        diagnostics = Diagnostics(peer, running.name)
        inboxes = {
            name: peer.inbox(PatchFeatures, f"{running.name}/{name}/features", depth=100) for name in NAMES
        }

        def served(n: int, names):
            def fewest() -> int:
                return min(len(inboxes[name]) for name in names)

            until(lambda: fewest() >= n, f"{n} features of {names}", progress=fewest, log=running.tail)

        with Cameras(peer, sent) as feed:
            served(N_BEFORE, NAMES)
            feed.silence(NAMES.index("rear"))
            # It is told of, and the others are well.
            until(
                lambda: diagnostics.says("camera rear", WARN, "silent for", "/rig/rear/image_raw"),
                "the silent camera",
            )
            before = running.memory_bytes(), *threads_and_files(running.pid)
            of_before = counts(running)
            served(N_AFTER, live)
            of_after, after = counts(running), running.memory_bytes()
            until(
                lambda: threads_and_files(running.pid) == before[1:],
                f"the threads and files of before, {before[1:]}",
            )
            until(
                lambda: all(diagnostics.says(f"camera {name}", OK) for name in live),
                "three cameras that are well",
                log=lambda: str(diagnostics.last()),
            )
            last = diagnostics.last()
        messages = diagnostics.messages()
        assert running.stop() == 0, running.tail()
    for inbox in (*inboxes.values(), diagnostics.inbox):
        peer.drop(inbox)

    # Each camera's own images came back, in order, under its own frame.
    for name, camera in zip(NAMES, sent):
        stamps = [nanos(message.header.stamp) for message in inboxes[name].messages]
        assert stamps == sorted(stamps) and set(stamps) <= set(camera.stamps), name
        assert {message.header.frame_id for message in inboxes[name].messages} == {f"{name}_optical"}
    sizes = {name: (m.image_width, m.image_height) for name in NAMES for m in inboxes[name].messages[-1:]}
    assert sizes == {"front": (640, 480), "left": (640, 480), "right": (320, 240), "rear": (320, 240)}

    # Fair among the live ones, each with its books: a camera's share of the model, beside its share of what
    # reached the node.
    received, published = (
        {name: of_after[name][fate] - of_before[name][fate] for name in live}
        for fate in ("received", "published")
    )
    for name in live:
        share, supply = (of[name] / max(of.values()) for of in (published, received))
        assert share > 0.5 * supply, (received, published)
    status = {name: last[f"camera {name}"] for name in NAMES}
    assert all(accounted(of) for of in status.values()), status

    # It was silent for a second before that was told.
    told = next(
        found for _, statuses in messages if (found := SILENT.search(statuses["camera rear"].message))
    )
    assert 1 <= float(told[1]), told

    # Nothing leaks.
    assert after - before[0] < 16 << 20, (before, after)

    # More than one image went through the model at once.
    batches = {
        int(key.split()[-1]): int(n)
        for key, n in values(last["engine"]).items()
        if key.startswith("forward passes of ")
    }
    assert max(batches) > 1, batches


@pytest.fixture(scope="module")
def quick(peer):
    """Four cameras into random:tiny, which keeps up with them."""
    with node("random:tiny", namespace="/quick", params=("front.max_rate:=3.0",)) as running:
        yield running


def test_each_camera_has_its_own_calibration_and_rate(peer, quick):
    infos = {name: peer.publisher(CameraInfo, f"/rig/{name}/camera_info") for name in ("front", "right")}
    grids = {
        name: peer.inbox(CameraInfo, f"{quick.name}/{name}/features/camera_info", depth=100) for name in NAMES
    }
    counted = {
        name: peer.inbox(Embedding, f"{quick.name}/{name}/embedding", depth=100)
        for name in ("front", "right")
    }

    def calibrate():
        infos["front"].publish(images.calibration(640, 480, peer.stamp()))
        infos["right"].publish(images.calibration(320, 240, peer.stamp()))

    with Cameras(peer, cameras()):
        repeat(
            calibrate,
            lambda: len(grids["front"]) and len(grids["right"]),
            "calibrations of the grid",
            every_secs=0.1,
            log=quick.tail,
        )
        before = counts(quick)
        until(lambda: len(counted["front"]) >= 10 and len(counted["right"]), "embeddings", log=quick.tail)
        passed_over = {name: of["unwanted"] - before[name]["unwanted"] for name, of in counts(quick).items()}
    # front.max_rate is 3; the right one comes at its own rate, and nothing of it is passed over.
    assert no_faster(answered(counted["front"]), 3) and passed_over["front"] > 0 == passed_over["right"], (
        passed_over
    )
    # The left one and the rear one were never calibrated.
    assert not len(grids["left"]) and not len(grids["rear"])
    centre = {
        name: (grids[name].messages[-1].k[2], grids[name].messages[-1].width) for name in ("front", "right")
    }
    assert centre["front"] == pytest.approx(((320 - 13 + 0.5) / 40 - 0.5, 16)), centre
    assert centre["right"] == pytest.approx(((160 - 13 + 0.5) / 20 - 0.5, 16)), centre
    for inbox in (*grids.values(), *counted.values()):
        peer.drop(inbox)
    for publisher in infos.values():
        peer.node.destroy_publisher(publisher)


def test_the_rate_of_one_camera_changes_while_the_node_runs(peer, quick):
    client = AsyncParameterClient(peer.node, quick.name)
    peer.meet(client.services_are_ready)

    def changed(name: str, value: float):
        return peer.ask(client.set_parameters, [Parameter(name, value=value)]).results[0]

    refused = changed("max_rate", 2.0)
    assert not refused.successful and "front.max_rate" in refused.reason, refused
    inboxes = {
        name: peer.inbox(Embedding, f"{quick.name}/{name}/embedding", depth=100) for name in ("left", "right")
    }

    def more(name: str, n: int):
        """Waits for answers to `n` frames that were sent from now on."""
        since = nanos(peer.stamp())
        return until(
            lambda: len(found := answered(inboxes[name], since)) >= n and found,
            f"embeddings of {name}",
            log=quick.tail,
        )

    with Cameras(peer, cameras()):
        until(lambda: all(map(len, inboxes.values())), "embeddings", log=quick.tail)
        assert changed("right.max_rate", 2.0).successful
        before = counts(quick)
        assert no_faster(more("right", 8), 2)
        limited = counts(quick)
        assert (
            limited["right"]["unwanted"] > before["right"]["unwanted"]
            and limited["left"]["unwanted"] == before["left"]["unwanted"]
        )
        assert changed("right.max_rate", 0.0).successful
        before = counts(quick)
        more("right", 20)
        assert counts(quick)["right"]["unwanted"] == before["right"]["unwanted"]
    for inbox in inboxes.values():
        peer.drop(inbox)


def test_a_broken_camera_does_not_hold_the_others(peer, quick):
    garbage = [Camera("/rig/left/image_raw", b"no image", RATE_HZ), *(cameras()[i] for i in (0, 2))]
    diagnostics = Diagnostics(peer, quick.name)
    inbox = peer.inbox(Embedding, f"{quick.name}/right/embedding", depth=100)
    others = peer.inbox(Embedding, f"{quick.name}/left/embedding", depth=100)

    def refused():
        status = diagnostics.says("camera left", 2, "no image can be read")
        return status and int(values(status)["refused"]) > 10 and status

    started = peer.stamp()
    with Cameras(peer, garbage):
        until(lambda: len(inbox) > 30, "embeddings of the right camera", log=quick.tail)
        status = until(refused, "the broken camera's status", log=lambda: str(diagnostics.last()))
        assert accounted(status), status
    # Images of an earlier camera of that name may still have been under way.
    assert not [message for message in others.messages if nanos(message.header.stamp) > nanos(started)]
    for of in (inbox, others, diagnostics.inbox):
        peer.drop(of)


def test_the_log_has_a_line_for_every_camera(quick):
    text = Path(quick.stats_file).read_text().splitlines()[-1]
    assert all(f"/rig/{name}/image_raw" in text for name in NAMES), text
    printed = [line for line in quick.output.lines if "Hz in" in line]
    assert {
        found[1] for line in printed if (found := re.search(r"/rig/(\w+)/image_raw(?:/compressed)?: ", line))
    } == set(NAMES)


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
    assert refused.process.wait(PATIENCE_SECS) == 2
    refused.output.drain()
    assert len(refused.output.lines) == 1 and says in refused.output.lines[0], refused.output.lines
