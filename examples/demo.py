"""The whole path: a camera that shows a recording, the node, its live page, and what comes back. Start it
by scripts/demo."""

import argparse
import contextlib
import io
import itertools
import socket
import sys
import time
from pathlib import Path

import images
import messages  # noqa: F401  (pixio_node.msg)
import numpy as np
from decode import features_from_message
from node_process import ROOT, Node, NodeError
from peer import Inbox, Peer, nanos
from PIL import Image as Pillow
from pixio_node.msg import PatchFeatures
from pixio_train.metrics import in_words
from recording import Recording
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from waiting import until

TINY = ROOT / "models" / "pixio-tiny"
RATE_HZ = 10
OUTPUTS = {"features": PatchFeatures, "features/pca": Image}
DEPTH = {"depth/image": Image, "depth/color/compressed": CompressedImage, "points": PointCloud2}
SEGMENTATION = {"segmentation/image": Image, "segmentation/overlay/compressed": CompressedImage}
# Of the live page, unless it is taken.
LIVE_PORT = 8470
# The images that are saved have panels of this size.
PANEL = (480, 360)
GAP = 8


def film(recording: Recording, seconds: float) -> list[int]:
    """Number of the image of every frame: to the end of the walk and back, as often as it takes."""
    there_and_back = [*range(len(recording)), *range(len(recording) - 2, 0, -1)]
    return [there_and_back[i % len(there_and_back)] for i in range(max(2, round(seconds * RATE_HZ)))]


def show(peer: Peer, recording: Recording, frames: list[int], inboxes) -> dict[int, int]:
    """Publishes the frames; the number of the frame behind each stamp."""
    camera, info = (
        peer.publisher(Image, "/camera/image_raw"),
        peer.publisher(CameraInfo, "/camera/camera_info"),
    )
    until(
        lambda: camera.get_subscription_count() and all(inbox.matched() for inbox in inboxes),
        "the node's topics",
    )

    def answered():
        camera.publish(images.image(recording.rgb[frames[0]], peer.stamp()))
        time.sleep(0.1)
        return len(inboxes[0])

    # Each side finds the other in its own time, and the node looks for subscribers several times a second.
    until(answered, "an answer to the first frames")
    time.sleep(0.5)
    for inbox in inboxes:
        inbox.clear()
    frame_of, start = {}, time.monotonic()
    for i, image in enumerate(frames):
        time.sleep(max(0.0, start + i / RATE_HZ - time.monotonic()))
        message = images.image(recording.rgb[image], peer.stamp())
        frame_of[nanos(message.header.stamp)] = i
        if calibration := recording.camera_info(message.header.stamp):
            info.publish(calibration)
        camera.publish(message)
    # The last answers are still on their way.
    time.sleep(1.5)
    return frame_of


def go_on(peer: Peer, recording: Recording):
    """Shows the walk until Ctrl-C."""
    camera, info = (
        peer.publisher(Image, "/camera/image_raw"),
        peer.publisher(CameraInfo, "/camera/camera_info"),
    )
    with contextlib.suppress(KeyboardInterrupt):
        for image in itertools.cycle(film(recording, 2 * len(recording) / RATE_HZ)):
            message = images.image(recording.rgb[image], peer.stamp())
            if calibration := recording.camera_info(message.header.stamp):
                info.publish(calibration)
            camera.publish(message)
            time.sleep(1 / RATE_HZ)


