"""Makes a data set for pixio-train-head --task depth from a ROS 2 bag (MCAP or sqlite3) with a colour and a
depth topic.

OUT gets rgb/BAG_STAMP.png (or the bag's own JPEG), depth/BAG_STAMP.png (16 bit, millimetres, 0 unknown) and
camera.yaml. Several bags of one camera may go into one OUT, each a scene of its own. Topics may be Image or
CompressedImage. Each colour image is paired with the depth image nearest in time.

Depth of the colour image's size and frame is taken to lie on it, pixel on pixel, as drivers publish
"aligned" or "registered" depth. Other depth is projected into the colour camera: this needs the CameraInfo of
both, and /tf_static where their frames differ. Lens distortion is not corrected: record rectified images if
the lens has much. Needs scripts/requirements/training.txt.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from tqdm import tqdm

from pixio_train import bag_images, options
from pixio_train.bag import CAMERA_INFO, COMPRESSED, IMAGE, TF_STATIC, Bag
from pixio_train.dataset import Camera, read_camera
from pixio_train.errors import Refused, program
from pixio_train.pairing import every, paired
from pixio_train.registration import registered, transform


@program
def main() -> None:
    args = parse()
    with Bag(args.bag) as bag:
        convert(bag, args)


def convert(bag: Bag, args: argparse.Namespace) -> None:
    for topic in (args.color, args.depth):
        bag.check(topic, IMAGE, COMPRESSED)
    color_frames, depth_frames = (frames(bag, topic) for topic in (args.color, args.depth))
    found = paired(list(color_frames), list(depth_frames), args.max_difference)
    print(
        f"{len(color_frames)} colour and {len(depth_frames)} depth images: {len(found.pairs)} "
        "pairs; of the colour "
        f"images {found.n_without_partner} are without partner, {found.n_too_far} too far apart from any"
    )
    if not found.pairs:
        raise Refused(
            f"no image on {args.color} has depth on {args.depth} within {args.max_difference:g} s: are "
            "both stamped by one clock? --max-difference allows more"
        )
    pairs = every(found.pairs, args.every)
    color_stamp, depth_stamp = pairs[0]
    cameras = Cameras(bag, args, color_frames[color_stamp], depth_frames[depth_stamp])
    n_written = write(bag, args, pairs, cameras)
    if not n_written:
        raise Refused(f"none of the {len(pairs)} images on {args.depth} has any known depth")
    print(f"{args.out}: {n_written} images with depth")
    if n_written < len(pairs):
        print(f"note: {len(pairs) - n_written} had no known depth and were left out")
    if cameras.color is None:
        print("note: no CameraInfo of the colour camera is in the bag, so no camera.yaml was written")


def frames(bag: Bag, topic: str) -> dict[int, str]:
    """The frame of every image by its stamp in nanoseconds, ascending."""
    return {one.nanos: one.frame_id for one in bag.stamps(topic)}


class Cameras:
    """How depth gets into the colour camera's pixels."""

    def __init__(self, bag: Bag, args: argparse.Namespace, color_frame: str, depth_frame: str) -> None:
        self.color = camera(bag, args.color, args.camera_info)
        self.depth = camera(bag, args.depth, args.depth_info)
        self.topics = args.color, args.depth
        self.frames = color_frame, depth_frame
        messages = [bag.first(topic) for topic in self.topics]
        sizes = [size(bag_images.color(messages[0])), size(bag_images.depth(messages[1]))]
        for topic, one, has in zip(self.topics, (self.color, self.depth), sizes):
            if one and (one.width, one.height) != has:
                raise Refused(
                    f"images on {topic} are {has[0]}x{has[1]}, their CameraInfo is for "
                    f"{one.width}x{one.height}"
                )
        is_one_camera = self.color is None or self.depth is None or self.color.is_nearly(self.depth)
        self.is_aligned = color_frame == depth_frame and sizes[0] == sizes[1] and is_one_camera
        if self.is_aligned:
            return
        for topic, one, option in zip(
            self.topics, (self.color, self.depth), ("--camera-info", "--depth-info")
        ):
            if one is None:
                known = ", ".join(sorted(bag.topics(CAMERA_INFO))) or "none"
                raise Refused(
                    f"depth does not lie on the colour images ({sizes[1][0]}x{sizes[1][1]} in "
                    f"{depth_frame}, {sizes[0][0]}x{sizes[0][1]} in {color_frame}) and {topic} has no "
                    f"CameraInfo beside it: give {option} (in the bag: {known})"
                )
        transforms = [one for message in bag.all(TF_STATIC) for one in message.transforms]
        self.color_from_depth = transform(transforms, color_frame, depth_frame)
        if self.color_from_depth is None:
            raise Refused(
                f"depth is in frame {depth_frame}, colour in {color_frame}, and {TF_STATIC} does not connect "
                "them"
            )
        print(f"depth is projected from {depth_frame} into {color_frame}", flush=True)

    def on_color(self, depth: np.ndarray) -> np.ndarray:
        return depth if self.is_aligned else registered(depth, self.depth, self.color, self.color_from_depth)


