"""Messages in CDR."""

import math
import struct
from collections.abc import Sequence


class Cdr:
    """Values in CDR, little endian by default; alignment is from the beginning of the body."""

    def __init__(self, order: str = "<") -> None:
        self.body, self.order = bytearray(), order

    def number(self, code: str, *values: float) -> "Cdr":
        size = struct.calcsize(code)
        for value in values:
            self.body += bytes(-len(self.body) % size) + struct.pack(self.order + code, value)
        return self

    def text(self, text: str | bytes) -> "Cdr":
        data = text.encode() if isinstance(text, str) else text
        self.number("I", len(data) + 1)
        self.body += data + b"\0"
        return self

    def sequence(self, code: str, values: Sequence[float]) -> "Cdr":
        return self.number("I", len(values)).number(code, *values)

    def header(self, frame: str | bytes = "optical", stamp: tuple[int, int] = (12, 500)) -> "Cdr":
        return self.number("i", stamp[0]).number("I", stamp[1]).text(frame)


def info(
    order: str = "<",
    model: str = "plumb_bob",
    d: Sequence[float] = (0.1, -0.2, 0.001, 0.0, 0.0),
    **changes: Sequence[float],
) -> bytes:
    f, cx, cy = 230.5, 159.5, 119.5
    values = {
        "size": (240, 320),
        "k": [f, 0, cx, 0, f, cy, 0, 0, 1],
        "r": [1, 0, 0, 0, 1, 0, 0, 0, 1],
        "p": [f, 0, cx, 0, 0, f, cy, 0, 0, 0, 1, 0],
        "binning": (0, 0),
        "roi": (0, 0, 0, 0),
    } | changes
    message = Cdr(order).header().number("I", *values["size"]).text(model).sequence("d", d)
    for name in "krp":
        message.number("d", *values[name])
    message.number("I", *values["binning"]).number("I", *values["roi"]).number("B", 1)
    return bytes(message.body)


def camera_infos() -> dict[str, bytes]:
    nan = math.nan
    most = 2**32 - 1
    eight = (0.1, -0.2, 0.001, 0.001, 0.05, 0.1, -0.1, 0.02)
    matrix = [230.5, 0, 159.5, 0, 230.5, 119.5, 0, 0, 1]
    return {
        "plumb-bob": info(),
        "pinhole": info(d=()),
        "rational": info(model="rational_polynomial", d=eight),
        "padded-eight": info(d=(0.1, -0.2, 0.001, 0.0, 0.0, 0, 0, 0)),
        "rational-five": info(model="rational_polynomial", d=eight[:5]),
        "thin-prism": info(model="rational_polynomial", d=(*eight, 0.01, 0.01, 0.01, 0.01)),
        "tilted": info(model="rational_polynomial", d=(*eight, 0, 0, 0, 0, 0.1, -0.1)),
        "fisheye": info(model="equidistant", d=(0.1, 0.01, -0.02, 0.003)),
        "fisheye-padded": info(model="equidistant", d=(0.1, 0.01, -0.02, 0.003, 0, 0, 0, 0)),
        "without-model": info(model="", d=(0.1, 0, 0, 0, 0)),
        "unknown-model": info(model="omni"),
        "forged-model": info(model="a\n[ERROR] b"),
        "nan-in-k": info(k=[nan, *matrix[1:]]),
        "nan-in-p": info(p=[nan] * 12),
        "nan-in-d": info(d=(0.1, nan, 0, 0, 0)),
        "infinite-d": info(d=(math.inf, 0, 0, 0, 0)),
        "huge-d": info(d=(1e300, -1e300, 1e300, 0, 0)),
        "uncalibrated": info(k=[0] * 9, p=[0] * 12, d=()),
        "negative-focal-length": info(k=[-1, *matrix[1:]]),
        "tiny-focal-length": info(k=[1e-300, 0, 159.5, 0, 1e-300, 119.5, 0, 0, 1]),
        "far-centre": info(k=[230.5, 0, 1e300, 0, 230.5, -1e300, 0, 0, 1]),
        "binned": info(binning=(2, 2)),
        "binned-away": info(binning=(most, most)),
        "region": info(roi=(10, 20, 100, 200)),
        "region-beyond": info(roi=(0, 300, 240, 320)),
        "region-that-wraps": info(roi=(most, most, most, most)),
        "no-size": info(size=(0, 0)),
        "largest-size": info(size=(most, most)),
        "many-coefficients": info(d=(0.1,) * 500),
        "cut": info()[:200],
    }


def image(
    order: str = "<",
    encoding: str = "rgb8",
    frame: str = "optical",
    size: tuple[int, int] = (2, 3),
    step: int = 9,
    data: bytes = bytes(18),
) -> Cdr:
    message = Cdr(order).header(frame).number("I", *size).text(encoding).number("B", 0).number("I", step)
    return message.sequence("B", data)


def parameter(order: str = "<", name: str = "max_rate", kind: int = 3) -> Cdr:
    message = Cdr(order).text(name).number("B", kind, 1).number("q", 5).number("d", 2.5).text("text")
    for code in "BBqd":
        message.sequence(code, [1, 2])
    return message.number("I", 1).text("left")


def cdr() -> dict[str, bytes]:
    compressed = Cdr().header().text("jpeg").sequence("B", bytes(40))
    point = Cdr().header().number("d", 1.5, 2.5, 0)
    nodes = bytearray(range(16)) + Cdr().number("I", 1).text("/").text("camera").number("I", 0, 0).body
    names = Cdr().number("I", 2).text("max_rate").text("model").number("Q", 1)
    endless = struct.pack("<I", 2**32 - 1)
    good = [image(), compressed, info(), point, Cdr().number("i", 5).number("I", 6), nodes, b"\1", b"\0"]
    good += [parameter(), Cdr().number("I", 1), names]
    files = {
        f"type-{n:02}": bytes([n << 1]) + bytes(getattr(body, "body", body)) for n, body in enumerate(good)
    }
    return files | {
        "big-endian-image": b"\x01" + bytes(image(">").body),
        "big-endian-info": b"\x05" + info(">"),
        "big-endian-parameter": b"\x11" + bytes(parameter(">").body),
        "long-frame": b"\x00" + bytes(image(frame="f" * 300).body),
        "long-encoding": b"\x00" + bytes(image(encoding="e" * 4000).body),
        "string-without-end": b"\x00" + bytes(8) + endless + b"abc",
        "string-without-nul": b"\x00" + bytes(8) + b"\3\0\0\0abc" + bytes(40),
        "string-of-nothing": b"\x00" + bytes(200),
        "string-of-no-utf8": b"\x00" + bytes(Cdr().header(b"\xff\xfe").body) + bytes(60),
        "sequence-without-end": b"\x00" + bytes(image(data=b"").body)[:-4] + endless,
        "coefficients-without-end": b"\x04" + bytes(Cdr().header().number("I", 1, 1).text("").body) + endless,
        "names-without-end": b"\x14" + endless,
        "nodes-without-end": b"\x0a" + bytes(16) + endless,
        "parameters-without-end": b"\x12" + endless + bytes(parameter().body),
        "kind-that-is-none": b"\x10" + bytes(parameter(kind=200).body),
        "bool-that-is-none": b"\x0c\x07",
        "nothing": b"\x00",
    }
