"""Faults of cameras: that vanish, change, stamp wrongly, or send what is no image."""

import itertools
import time

import bad_frames
import images
import numpy as np
from builtin_interfaces.msg import Time
from cameras import ERROR, OK, WARN, Camera, Cameras
from peer import Peer
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from waiting import PATIENCE_SECS, repeat, until

from .trial import PHOTOGRAPH, Fault, Trial

TOPIC = "/camera/image_raw"
SIZES = [(640, 480), (64, 48), (1280, 720), (17, 333), (320, 240)]


def vanishes(trial: Trial):
    rig = trial.rig()
    diagnostics = trial.diagnostics(rig.node)
    trial.serve(rig)
    trial.peer.node.destroy_publisher(rig.camera)
    trial.diagnoses(diagnostics, "camera", WARN, "there is no publisher")
    trial.injected()
    rig.camera = trial.peer.publisher(Image, TOPIC)
    trial.serve(rig)
    until(lambda: diagnostics.says("camera", OK), "a camera that is well again")
    trial.stops(rig.node)


def changes_size(trial: Trial):
    rig = trial.rig()
    trial.serve(rig)
    trial.injected()
    for width, height in SIZES * 2:
        answer = rig.ask(images.photograph("rocket", width, height))
        assert (answer.image_width, answer.image_height) == (width, height), answer
        trial.answered()
    trial.stops(rig.node)


def changes_encoding(trial: Trial):
    rig = trial.rig()
    trial.serve(rig)
    trial.injected()
    grey = PHOTOGRAPH[..., 0]
    for encoding, pixels in (
        ("mono8", grey),
        ("bgr8", PHOTOGRAPH),
        ("mono16", grey.astype(np.uint16) * 257),
        ("bayer_rggb8", grey),
        ("rgba8", np.dstack([PHOTOGRAPH, grey])),
        ("rgb8", PHOTOGRAPH),
    ):
        rig.ask(pixels, encoding=encoding)
        trial.answered()
    trial.stops(rig.node)


def changes_type(trial: Trial):
    rig = trial.rig()
    diagnostics = trial.diagnostics(rig.node)
    trial.serve(rig)
    trial.peer.node.destroy_publisher(rig.camera)
    # In DDS a participant has one type for a name.
    stranger = Peer("stranger")
    trial.at_end(stranger.close)
    other = stranger.publisher(String, TOPIC)
    trial.diagnoses(diagnostics, "camera", ERROR, "std_msgs")
    for _ in range(20):
        other.publish(String(data="no image"))
    trial.injected()
    rig.camera = trial.peer.publisher(Image, TOPIC)
    trial.serve(rig)
    trial.stops(rig.node)


def changes_stamps(trial: Trial):
    rig = trial.rig()
    diagnostics = trial.diagnostics(rig.node)
    trial.serve(rig)
    trial.injected()
    now = time.time()
    for secs, level, text in (
        (now + 10_000, WARN, "ahead of the clock"),
        (now - 10_000, WARN, "behind the clock"),
        (0, WARN, "stamps are 0"),
        (now, OK, "Hz"),
    ):
        clock = itertools.count()

        def show(secs=secs, clock=clock):
            # On from one to the next, but for a stamp that is always the same.
            offset = next(clock) / 1000 if secs else 0
            stamp = Time(sec=int(secs), nanosec=int((secs % 1 + offset) % 1 * 1e9))
            rig.camera.publish(images.image(PHOTOGRAPH, stamp))

        before = rig.counts()["published"]
        repeat(
            show,
            lambda level=level, text=text: diagnostics.says("camera", level, text),
            text,
            every_secs=0.1,
            log=lambda: str(diagnostics.last().get("camera")),
        )
        until(lambda before=before: rig.counts()["published"] > before, "frames that were served")
        trial.answered(rig.counts()["published"] - before)
    trial.seen.sentence = "/diagnostics: stamps ahead of the clock, behind it and of 0, each with its cause"
    trial.stops(rig.node)


def sends_too_fast(trial: Trial):
    rig = trial.rig()
    trial.serve(rig)
    memory = rig.node.memory_bytes()
    trial.injected()
    with Cameras(trial.peer, [Camera(TOPIC, PHOTOGRAPH, rate_hz=500)]):
        until(
            lambda: rig.counts()["received"] > rig.base["received"] + 500,
            "500 frames",
            progress=lambda: rig.counts()["received"],
        )
        counts = rig.counts()
    grown = (rig.node.memory_bytes() - memory) / 2**20
    trial.answered(counts["published"] - rig.base["published"])
    trial.note(f"received {counts['received']}, displaced {counts['displaced']}, memory {grown:+.0f} MB")
    assert grown < 40, f"{grown:.0f} MB more"
    trial.serve(rig, 1)
    trial.stops(rig.node)


def refuse(trial: Trial, rig, bad: dict, good):
    """Every one of `bad` is refused and counted, and a good image after each is served."""
    trial.serve(rig, image=good)
    memory = rig.node.memory_bytes()
    trial.injected()
    for name, frame in bad.items():
        before = rig.settled()["refused"]

        def show(frame=frame):
            frame.header.stamp, frame.header.frame_id = trial.peer.stamp(), "bad"
            rig.camera.publish(frame)

        repeat(show, lambda before=before: rig.counts()["refused"] > before, f"the refusal of {name}")
        trial.serve(rig, 1, good)
    grown = (rig.node.memory_bytes() - memory) / 2**20
    trial.note(f"{len(bad)} kinds refused, memory {grown:+.0f} MB")
    assert grown < 60, f"{grown:.0f} MB more"
    assert not [message for message in rig.inboxes["features"].messages if message.header.frame_id == "bad"]
    trial.tells(rig.node, r"\[WARN\].*frame refused")
    trial.stops(rig.node)


