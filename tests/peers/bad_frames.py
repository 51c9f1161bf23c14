"""Frames that are none, and files that would cost much."""

import struct
import zlib
from collections.abc import Iterator

import images
from sensor_msgs.msg import Image

GOOD = images.photograph("astronaut", 320, 240)


def raw(width=320, height=240, step=960, encoding="rgb8", n_bytes=320 * 240 * 3):
    return Image(width=width, height=height, step=step, encoding=encoding, data=bytes(n_bytes))


def jpeg(image=GOOD) -> bytes:
    return images.file_bytes(image, "JPEG")


def jpeg_that_claims(width: int, height: int) -> bytes:
    """A JPEG whose frame header holds other sizes than its data."""
    file = bytearray(jpeg())
    at = file.index(b"\xff\xc0") + 5
    file[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(file)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header holds other sizes than its data, with a checksum that agrees."""
    file = bytearray(images.file_bytes(GOOD, "PNG"))
    file[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    file[29:33] = zlib.crc32(bytes(file[12:29])).to_bytes(4, "big")
    return bytes(file)


def png(
    width: int, height: int, depth: int, color: int, samples: bytes, *chunks: tuple[bytes, bytes]
) -> bytes:
    """A PNG of packed `samples`, with `chunks` before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", samples), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


def zeros(n_bytes: int) -> bytes:
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(min(1 << 20, n_bytes - at))) for at in range(0, n_bytes, 1 << 20)]
    return b"".join(pieces) + packer.flush()


RAW = {
    "data shorter than height x step": raw(n_bytes=320 * 240 * 3 - 2000),
    "no data": raw(n_bytes=0),
    "a 0x0 image": raw(width=0, height=0, step=0, n_bytes=0),
    "zero width": raw(width=0),
    "zero height": raw(height=0),
    "an unknown encoding": raw(encoding="jpeg2000"),
    "an empty encoding": raw(encoding=""),
    "a step shorter than a row": raw(step=959),
    "a 16k x 16k claim": raw(width=16384, height=16384, step=3 * 16384),
    "a claim that overflows 32 bits": raw(width=2**31, height=2**31, step=2**32 - 1),
    "odd width in 4:2:2": raw(width=319, step=640, encoding="uyvy"),
}
COMPRESSED = {
    "a JPEG cut in half": jpeg()[: len(jpeg()) // 2],
    "a JPEG of three bytes": jpeg()[:3],
    "no data": b"",
    "noise": bytes(range(256)) * 20,
    "a JPEG that claims 60000 x 60000": jpeg_that_claims(60000, 60000),
    "a PNG cut in half": images.file_bytes(GOOD, "PNG")[:20000],
    "a PNG that claims 16k x 16k": png_that_claims(16384, 16384),
}


def costly() -> Iterator[tuple[str, bytes, int]]:
    """Files of half a megabyte and less that could take hundreds: a name, the file, and the bytes of its
    image in 8 bits."""
    small = zlib.compress(bytes(65 * 48))
    bomb = b"bomb\0\0" + zeros(400 << 20)
    yield "a bomb for a colour profile", png(64, 48, 8, 0, small, (b"iCCP", bomb)), 64 * 48
    yield "a bomb for a text", png(64, 48, 8, 0, small, (b"zTXt", bomb)), 64 * 48
    yield "an image of 16-bit RGBA", png(5000, 5000, 16, 6, zeros(40_001 * 5000)), 75_000_000
