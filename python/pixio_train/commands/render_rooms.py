"""Renders random indoor rooms with exact depth and labels into a data set folder.

    pixio-render-rooms OUT --scenes N --frames M --seed S [--split train|held-out] [--path scattered|smooth]

OUT gets rgb/, depth/ (16 bit, millimetres along the optical axis), labels/ (8 bit, class numbers),
classes.yaml and camera.yaml; images are called sceneSSSS_frameFFFF. Rooms of the two splits share no
pattern of texture, no construction of furniture and no length of it (pixio_train/rooms/draw.py). The same
arguments give the same bytes, however many workers there are; an interrupted run goes on where it stopped.
Needs mujoco and OSMesa; no GPU.
"""

import argparse
import math
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ["MUJOCO_GL"] = "osmesa"
# The workers render by themselves: the threads that Mesa would start gain nothing beside them.
os.environ["LP_NUM_THREADS"] = "0"
import mujoco
import numpy as np
import yaml
from PIL import Image
from tqdm import tqdm

from pixio_train.errors import program
from pixio_train.rooms import path
from pixio_train.rooms.draw import SPLITS, Draw
from pixio_train.rooms.scene import CAMERA, CLASSES, Room, class_numbers, furnished, model

# Degrees, from the top to the bottom of the image.
FOVY = 55.0
# Metres: views of one thing from close by teach little.
MIN_MEDIAN_DEPTH, MIN_DEPTH = 1.4, 0.3
ATTEMPTS = 400


@dataclass(frozen=True)
class Job:
    """Everything a scene follows from, but its number. `size` is width and height."""

    out: Path
    n_frames: int
    seed: int
    size: tuple[int, int]
    split: str
    path: str
    quality: int


@program
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--scenes", type=int, required=True, help="number of rooms")
    parser.add_argument("--frames", type=int, required=True, help="images of each room")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--size", type=size, default=(320, 240), help="width x height of the images (default: 320x240)"
    )
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument(
        "--path",
        choices=("scattered", "smooth"),
        default="scattered",
        help="views apart, or a walk (default: scattered)",
    )
    parser.add_argument("--quality", type=int, default=92, help="of the JPEG images (default: 92)")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    for folder in ("rgb", "depth", "labels"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    job = Job(args.out, args.frames, args.seed, args.size, args.split, args.path, args.quality)
    write_about(job)
    with ProcessPoolExecutor(args.workers) as workers:
        scenes = workers.map(partial(render_scene, job), range(args.scenes))
        for _ in tqdm(scenes, "rendering", args.scenes, unit="room", disable=None):
            pass


def size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def write_about(job: Job) -> None:
    width, height = job.size
    focal = height / 2 / math.tan(math.radians(FOVY) / 2)
    camera = {
        "width": width,
        "height": height,
        "fx": focal,
        "fy": focal,
        "cx": (width - 1) / 2,
        "cy": (height - 1) / 2,
    }
    classes = [{"name": name, "color": color} for name, color in CLASSES.items()]
    (job.out / "camera.yaml").write_text(yaml.safe_dump(camera, sort_keys=False))
    (job.out / "classes.yaml").write_text(
        yaml.safe_dump({"classes": classes}, sort_keys=False, default_flow_style=None)
    )


def render_scene(job: Job, scene: int) -> None:
    names = [f"scene{scene:04}_frame{frame:04}" for frame in range(job.n_frames)]
    # Labels are written last.
    if all((job.out / "labels" / f"{name}.png").exists() for name in names):
        return
    draw = Draw(job.seed, job.split, scene)
    for _ in range(ATTEMPTS):
        room = furnished(draw)
        camera = Camera(model(draw, room, job.size, FOVY), job.size)
        poses = (
            walk(draw, room, camera, job.n_frames)
            if job.path == "smooth"
            else views(draw, room, camera, job.n_frames)
        )
        if poses:
            for name, pose in zip(names, poses):
                write(job, name, *camera.images(pose))
            camera.close()
            return
        camera.close()
    sys.exit(f"no room with enough place to look about was found for scene {scene}")


def views(draw: Draw, room: Room, camera: "Camera", n: int) -> list[path.Pose] | None:
    found = []
    for _ in range(ATTEMPTS):
        pose = path.scattered(draw, room)
        if pose and camera.sees_room(pose):
            found.append(pose)
        if len(found) == n:
            return found
    return None


def walk(draw: Draw, room: Room, camera: "Camera", n: int) -> list[path.Pose] | None:
    for _ in range(ATTEMPTS):
        poses = path.smooth(draw, room, n)
        if poses and all(camera.sees_room(pose) for pose in poses):
            return poses
    return None


class Camera:
    """Images of one room."""

    def __init__(self, model: mujoco.MjModel, size: tuple[int, int]) -> None:
        self.model, self.state = model, mujoco.MjData(model)
        self.renderer = mujoco.Renderer(model, size[1], size[0])
        self.classes = class_numbers(model)

    def sees_room(self, pose: path.Pose) -> bool:
        depth = self.depth(pose)
        return np.median(depth) > MIN_MEDIAN_DEPTH and depth.min() > MIN_DEPTH

    def depth(self, pose: path.Pose) -> np.ndarray:
        """Metres along the optical axis, float32 [height, width]."""
        self.model.cam(CAMERA).pos[:] = pose.at
        mujoco.mju_mat2Quat(self.model.cam(CAMERA).quat, pose.axes().flatten())
        mujoco.mj_kinematics(self.model, self.state)
        mujoco.mj_camlight(self.model, self.state)
        self.renderer.update_scene(self.state, CAMERA)
        self.renderer.enable_depth_rendering()
        depth = self.renderer.render()
        self.renderer.disable_depth_rendering()
        return depth

    def images(self, pose: path.Pose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """uint8 [height, width, 3], uint16 millimetres and uint8 class numbers [height, width]."""
        depth = np.round(1000 * self.depth(pose)).astype(np.uint16)
        rgb = self.renderer.render()
        self.renderer.enable_segmentation_rendering()
        geoms = self.renderer.render()[..., 0]
        self.renderer.disable_segmentation_rendering()
        return rgb, depth, np.where(geoms >= 0, self.classes[geoms], 255).astype(np.uint8)

    def close(self) -> None:
        self.renderer.close()


def write(job: Job, name: str, rgb: np.ndarray, depth: np.ndarray, labels: np.ndarray) -> None:
    Image.fromarray(rgb).save(job.out / "rgb" / f"{name}.jpg", quality=job.quality)
    Image.fromarray(depth).save(job.out / "depth" / f"{name}.png", compress_level=3)
    Image.fromarray(labels).save(job.out / "labels" / f"{name}.png", compress_level=3)


if __name__ == "__main__":
    main()