def bad_raw(trial: Trial):
    refuse(trial, trial.rig(), bad_frames.RAW, PHOTOGRAPH)


def bad_compressed(trial: Trial):
    bad = {name: CompressedImage(format="jpeg", data=file) for name, file in bad_frames.COMPRESSED.items()}
    refuse(trial, trial.rig(transport="compressed"), bad, bad_frames.jpeg())


def bombs(trial: Trial):
    # Nothing is lost or given up for its age, so each file is sent once.
    params = ("image_reliability:=reliable", "max_age:=0.0")
    rig = trial.rig(transport="compressed", params=params)
    trial.serve(rig, image=bad_frames.jpeg())
    memory = rig.node.memory_bytes()
    trial.injected()
    for name, file, decoded in bad_frames.costly():
        rig.node.forget_peak_memory()
        rig.answers(file, every_secs=PATIENCE_SECS)
        trial.answered()
        peak = rig.node.memory_bytes("VmHWM") - memory
        assert peak < 3 * decoded + 16e6 + 2 * len(file), f"{name}: {peak / 1e6:.0f} MB"
        trial.serve(rig, 2, bad_frames.jpeg())
    kept = (rig.node.memory_bytes() - memory) / 2**20
    trial.note(f"{kept:+.0f} MB when they were gone")
    assert kept < 16, f"{kept:.0f} MB kept"
    trial.stops(rig.node)


def long_names(trial: Trial):
    rig = trial.rig()
    trial.serve(rig)
    trial.injected()
    before = rig.settled()["refused"]
    for fields in ({"frame_id": "f" * 1_000_000}, {"encoding": "e" * 1_000_000}):
        rig.feed(PHOTOGRAPH, lambda: rig.counts()["refused"] > before, "the refusal", every_secs=1, **fields)
        before = rig.settled()["refused"]
        trial.serve(rig, 1)
    longest = max(map(len, rig.node.output.lines))
    assert longest < 2000, f"a line of {longest} characters"
    trial.tells(rig.node, r"\[WARN\].*so far")
    trial.stops(rig.node)


def bad_calibration(trial: Trial):
    rig = trial.rig(listen=("features", "features/camera_info"))
    diagnostics = trial.diagnostics(rig.node)
    good = images.calibration(320, 240, trial.peer.stamp())
    rig.answers(PHOTOGRAPH, camera_info=good)
    trial.answered()
    trial.injected()
    for change, cause in (
        ({"k": [float("nan")] * 9}, "K holds NaN"),
        ({"k": [0.0] * 9}, "the camera is not calibrated"),
        ({"width": 640, "height": 480}, "the CameraInfo is for 640x480, the images are 320x240"),
    ):
        message = images.calibration(320, 240, trial.peer.stamp())
        for name, value in change.items():
            setattr(message, name, value)
        rig.inboxes["features/camera_info"].clear()

        def show(message=message):
            rig.camera_info.publish(message)
            rig.send(PHOTOGRAPH)

        repeat(
            show,
            lambda cause=cause: diagnostics.says("camera", WARN, "no features/camera_info", cause),
            cause,
            every_secs=0.2,
            log=lambda: str(diagnostics.last().get("camera")),
        )
        trial.seen.sentence = f"/diagnostics: {diagnostics.last()['camera'].message}"
        trial.serve(rig, 1)
    rig.answers(PHOTOGRAPH, camera_info=images.calibration(320, 240, trial.peer.stamp()))
    trial.answered()
    trial.stops(rig.node)


FAULTS = [
    Fault(
        "camera vanishes and returns",
        "the only publisher is destroyed; another comes",
        "serves the next camera; /diagnostics says that there is no publisher",
        vanishes,
    ),
    Fault(
        "camera changes size",
        "five sizes from 17x333 to 1280x720 in turn",
        "images of every size are answered in their own size",
        changes_size,
    ),
    Fault(
        "camera changes encoding",
        "mono8, bgr8, mono16, bayer_rggb8, rgba8, rgb8 in turn",
        "images of every encoding are answered",
        changes_encoding,
    ),
    Fault(
        "topic changes type",
        "a publisher of std_msgs/String on the camera's topic",
        "it is not taken for a camera and is told; the next camera is served",
        changes_type,
    ),
    Fault(
        "stamps jump",
        "stamps ahead, behind, always 0",
        "serves under the same stamps; /diagnostics names each cause",
        changes_stamps,
    ),
    Fault(
        "camera sends too fast",
        "320x240 at 500 Hz",
        "the newest is served, the rest is counted; memory stays",
        sends_too_fast,
    ),
    Fault(
        "raw frames that are none",
        f"{len(bad_frames.RAW)} kinds: short data, false sizes, unknown encodings",
        "refused, counted and told once; the next frame is served",
        bad_raw,
    ),
    Fault(
        "truncated and false JPEG and PNG",
        f"{len(bad_frames.COMPRESSED)} kinds: cut files, noise, claims of 60000x60000",
        "refused, counted and told once; the next frame is served",
        bad_compressed,
    ),
    Fault(
        "decompression bombs",
        "PNG files of 0.4 MB that unpack to 400 MB",
        "memory in proportion to the image, and given back",
        bombs,
    ),
    Fault(
        "endless names",
        "frame_id and encoding of 1 MB",
        "refused and told in a short line",
        long_names,
    ),
    Fault(
        "bad calibration",
        "CameraInfo of NaN, of zeros and of another size",
        "features go on; what needs a calibration is withheld, with the cause",
        bad_calibration,
    ),
]
