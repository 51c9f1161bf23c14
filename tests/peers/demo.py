"""The main job on real pictures: a camera that wanders over photographs, the node, and what comes back. Start it by scripts/demo.

The photographs come with scikit-image: astronaut (NASA) and rocket (SpaceX) are in the public domain, coffee and chelsea are CC0.
"""

import argparse
import sys
import time
from pathlib import Path

import messages  # noqa: F401  (pixio_node.msg)
import numpy as np
import pictures
from decode import features_from_message
from node_process import ROOT, Node, NodeError
from peer import Peer, nanos, until
from PIL import Image as Pillow
from pixio_node.msg import Embedding, PatchFeatures
from sensor_msgs.msg import Image

RATE_HZ = 10
WIDTH, HEIGHT = 640, 480


def view(photograph: Pillow.Image, progress: float) -> np.ndarray:
    """What the camera sees at `progress` 0 to 1: a window that pans and zooms in. uint8 [HEIGHT, WIDTH, 3], RGB."""
    width, height = photograph.size
    zoom = 1.0 - 0.4 * progress
    window_width = min(width, height * WIDTH / HEIGHT) * zoom
    window_height = window_width * HEIGHT / WIDTH
    # Rounding may leave a hair less than nothing.
    left = max(width - window_width, 0) * (0.5 + 0.4 * np.sin(2 * np.pi * progress))
    top = max(height - window_height, 0) * (0.5 - 0.4 * np.sin(np.pi * progress))
    box = (left, top, min(left + window_width, width), min(top + window_height, height))
    return np.asarray(photograph.resize((WIDTH, HEIGHT), Pillow.Resampling.BICUBIC, box=box))


def film(seconds: float) -> list[tuple[str, np.ndarray]]:
    """Name of the photograph and picture of every frame."""
    n_frames = max(int(seconds * RATE_HZ / len(pictures.NAMES)), 2)
    frames = []
    for name in pictures.NAMES:
        photograph = Pillow.fromarray(getattr(pictures.photographs, name)())
        frames += [(name, view(photograph, i / (n_frames - 1))) for i in range(n_frames)]
    return frames


def show(peer: Peer, node: Node, frames, inboxes) -> dict[int, int]:
    """Publishes the film; the number of the frame behind each stamp."""
    camera = peer.publisher(Image, "/camera/image_raw")
    until(lambda: camera.get_subscription_count() and all(inbox.matched() for inbox in inboxes), 15, "the node's topics")
    # The node looks for subscribers several times a second.
    time.sleep(0.5)
    frame_of, start = {}, time.monotonic()
    for i, (_, rgb) in enumerate(frames):
        time.sleep(max(0.0, start + i / RATE_HZ - time.monotonic()))
        message = pictures.image(rgb, peer.stamp())
        frame_of[nanos(message.header.stamp)] = i
        camera.publish(message)
    # The last answers are still on their way.
    time.sleep(1.5)
    return frame_of


def by_frame(inbox, frame_of) -> dict:
    """Messages by the number of their frame."""
    stamps = [nanos(message.header.stamp) for message in inbox.messages]
    return {frame_of[stamp]: message for stamp, message in zip(stamps, inbox.messages) if stamp in frame_of}


