"""Messages of the live page."""

import json
import struct


def framed(about: dict, file: bytes = b"") -> bytes:
    head = json.dumps(about).encode()
    return struct.pack("<I", len(head)) + head + file


def page_messages() -> dict[str, bytes]:
    return {
        "look": b'{"type": "look", "camera": 0, "panels": ["image", "pca", "depth", "labels", "tokens"]}',
        "look-at-nothing": b'{"type": "look", "camera": 3, "panels": []}',
        "drawn": b'{"type": "drawn"}',
        "query": b'{"type": "query", "x": 12.5, "y": 1e308}',
        "reset": b'{"type": "reset_basis"}',
        "source": b'{"type": "source", "kind": "page"}',
        "unknown": b'{"type": "points"}',
        "deep": b'{"type": "drawn", "more": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        "image": framed({"stamp": [1700000000, 5]}, b"\xff\xd8\xff\xd9"),
        "late-nanoseconds": framed({"stamp": [-1, 4294967295]}, b"\x89PNG"),
        "no-stamp": framed({}, b"\xff\xd8"),
        "length-beyond": b"\xff\xff\xff\xff{}",
        "length-of-nothing": b"\x00\x00\x00\x00",
        "empty": b"",
    }
