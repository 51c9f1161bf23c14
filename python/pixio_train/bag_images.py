"""Images in ROS messages, raw and compressed, as arrays."""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from PIL import Image

from .errors import Refused

# Channels, and the order that makes them RGB.
COLORS = {
    "rgb8": (3, [0, 1, 2]),
    "bgr8": (3, [2, 1, 0]),
    "rgba8": (4, [0, 1, 2]),
    "bgra8": (4, [2, 1, 0]),
    "mono8": (1, [0, 0, 0]),
}
DEPTHS = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG"
# compressedDepth: an int32 and two float32 come before the PNG.
COMPRESSED_DEPTH_HEADER = struct.Struct("<iff")
# What a depth image can hold, metres.
MAX_DEPTH = 65.535


def color(message: Any) -> np.ndarray:
    """uint8 RGB [height, width, 3] of an Image or a CompressedImage."""
    if not hasattr(message, "encoding"):
        return np.asarray(decoded(bytes(message.data), message.format).convert("RGB"))
    if message.encoding not in COLORS:
        raise Refused(
            f"colour images with encoding {message.encoding} are not supported: {', '.join(COLORS)} are"
        )
    channels, order = COLORS[message.encoding]
    return rows(message, np.uint8, channels)[:, :, order]


def jpeg(message: Any) -> bytes | None:
    """The JPEG file that a message carries, if it does."""
    if hasattr(message, "encoding"):
        return None
    data = bytes(message.data)
    return data if data.startswith(JPEG) else None


def depth(message: Any) -> np.ndarray:
    """float32 metres [height, width], 0 unknown, of an Image or a CompressedImage."""
    if hasattr(message, "encoding"):
        if message.encoding not in DEPTHS:
            raise Refused(f"depth with encoding {message.encoding} is not supported: {', '.join(DEPTHS)} are")
        values = rows(message, DEPTHS[message.encoding], 1)[:, :, 0]
        return cleaned(values if message.encoding == "32FC1" else values.astype(np.float32) / 1000)
    return cleaned(compressed_depth(bytes(message.data), message.format))


def compressed_depth(data: bytes, form: str) -> np.ndarray:
    """Metres, from a 16-bit PNG of millimetres or image_transport's compressedDepth. `form` is the message's
    format."""
    if data.startswith(PNG):
        return millimetres(decoded(data, form), form)
    if not data[COMPRESSED_DEPTH_HEADER.size :].startswith(PNG):
        raise Refused(
            f"compressed depth of format {form!r} is not supported: PNG is, alone or as compressedDepth"
        )
    _, a, b = COMPRESSED_DEPTH_HEADER.unpack_from(data)
    image = decoded(data[COMPRESSED_DEPTH_HEADER.size :], form)
    if not form.strip().startswith("32FC1"):
        return millimetres(image, form)
    # Inverse depth, so that near things are finer; 0 is unknown.
    quantized = np.asarray(image).astype(np.float32)
    with np.errstate(divide="ignore"):
        return np.where(quantized > 0, a / (quantized - b), 0)


def millimetres(image: Image.Image, form: str) -> np.ndarray:
    if not image.mode.startswith("I"):
        raise Refused(
            f"compressed depth of format {form!r} holds an image of mode {image.mode}, not of 16 bit"
        )
    return np.asarray(image).astype(np.float32) / 1000


def cleaned(metres: np.ndarray) -> np.ndarray:
    """What is not finite, not positive or too far for the file is unknown."""
    known = np.isfinite(metres) & (metres > 0) & (metres <= MAX_DEPTH)
    return np.where(known, metres, 0).astype(np.float32)


def rows(message: Any, dtype: DTypeLike, channels: int) -> np.ndarray:
    """[height, width, channels] of a raw image without what pads its rows."""
    width = message.width * channels
    kind = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    data = np.asarray(message.data, np.uint8)
    if message.step < width * kind.itemsize or data.size < message.step * message.height:
        raise Refused(
            f"an image of {message.width}x{message.height} {message.encoding} has {data.size} bytes in "
            f"steps of {message.step}"
        )
    padded = data[: message.step * message.height].reshape(message.height, message.step)
    values = padded[:, : width * kind.itemsize].copy().view(kind)
    return values.reshape(message.height, message.width, channels)


def decoded(data: bytes, form: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError) as err:
        raise Refused(f"a compressed image of format {form!r} cannot be decoded: {err}") from None
    return image