def live_port() -> int:
    """The usual port of the live page, or one that is free."""
    for port in (LIVE_PORT, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as server:
            return server.getsockname()[1]
    raise OSError("no port of 127.0.0.1 is free for the live page")


def by_frame(inbox: Inbox, frame_of) -> dict:
    """Messages by the number of their frame."""
    stamps = [nanos(message.header.stamp) for message in inbox.messages]
    return {frame_of[stamp]: message for stamp, message in zip(stamps, inbox.messages) if stamp in frame_of}


def panels(recording: Recording, image: int, i: int, found: dict[str, dict]) -> Pillow.Image:
    """Camera and what the node says of it, side by side."""
    shown = [recording.rgb[image]]
    for topic in ("features/pca", "depth/color/compressed", "segmentation/overlay/compressed"):
        if message := found.get(topic, {}).get(i):
            raw = topic == "features/pca"
            shown.append(
                np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
                if raw
                else np.asarray(Pillow.open(io.BytesIO(bytes(message.data))))
            )
    columns = 2
    rows = -(-len(shown) // columns)
    width, height = PANEL
    sheet = Pillow.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for n, panel in enumerate(shown):
        corner = (n % columns * (width + GAP), n // columns * (height + GAP))
        sheet.paste(Pillow.fromarray(panel).resize(PANEL, Pillow.Resampling.BICUBIC), corner)
    return sheet


def save(folder: Path, recording: Recording, frames: list[int], found: dict[str, dict]) -> list[Path]:
    """One image of the middle, and all of them moving."""
    folder.mkdir(parents=True, exist_ok=True)
    complete = sorted(
        set.intersection(*(set(answers) for topic, answers in found.items() if topic != "points"))
    )
    if not complete:
        return []
    sheets = {i: panels(recording, frames[i], i, found) for i in complete}
    still, moving = folder / "demo.png", folder / "demo.webp"
    first, *others = sheets.values()
    sheets[complete[len(complete) // 2]].save(still)
    first.save(
        moving, save_all=True, append_images=others, duration=1000 // RATE_HZ, loop=0, quality=70, method=0
    )
    return [still, moving]


def short(path: Path) -> Path:
    """As short as it can be told from the project's folder."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def summary(
    recording: Recording, frames: list[int], frame_of, found: dict[str, dict], inbox: Inbox
) -> list[str]:
    first = next(iter(found["features"].values()))
    tokens = features_from_message(first)
    millis = [
        (at - nanos(message.header.stamp)) / 1e6
        for message, at in zip(inbox.messages, inbox.received_nanos)
        if nanos(message.header.stamp) in frame_of
    ]
    span = (inbox.received_nanos[-1] - inbox.received_nanos[0]) / 1e9
    height, width = recording.rgb[0].shape[:2]
    lines = [
        f"model         {first.model}, revision {first.revision}, block {first.layer}",
        f"camera        {len(frames)} frames of {width}x{height} at {RATE_HZ} Hz",
        f"features      {len(found['features'])} received, "
        f"{(len(millis) - 1) / max(span, 1e-9):.1f} Hz; {tokens.shape[1]}x{tokens.shape[0]} "
        f"patches of {tokens.shape[2]} {first.dtype}, {len(first.data) / 1000:.0f} kB each",
        (
            f"latency       p50 {np.percentile(millis, 50):.1f} ms, p99 {np.percentile(millis, 99):.1f} "
            "ms from the camera's stamp to our callback"
        ),
        (
            f"PCA           {len(found['features/pca'])} received (the first frames go into the "
            "estimate of the components)"
        ),
    ]
    for name, topic, figures in (
        ("depth", "depth/image", recording.depth_figures),
        ("segmentation", "segmentation/image", recording.label_figures),
    ):
        if answers := found.get(topic):
            error = figures({frames[i]: message for i, message in answers.items()})
            against = f"; against the truth: {in_words(error)}" if error else ""
            lines.append(f"{name:<13} {len(answers)} received{against}")
    if clouds := found.get("points"):
        cloud = next(iter(clouds.values()))
        lines.append(f"points        {len(clouds)} received; {cloud.width}x{cloud.height} each")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        default=str(TINY),
        help="model folder, cached Hugging Face id or random:NAME (default: models/pixio-tiny); "
        "depth.safetensors and segmentation.safetensors of a folder are its heads",
    )
    parser.add_argument(
        "--images",
        type=Path,
        default=ROOT / "data" / "room-walk",
        help="folder of JPEG or PNG images of one size (default: data/room-walk)",
    )
    parser.add_argument("--size", default="256x256", help="model input (default 256x256)")
    parser.add_argument("--seconds", type=float, default=10, help="length of the film (default 10)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "out" / "demo", help="folder for the images (default out/demo)"
    )
    parser.add_argument("--stay", action="store_true", help="go on with the walk until Ctrl-C")
    options = parser.parse_args()

    heads = {task: Path(options.model) / f"{task}.safetensors" for task in ("depth", "segmentation")}
    heads = {task: file for task, file in heads.items() if file.exists()}
    topics = OUTPUTS | (DEPTH if "depth" in heads else {}) | (SEGMENTATION if "segmentation" in heads else {})
    try:
        recording = Recording.open(options.images)
    except OSError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    if recording.camera is None:
        topics.pop("points", None)
    frames = film(recording, options.seconds)
    peer = Peer("demo")
    try:
        arguments = [text for task, file in heads.items() for text in (f"--{task}-head", str(file))]
        arguments += ["--live-port", str(live_port())]
        with Node(model=options.model, size=options.size, options=arguments) as node:
            page = node.wait_for_line(r"live page: ").split()[-1]
            print(f"live page     {page}", flush=True)
            inboxes = {
                topic: peer.inbox(kind, f"{node.name}/{topic}", reliable=True)
                for topic, kind in topics.items()
            }
            print(
                f"the node is ready; showing it {short(options.images)} for {len(frames) / RATE_HZ:.0f} s",
                flush=True,
            )
            frame_of = show(peer, recording, frames, list(inboxes.values()))
            found = {topic: by_frame(inbox, frame_of) for topic, inbox in inboxes.items()}
            code = 0 if options.stay else node.stop()
            missing = [topic for topic, answers in found.items() if not answers]
            if missing or code != 0:
                print(
                    f"error: nothing came back on {', '.join(missing) or 'no topic'}, the node "
                    f"ended with code {code}; its log ends "
                    f"with\n{node.tail()}",
                    file=sys.stderr,
                )
                return 1
            print("\n".join(summary(recording, frames, frame_of, found, inboxes["features"])))
            if not options.stay:
                print(f"books         {node.books()}")
            for path in save(options.out, recording, frames, found):
                print(f"image         {short(path)}")
            if options.model.startswith("random:"):
                print("random weights: this shows the way of the data, not what Pixio sees")
            if options.stay:
                print("the walk goes on, and the live page with it; Ctrl-C ends both", flush=True)
                go_on(peer, recording)
                code = node.stop()
                print(f"books         {node.books()}")
            return code
    except (NodeError, AssertionError) as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    finally:
        peer.close()


if __name__ == "__main__":
    sys.exit(main())