def save_pairs(folder: Path, frames, colours) -> list[Path]:
    """Camera and principal components side by side, one file a photograph."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in pictures.NAMES:
        shown = [i for i in sorted(colours) if frames[i][0] == name]
        if not shown:
            continue
        i = shown[len(shown) // 2]
        message = colours[i]
        components = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        pair = Pillow.new("RGB", (2 * WIDTH + 8, HEIGHT), "white")
        pair.paste(Pillow.fromarray(frames[i][1]), (0, 0))
        pair.paste(Pillow.fromarray(components).resize((WIDTH, HEIGHT), Pillow.Resampling.BICUBIC), (WIDTH + 8, 0))
        paths.append(folder / f"{name}.png")
        pair.save(paths[-1])
    return paths


def similarity(frames, embeddings) -> str:
    """Mean cosine of the pooled class tokens between views of one photograph and between photographs, as a table."""
    def normed(i):
        pooled = np.array(embeddings[i].pooled, np.float64)
        return pooled / np.linalg.norm(pooled)

    of = {name: [normed(i) for i in embeddings if frames[i][0] == name] for name in pictures.NAMES}
    rows = [f"{'':>12}" + "".join(f"{name:>11}" for name in pictures.NAMES)]
    for a in pictures.NAMES:
        cells = []
        for b in pictures.NAMES:
            pairs = [x @ y for i, x in enumerate(of[a]) for j, y in enumerate(of[b]) if a != b or i != j]
            cells.append(f"{np.mean(pairs):11.3f}" if pairs else f"{'-':>11}")
        rows.append(f"{a:>12}" + "".join(cells))
    return "\n".join(rows)


def summary(frames, frame_of, features, colours, embeddings, inbox) -> str:
    first = next(iter(features.values()))
    millis = [(at - nanos(message.header.stamp)) / 1e6 for message, at in zip(inbox.messages, inbox.received_nanos)
              if nanos(message.header.stamp) in frame_of]
    span = (inbox.received_nanos[-1] - inbox.received_nanos[0]) / 1e9
    tokens = features_from_message(first)
    lines = [
        f"model            {first.model}, revision {first.revision}, block {first.layer}",
        f"camera           {len(frames)} frames of {WIDTH}x{HEIGHT} at {RATE_HZ} Hz",
        f"features         {len(features)} received, {(len(millis) - 1) / max(span, 1e-9):.1f} Hz; {tokens.shape[1]}x{tokens.shape[0]} patches of "
        f"{tokens.shape[2]} {first.dtype}, {len(first.data) / 1000:.0f} kB each",
        f"latency          p50 {np.percentile(millis, 50):.1f} ms, p99 {np.percentile(millis, 99):.1f} ms from the camera's stamp to our callback",
        f"PCA pictures     {len(colours)} received (the first frames go into the estimate of the components)",
        f"embeddings       {len(embeddings)} received; mean cosine between views:",
        similarity(frames, embeddings),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random:tiny", help="model folder, cached Hugging Face id or random:NAME (default random:tiny)")
    parser.add_argument("--size", default="256x256", help="model input (default 256x256)")
    parser.add_argument("--seconds", type=float, default=10, help="length of the film (default 10)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "demo", help="folder for the pictures (default out/demo)")
    options = parser.parse_args()

    frames = film(options.seconds)
    peer = Peer("demo")
    try:
        with Node(model=options.model, size=options.size) as node:
            inboxes = [peer.inbox(kind, f"{node.name}/{topic}") for kind, topic in
                       ((PatchFeatures, "features"), (Image, "features/pca"), (Embedding, "embedding"))]
            print(f"the node is ready; showing it {', '.join(pictures.NAMES)} for {len(frames) / RATE_HZ:.0f} s", flush=True)
            frame_of = show(peer, node, frames, inboxes)
            features, colours, embeddings = (by_frame(inbox, frame_of) for inbox in inboxes)
            code = node.stop()
            if not (features and colours and embeddings) or code != 0:
                print(f"error: {len(features)} features, {len(colours)} PCA pictures and {len(embeddings)} embeddings came back, "
                      f"the node ended with code {code}; its log ends with\n{node.tail()}", file=sys.stderr)
                return 1
            print(summary(frames, frame_of, features, colours, embeddings, inboxes[0]))
            print(f"the node's books {node.books()}")
            for path in save_pairs(options.out, frames, colours):
                print(f"camera and PCA   {path}")
            if options.model.startswith("random:"):
                print("random weights: this shows the way of the data, not what Pixio sees; give --model for that")
            return 0
    except (NodeError, AssertionError) as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    finally:
        peer.close()


if __name__ == "__main__":
    sys.exit(main())
