"""Photographs and the messages that carry them."""

import io
from functools import cache

import numpy as np
from PIL import Image as Pillow
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

# Astronaut and rocket are NASA's (public domain); coffee and chelsea are CC0. scikit-image's wheel holds all
# four.
NAMES = ("astronaut", "coffee", "chelsea", "rocket")


@cache
def photograph(name: str, width: int = 640, height: int = 480) -> np.ndarray:
    """uint8 [height, width, 3], RGB, stretched to the size."""
    # The demo's environment has no scikit-image and asks for no photograph.
    from skimage import data as photographs

    pixels = Pillow.fromarray(getattr(photographs, name)()).resize((width, height), Pillow.Resampling.LANCZOS)
    result = np.asarray(pixels)
    result.flags.writeable = False
    return result


def luma(rgb: np.ndarray) -> np.ndarray:
    """uint8 [h, w]: BT.601."""
    return np.round(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def image(pixels: np.ndarray, stamp, encoding: str = "rgb8", frame_id: str = "camera_optical") -> Image:
    """sensor_msgs/Image of a [h, w] or [h, w, c] array, without padding."""
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding=encoding, step=pixels.nbytes // max(height, 1))
    message.is_bigendian = int(pixels.dtype.byteorder == ">")
    message.data = pixels.tobytes()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message


def file_bytes(rgb: np.ndarray, kind: str = "JPEG", quality: int = 90) -> bytes:
    """An image file in memory."""
    buffer = io.BytesIO()
    Pillow.fromarray(rgb).save(buffer, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return buffer.getvalue()


def compressed(
    image_file: bytes, stamp, kind: str = "jpeg", frame_id: str = "camera_optical"
) -> CompressedImage:
    """sensor_msgs/CompressedImage of an image file."""
    message = CompressedImage(format=kind, data=image_file)
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message


def calibration(width: int, height: int, stamp, frame_id: str = "camera_optical") -> CameraInfo:
    """A pinhole camera whose axes differ, so that a mixed-up one shows."""
    fx, fy, cx, cy = 600.0, 580.0, width / 2 - 13.0, height / 2 + 7.0
    message = CameraInfo(
        width=width, height=height, distortion_model="plumb_bob", d=[0.1, -0.2, 0.001, 0.002, 0.05]
    )
    message.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [fx, 0.0, cx, -60.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message
