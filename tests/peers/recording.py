"""A data set folder as a camera: its images, their truth, and how far from it the node's answers are."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from pixio_train.dataset import Camera, read_camera, read_classes
from pixio_train.metrics import DepthFigures, SegmentationFigures
from sensor_msgs.msg import CameraInfo, Image


@dataclass(frozen=True)
class Recording:
    """Images in the order of their names, all of one size; depth, labels and calibration where the folder
    has them."""

    folder: Path
    names: list[str]
    files: list[Path]

    @staticmethod
    def open(folder: Path) -> "Recording":
        """`folder` holds rgb/ and perhaps more, or the images themselves."""
        images = folder / "rgb" if (folder / "rgb").is_dir() else folder
        files = sorted(file for file in images.iterdir() if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if not files:
            raise FileNotFoundError(f"{folder} has no JPEG or PNG images")
        return Recording(folder, [file.stem for file in files], files)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def rgb(self) -> list[np.ndarray]:
        """uint8 [height, width, 3] each."""
        return [np.asarray(Pillow.open(file).convert("RGB")) for file in self.files]

    @cached_property
    def camera(self) -> Camera | None:
        return read_camera(self.folder / "camera.yaml")

    @cached_property
    def classes(self) -> list[dict]:
        file = self.folder / "classes.yaml"
        return read_classes(file) if file.exists() else []

    def depth(self, i: int) -> np.ndarray | None:
        """float32 [height, width], metres."""
        file = self.folder / "depth" / f"{self.names[i]}.png"
        return np.array(Pillow.open(file), np.float32) / 1000 if file.exists() else None

    def labels(self, i: int) -> np.ndarray | None:
        """uint8 [height, width]."""
        file = self.folder / "labels" / f"{self.names[i]}.png"
        return np.array(Pillow.open(file)) if file.exists() else None

    def camera_info(self, stamp, frame_id: str = "camera_optical") -> CameraInfo | None:
        if self.camera is None:
            return None
        camera = self.camera
        message = CameraInfo(
            width=camera.width, height=camera.height, distortion_model="plumb_bob", d=[0.0] * 5
        )
        message.k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
        message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        message.p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        message.header.stamp, message.header.frame_id = stamp, frame_id
        return message

    def depth_figures(self, answers: dict[int, Image], max_depth: float = 10.0) -> dict | None:
        """Of depth/image messages by number of the image; None without truth."""
        return figures(DepthFigures(max_depth), answers, self.depth, meters, Pillow.Resampling.BILINEAR)

    def label_figures(self, answers: dict[int, Image]) -> dict | None:
        """Of segmentation/image messages by number of the image; None without truth."""
        names = [entry["name"] for entry in self.classes]
        return figures(SegmentationFigures(names), answers, self.labels, classes, Pillow.Resampling.NEAREST)


def figures(judge, answers: dict[int, Image], truth_of, array_of, resampling) -> dict | None:
    """What `judge` finds at the size of the truth."""
    for i, message in answers.items():
        truth = truth_of(i)
        if truth is None:
            return None
        found = Pillow.fromarray(array_of(message)).resize(truth.shape[::-1], resampling)
        judge.add(np.asarray(found), truth)
    return judge.result()


def meters(message: Image) -> np.ndarray:
    """float32 [height, width] of a 32FC1 message."""
    return np.frombuffer(message.data, "<f4").reshape(message.height, message.width)


def classes(message: Image) -> np.ndarray:
    """uint8 [height, width] of a mono8 message."""
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
