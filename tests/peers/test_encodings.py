"""Every encoding of sensor_msgs/Image shows the model the same image."""

import images
import numpy as np
import pytest
from decode import features_from_message
from offline import cosine
from waiting import repeat

COLOUR = images.photograph("coffee")
GREY = images.luma(COLOUR)
GREY_RGB = np.repeat(GREY[..., None], 3, axis=2)


def with_alpha(rgb):
    return np.dstack([rgb, np.full(rgb.shape[:2], 7, np.uint8)])


def sixteen_bit(pixels, order="<"):
    return (pixels.astype(np.uint16) * 257).astype(f"{order}u2")


def limited(grey):
    """Luma in the range of video, 16 to 235."""
    return np.round(16 + grey * (219 / 255)).astype(np.uint8)


def packed(grey, luma_first: bool):
    """4:2:2 with neutral chroma."""
    chroma = np.full_like(grey, 128)
    return np.dstack([limited(grey), chroma] if luma_first else [chroma, limited(grey)])


def planar(grey, chroma_rows: float):
    """Luma rows, then rows of neutral chroma; the message's height stays the luma's."""
    chroma = np.full((int(grey.shape[0] * chroma_rows), grey.shape[1]), 128, np.uint8)
    return np.vstack([limited(grey), chroma])


def mosaic(rgb, pattern: str):
    """Bayer mosaic; `pattern` names the upper left 2x2 pixels row by row."""
    sampled = np.empty(rgb.shape[:2], np.uint8)
    for place, letter in enumerate(pattern):
        row, column = divmod(place, 2)
        sampled[row::2, column::2] = rgb[row::2, column::2, "rgb".index(letter)]
    return sampled


# encoding, what is sent, what the model should see, lowest cosine of the features with those of that
ENCODINGS = [
    ("rgb8", COLOUR, COLOUR, 0.99999),
    ("bgr8", COLOUR[..., ::-1], COLOUR, 0.99999),
    ("8UC3", COLOUR[..., ::-1], COLOUR, 0.99999),
    ("rgba8", with_alpha(COLOUR), COLOUR, 0.99999),
    ("bgra8", with_alpha(COLOUR[..., ::-1]), COLOUR, 0.99999),
    ("mono8", GREY, GREY_RGB, 0.99999),
    ("8UC1", GREY, GREY_RGB, 0.99999),
    ("8UC4", with_alpha(COLOUR[..., ::-1]), COLOUR, 0.99999),
    ("bgra16", sixteen_bit(with_alpha(COLOUR[..., ::-1])), COLOUR, 0.9999),
    ("mono16", sixteen_bit(GREY), GREY_RGB, 0.9999),
    ("16UC1", sixteen_bit(GREY), GREY_RGB, 0.9999),
    ("mono16", sixteen_bit(GREY, ">"), GREY_RGB, 0.9999),
    ("rgb16", sixteen_bit(COLOUR), COLOUR, 0.9999),
    ("bgr16", sixteen_bit(COLOUR[..., ::-1]), COLOUR, 0.9999),
    ("rgb16", sixteen_bit(COLOUR, ">"), COLOUR, 0.9999),
    ("uyvy", packed(GREY, luma_first=False), GREY_RGB, 0.999),
    ("yuv422", packed(GREY, luma_first=False), GREY_RGB, 0.999),
    ("yuyv", packed(GREY, luma_first=True), GREY_RGB, 0.999),
    ("yuv422_yuy2", packed(GREY, luma_first=True), GREY_RGB, 0.999),
    ("nv12", planar(GREY, 0.5), GREY_RGB, 0.999),
    ("nv21", planar(GREY, 0.5), GREY_RGB, 0.999),
    ("nv24", planar(GREY, 2), GREY_RGB, 0.999),
    ("bayer_rggb8", mosaic(COLOUR, "rggb"), COLOUR, 0.99),
    ("bayer_rggb16", sixteen_bit(mosaic(COLOUR, "rggb")), COLOUR, 0.99),
    ("bayer_bggr8", mosaic(COLOUR, "bggr"), COLOUR, 0.99),
    ("bayer_gbrg8", mosaic(COLOUR, "gbrg"), COLOUR, 0.99),
    ("bayer_grbg8", mosaic(COLOUR, "grbg"), COLOUR, 0.99),
]


@pytest.fixture(scope="module")
def node(peer):
    from rig import Rig

    made = Rig(peer, options=("--features-dtype", "float32"))
    yield made
    made.close()


def send(node, encoding, pixels, padding: int = 0):
    """Publishes as `encoding`, every row followed by `padding` bytes, and returns the answer's features."""
    message = images.image(pixels, node.peer.stamp(), encoding)
    message.height, message.width = 480, 640
    if encoding.startswith("nv"):
        message.step = 640
    if padding:
        rows = np.frombuffer(message.data, np.uint8).reshape(-1, message.step)
        message.data = np.pad(rows, ((0, 0), (0, padding)), constant_values=200).tobytes()
        message.step += padding
    answer = repeat(
        lambda: node.camera.publish(message),
        lambda: node.inboxes["features"].find(message.header.stamp),
        f"an answer to {encoding}",
        log=node.node.tail,
    )
    return features_from_message(answer)


@pytest.fixture(scope="module")
def likeness(node):
    """Cosine of what two images add to the features of an even one: tokens of different images have much
    in common."""
    even = send(node, "rgb8", np.full_like(COLOUR, 118))
    return lambda a, b: cosine(a - even, b - even)


@pytest.mark.parametrize(
    ("encoding", "pixels", "seen", "least"),
    ENCODINGS,
    ids=[f"{row[0]}{'-big-endian' * (row[1].dtype.byteorder == '>')}" for row in ENCODINGS],
)
def test_an_encoding_shows_the_model_the_same_image(node, likeness, encoding, pixels, seen, least):
    expected = send(node, "rgb8", seen)
    assert likeness(send(node, encoding, pixels), expected) > least
    # The measure must notice what a swap of two channels does.
    if seen is COLOUR:
        assert likeness(send(node, "rgb8", seen[..., ::-1]), expected) < least


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "rgb16"])
def test_padding_at_the_end_of_rows_is_not_seen(node, likeness, encoding):
    pixels = {"rgb8": COLOUR, "mono8": GREY, "rgb16": sixteen_bit(COLOUR)}[encoding]
    plain = send(node, encoding, pixels)
    assert likeness(send(node, encoding, pixels, padding=24), plain) > 0.999999
