"""Image files and raw images."""

import io
import struct
import zlib
from itertools import pairwise

import numpy as np
from PIL import Image

from . import ROOT


def photograph(size: tuple[int, int] = (48, 36)) -> Image.Image:
    frame = min((ROOT / "data/room-walk/rgb").glob("*"))
    return Image.open(frame).convert("RGB").resize(size)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def segments(jpeg: bytes) -> list[int]:
    """Offsets of the segments up to the first scan."""
    at = [2]
    while jpeg[at[-1] + 1] != 0xDA:
        at.append(at[-1] + 2 + int.from_bytes(jpeg[at[-1] + 2 : at[-1] + 4], "big"))
    return at


def without_tables(jpeg: bytes) -> bytes:
    at = segments(jpeg)
    kept = [jpeg[a:b] for a, b in pairwise(at) if jpeg[a + 1] != 0xC4]
    return jpeg[:2] + b"".join(kept) + jpeg[at[-1] :]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + pixels + chunk(b"IEND", b"")


def image_files() -> dict[str, bytes]:
    image = photograph()
    base = encoded(image, "JPEG", quality=60)
    progressive = encoded(image, "JPEG", quality=60, progressive=True)
    at = segments(base)
    frame = next(a for a in at if base[a + 1] == 0xC0)
    huge = base[: frame + 5] + struct.pack(">HH", 8000, 8000) + base[frame + 9 : 691]
    bomb = zlib.compress(bytes(4 << 20), 9)
    rgb = b"".join(b"\0" + bytes(row) for row in np.asarray(image).reshape(36, -1))
    return {
        "baseline.jpg": base,
        "progressive.jpg": progressive,
        "grey.jpg": encoded(image.convert("L"), "JPEG"),
        "colour-444.jpg": encoded(image, "JPEG", subsampling=0),
        "colour-422.jpg": encoded(image, "JPEG", subsampling=1),
        "restarts.jpg": encoded(image, "JPEG", restart_marker_blocks=2),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "without-tables.jpg": without_tables(base),
        "cut-with-end.jpg": base[: len(base) // 2] + b"\xff\xd9",
        "progressive-cut-with-end.jpg": progressive[: len(progressive) // 2] + b"\xff\xd9",
        "cut.jpg": base[: len(base) * 3 // 4],
        "without-end.jpg": base[:-2],
        "junk-between-segments.jpg": b"".join(base[a:b] + bytes(40) for a, b in zip([0, *at], at))
        + base[at[-1] :],
        "junk-behind.jpg": base + bytes(100) + base[:50],
        "zeros-for-data.jpg": base[: len(base) // 2] + bytes(len(base)),
        "claims-8000x8000.jpg": huge,
        "scan-before-frame.jpg": base[:2] + base[at[-1] :],
        "rgb.png": encoded(image, "PNG"),
        "palette.png": encoded(image.quantize(16), "PNG"),
        "one-bit.png": encoded(image.convert("1"), "PNG"),
        "rgba.png": encoded(image.convert("RGBA"), "PNG"),
        "grey-16.png": png(4, 4, 16, 0, (b"\0" + bytes(range(8))) * 4),
        "rgba-16.png": png(4, 4, 16, 6, (b"\0" + bytes(range(32))) * 4),
        "profile-bomb.png": png(48, 36, 8, 2, rgb, chunk(b"iCCP", b"p\0\0" + bomb)),
        "text-bomb.png": png(48, 36, 8, 2, rgb, chunk(b"zTXt", b"t\0\0" + bomb)),
        "pixel-bomb.png": png(48, 36, 8, 2, bytes(4 << 20)),
        "claims-9000x8000.png": png(9000, 8000, 8, 2, rgb),
        "claims-400x400.png": png(400, 400, 8, 2, rgb),
        "short-rows.png": png(48, 36, 8, 2, rgb[:1000]),
        "bad-filter.png": png(4, 4, 8, 0, b"\x09abcd" * 4),
        "animated.png": png(4, 4, 8, 0, b"\0abcd" * 4, chunk(b"acTL", struct.pack(">II", 2, 0))),
        "bad-checksum.png": encoded(image, "PNG")[:40] + b"\0\1\2\3" + encoded(image, "PNG")[44:],
        "cut.png": encoded(image, "PNG")[:300],
        "gif": b"GIF89a\1\0\1\0",
        "start-only": b"\xff\xd8\xff",
        "empty": b"",
    }


ENCODINGS = {
    **dict.fromkeys(("rgb8", "bgr8", "8UC3"), 3),
    **dict.fromkeys(("rgba8", "bgra8", "8UC4"), 4),
    **dict.fromkeys(("mono8", "8UC1", "bayer_rggb8", "bayer_gbrg8"), 1),
    **dict.fromkeys(("mono16", "16UC1", "bayer_bggr16", "bayer_grbg16", "uyvy", "yuyv"), 2),
    **dict.fromkeys(("rgb16", "16UC3"), 6),
    **dict.fromkeys(("rgba16", "16UC4"), 8),
    **dict.fromkeys(("nv12", "nv21"), 1.5),
    "nv24": 3,
}


def raw(
    encoding: bytes, width: int, height: int, step: int, data: bytes, big_endian: int = 0, which: int = 0
) -> bytes:
    head = struct.pack("<BIIIBB", len(encoding), width, height, step, big_endian, which)
    return head + encoding + data


def raw_frames() -> dict[str, bytes]:
    files = {}
    for n, (encoding, pixel_bytes) in enumerate(ENCODINGS.items()):
        step = 8 if encoding.startswith("nv") else int(8 * pixel_bytes)
        data = bytes(n * 7 % 256 for n in range(int(8 * 6 * pixel_bytes)))
        files[encoding] = raw(encoding.encode(), 8, 6, step, data, which=n % 4)
    data, most = bytes(144), 2**32 - 1
    return files | {
        "big-endian": raw(b"rgb16", 4, 6, 24, data, big_endian=1),
        "padded": raw(b"mono8", 8, 6, 11, data),
        "odd": raw(b"nv12", 7, 5, 7, data),
        "no-columns": raw(b"rgb8", 0, 6, 24, data),
        "no-rows": raw(b"rgb8", 8, 0, 24, data),
        "overlapping-rows": raw(b"rgb8", 8, 6, 23, data),
        "short": raw(b"rgb8", 8, 6, 24, data[:-1]),
        "largest-claims": raw(b"nv24", most, most, most, data),
        "wide": raw(b"mono8", 65_536, 1, 65_536, bytes(65_536)),
        "thin": raw(b"mono8", 1, 60_000, 1, bytes(60_000), which=2),
        "unknown": raw(b"32FC1", 8, 3, 32, data),
        "no-utf8": raw(b"\xff\xfe\x80", 8, 6, 24, data),
        "long-name": raw(b"x" * 255, 8, 6, 24, data),
        "control-characters": raw(b"a\n[ERROR] b\x1b[2J", 8, 6, 24, data),
    }