def camera(bag: Bag, topic: str, info_topic: str | None) -> Camera | None:
    """From the CameraInfo that was named, or the one beside the images if there is one."""
    if info_topic is not None:
        bag.check(info_topic, CAMERA_INFO)
    else:
        beside = [f"{'/'.join(topic.split('/')[:-n])}/camera_info" for n in (1, 2)]
        info_topic = next((one for one in beside if one in bag.topics(CAMERA_INFO)), None)
    message = info_topic and bag.first(info_topic)
    if message is None:
        return None
    # Rectified images are those of the projection matrix.
    is_rectified = "rect" in topic and message.p[0] > 0
    fx, cx, fy, cy = (
        (message.p[i] for i in (0, 2, 5, 6)) if is_rectified else (message.k[i] for i in (0, 2, 4, 5))
    )
    if min(fx, fy) <= 0:
        raise Refused(f"the CameraInfo on {info_topic} has no focal length: the camera is not calibrated")
    if not is_rectified and np.abs(message.d).max(initial=0) > 0.01:
        print(
            f"note: {topic} has lens distortion ({np.round(message.d, 3).tolist()}), which is not corrected"
        )
    return Camera(message.width, message.height, *(float(value) for value in (fx, fy, cx, cy)))


def write(bag: Bag, args: argparse.Namespace, pairs: list[tuple[int, int]], cameras: Cameras) -> int:
    """Writes the pairs and says how many had any known depth."""
    write_camera(args.out, cameras.color)
    for part in ("rgb", "depth"):
        (args.out / part).mkdir(parents=True, exist_ok=True)
    wanted = {
        (topic, pair[side]): pair for pair in pairs for side, topic in enumerate((args.color, args.depth))
    }
    waiting: dict[tuple[int, int], dict] = {}
    n_written = 0
    with tqdm(total=len(pairs), unit="image", disable=None) as bar:
        for topic, stamped, message in bag.messages(args.color, args.depth):
            pair = wanted.pop((topic, stamped.nanos), None)
            if pair is None:
                continue
            waiting.setdefault(pair, {})[topic] = message
            if len(waiting[pair]) == 2:
                both = waiting.pop(pair)
                n_written += write_pair(
                    args.out, f"{bag.name}_{pair[0]}", both[args.color], both[args.depth], cameras
                )
                bar.update()
    return n_written


def write_pair(out: Path, name: str, color: Any, depth: Any, cameras: Cameras) -> bool:
    metres = cameras.on_color(bag_images.depth(depth))
    if not metres.any():
        return False
    rgb = bag_images.color(color)
    if size(rgb) != size(metres):
        raise Refused(
            f"image {name} is {rgb.shape[1]}x{rgb.shape[0]}, its depth {metres.shape[1]}x{metres.shape[0]}"
            ": the size changes within the bag"
        )
    Image.fromarray(np.rint(metres * 1000).astype(np.uint16)).save(out / f"depth/{name}.png")
    if file := bag_images.jpeg(color):
        (out / f"rgb/{name}.jpg").write_bytes(file)
    else:
        Image.fromarray(np.ascontiguousarray(rgb)).save(out / f"rgb/{name}.png")
    return True


def write_camera(out: Path, camera: Camera | None) -> None:
    """Refuses to mix the images of two cameras: one focal length would be wrong."""
    file, has_images = out / "camera.yaml", any(out.glob("rgb/*"))
    there = read_camera(file)
    if has_images and there != camera:
        raise Refused(
            f"{out} has images of another camera ({there}, this bag's is {camera}): give another folder"
        )
    if camera:
        try:
            out.mkdir(parents=True, exist_ok=True)
            file.write_text(yaml.safe_dump(asdict(camera), sort_keys=False))
        except OSError as err:
            raise Refused(f"{out} cannot be written: {err.strerror}") from None


def size(pixels: np.ndarray) -> tuple[int, int]:
    """Width and height."""
    return pixels.shape[1], pixels.shape[0]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bag", metavar="BAG", type=Path, help="folder or file of the bag")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the data set")
    parser.add_argument(
        "--color",
        metavar="TOPIC",
        required=True,
        help="images: rgb8, bgr8, mono8, rgba8, bgra8, JPEG or PNG",
    )
    parser.add_argument(
        "--depth",
        metavar="TOPIC",
        required=True,
        help="depth: 16UC1 (millimetres) or 32FC1 (metres), raw, PNG or compressedDepth",
    )
    parser.add_argument(
        "--camera-info",
        metavar="TOPIC",
        help="CameraInfo of the colour camera (default: camera_info beside --color)",
    )
    parser.add_argument(
        "--depth-info",
        metavar="TOPIC",
        help="CameraInfo of the depth camera (default: camera_info beside --depth)",
    )
    parser.add_argument(
        "--every",
        metavar="SECONDS",
        type=float,
        default=0.0,
        help="leave at least this between two images (0)",
    )
    parser.add_argument(
        "--max-difference",
        metavar="SECONDS",
        type=options.positive,
        default=0.02,
        help="between the stamps of a pair (0.02)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
