"""Makes the corpora of the fuzz targets of the project's own data: good inputs, and every known fault that
fits into a file. After a change of a target: .venv/bin/python fuzz/make_corpus.py"""

import io
import json
import math
import shutil
import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "fuzz" / "corpus"


def main() -> None:
    for target, files in TARGETS.items():
        folder = CORPUS / target
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, data in files().items():
            (folder / name).write_bytes(data)


# Images


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


# Messages


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


# Names and configuration


def lines(*arguments: str) -> bytes:
    return "\n".join(arguments).encode()


def ros_arguments() -> dict[str, bytes]:
    return {
        "launch": lines(
            "-r", "__node:=eye", "-r", "__ns:=/robot", "-p", "model:=random:tiny", "-r", "image:=/cam"
        ),
        "compressed": lines("-r", "image:=/cam/image_raw", "-r", "image/compressed:=/jpegs"),
        "double-suffix": lines("-r", "image:=/cam/compressed/compressed"),
        "private": lines("-r", "~/features:=tokens", "-r", "{node}/x:={ns}/y"),
        "of-other-nodes": lines(
            "-r", "eye:image:=/a", "--param", "eye:threads:=2", "--log-level", "a.b:=debug"
        ),
        "kinds": lines("-r", "rostopic://a:=rostopic://b", "-r", "rosservice://a:=b"),
        "values": lines("-p", "a:=[1, 2.5]", "-p", "b:=.nan", "-p", "c:=/data/a: b", "-p", "d:=2.10"),
        "deep-value": lines("-p", "a:=" + "[" * 500),
        "ends": lines("--", "x", "--ros-args", "--disable-rosout-logs"),
        "cut-off": lines("-r"),
        "empty-sides": lines("-r", ":=", "-r", "a:="),
        "slashes": lines("-r", "image:=//", "-r", "a/:=b"),
        "tildes": lines("-r", "~:=~", "-r", "image:=~~"),
        "other-letters": lines("-r", "image:=/kamera/größe", "-r", "__node:=ä"),
        "long": lines("-r", "image:=/" + "a/" * 2000 + "b"),
        "empty": b"",
    }


def params_yaml() -> dict[str, bytes]:
    def own(body: str) -> bytes:
        return f"/**: {{ros__parameters: {{{body}}}}}".encode()

    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    return {
        "template.yaml": (ROOT / "config/pixio.yaml").read_bytes(),
        "nested.yaml": b"robot:\n  pixio_node:\n    ros__parameters:\n      model: m\n"
        b"      cameras: [front, rear]\n      front: {max_rate: 5}\n",
        "twice.yaml": b"/**: {ros__parameters: {model: m}}\n/**: {ros__parameters: {fit: crop, fit: auto}}",
        "texts.yaml": own("model: 2.10, engine_build: off, engine_cache: '~', depth_head: 007"),
        "numbers.yaml": own(
            "model: m, max_rate: 5, threads: 0x10, max_depth: .inf, min_depth: .nan, layer: 1e3"
        ),
        "names.yaml": own("model: m, cameras: [on, off, '', a__b]"),
        "one-name.yaml": own("model: m, cameras: 'left,right'"),
        "dump.yaml": own("model: m, engine_build: 'off', cameras: [], qos_overrides: {/a: {depth: 1}}"),
        "tags.yaml": own("model: !!str 3, layer: !block 3, cameras: !!python/tuple [a]"),
        "unknown.yaml": own("modle: m, shutter: {speed: 3}"),
        "no-value.yaml": own("model: , size: ~"),
        "outside.yaml": b"model: m",
        "list.yaml": b"- 1\n- 2\n",
        "keys-that-are-lists.yaml": b"? [a, b]\n: {ros__parameters: {}}\n",
        "control-characters.yaml": own('"a\\n\\x1b[2Jb": 1, model: "\\0"'),
        "long-name.yaml": own("x" * 5000 + ": 1"),
        "deep-lists.yaml": b"[" * 2000,
        "deep-mappings.yaml": b"{a: " * 2000,
        "deep-block.yaml": b"- " * 2000,
        "laughs.yaml": laughs.encode(),
        "itself.yaml": b"a: &a [*a]",
        "documents.yaml": b"a: 1\n---\nb: 2\n",
        "tab.yaml": b"/**:\n\tros__parameters: {}\n",
        "broken.yaml": b"/**:\n  ros__parameters:\n    size: [\n",
        "empty.yaml": b"",
    }


# Models


def config_json() -> dict[str, bytes]:
    tiny = json.loads((ROOT / "models/pixio-tiny/config.json").read_text())

    def changed(**changes: object) -> bytes:
        return json.dumps(tiny | changes).encode()

    return {
        "tiny.json": json.dumps(tiny).encode(),
        "empty-object.json": b"{}",
        "stages.json": changed(out_features=["stem", "stage2"], out_indices=[0, 2]),
        "class-tokens.json": changed(n_cls_tokens=2**64 - 1),
        "blocks.json": changed(num_hidden_layers=2**63 - 1, out_features=["stage1"]),
        "channels.json": changed(hidden_size=2**40, num_attention_heads=1),
        "ratio.json": changed(mlp_ratio=1e300),
        "negative-ratio.json": changed(mlp_ratio=-4),
        "side.json": changed(image_size=2**32),
        "epsilon.json": changed(layer_norm_eps=-1),
        "no-heads.json": changed(num_attention_heads=0),
        "other-model.json": changed(model_type="dino\nv2"),
        "types.json": changed(hidden_size="wide"),
        "deep.json": b"[" * 500,
        "processor.json": json.dumps(
            {"image_mean": [0.5] * 3, "image_std": 0.25, "size": {"shortest_edge": 224}, "resample": 2}
        ).encode(),
        "processor-zero.json": b'{"image_std": 0, "rescale_factor": 1e-40}',
        "not-json": b"<!DOCTYPE html>",
    }


def headed(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def entries(names: list[str], prefix: str = "") -> bytes:
    table = {
        prefix + name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]}
        for n, name in enumerate(names)
    }
    return headed(json.dumps(table).encode(), bytes(4 * len(names)))


def safetensors_header() -> dict[str, bytes]:
    file = (ROOT / "models/pixio-tiny/model.safetensors").read_bytes()
    (n_bytes,) = struct.unpack("<Q", file[:8])
    names = [name for name in json.loads(file[8 : 8 + n_bytes]) if name != "__metadata__"]
    few = [name for name in names if ".0." in name or "." not in name.removeprefix("embeddings.")]
    entry = '{"dtype": "F32", "shape": [%s], "data_offsets": [%s]}'
    return {
        "tiny": file[: 8 + n_bytes],
        "few": entries(few),
        "model-prefix": entries(few, "model."),
        "two-prefixes": entries(["a.blocks.0.x", "a.cls_token", "b.blocks.0.x", "b.cls_token"]),
        "original": entries(["blocks.0.attn.qkv.weight", "cls_token", "decoder_blocks.0.norm1.weight"]),
        "other": entries(["transformer.h.0.weight"]),
        "names": entries(["a\n\x1b[2J", "b" * 3000, "", ".layers.0.", "layers.0."]),
        "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3446\n",
        "web-page": b"\n<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
        "pickle": b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x01s.",
        "archive": b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
        "length-of-all": b"\xff" * 8 + b"{}",
        "length-beyond": headed(b"{}")[:8].replace(b"\2", b"\x90", 1) + b"{}",
        "offsets-beyond": headed(('{"a": ' + entry % ("1", "0, 18446744073709551615") + "}").encode()),
        "offsets-back": headed(('{"a": ' + entry % ("1", "4, 0") + "}").encode(), bytes(4)),
        "shape-that-wraps": headed(('{"a": ' + entry % ("4294967296, 4294967296", "0, 0") + "}").encode()),
        "deep": headed(b'{"a": ' + b"[" * 500),
        "empty-object": headed(b"{}"),
        "empty": b"",
    }


def head(card: dict, width: int = 8, **changes: object) -> bytes:
    n = 2 * width
    tensors = {
        "norm.weight": np.ones(n, np.float32),
        "norm.bias": np.zeros(n, np.float32),
        "norm.running_mean": np.zeros(n, np.float32),
        "norm.running_var": np.ones(n, np.float32),
        "conv.weight": np.full((2, n, 1, 1), 0.1, np.float32),
        "conv.bias": np.zeros(2, np.float32),
    } | changes
    return save(
        {name: tensor for name, tensor in tensors.items() if tensor is not None}, {"card": json.dumps(card)}
    )


def card(**changes: object) -> dict:
    classes = [{"name": name, "color": [n, 2, 3]} for n, name in enumerate(("floor", "wall"))]
    encoder = {
        "model": "tiny",
        "revision": "0123456789ab",
        "hidden_size": 8,
        "num_hidden_layers": 4,
        "n_cls_tokens": 8,
    }
    return {
        "format": 1,
        "task": {"kind": "segmentation", "classes": classes},
        "head": {"kind": "linear"},
        "backbone": encoder | changes.pop("backbone", {}),
        "taps": [4],
        "size": "256x256",
    } | changes


def head_files() -> dict[str, bytes]:
    dpt = {"kind": "dpt", "features": 8, "out_channels": [8, 8, 8, 8]}
    depth = {"kind": "depth", "max_depth": 10.0, "focal_length": None}
    whole = head(card())
    return {
        "linear": whole,
        "half": head(card(), **{"conv.bias": np.zeros(2, np.float16)}),
        "without-bias": head(card(), **{"conv.bias": None}),
        "more": head(card(), **{"extra\nname": np.zeros(1, np.float32)}),
        "nan": head(card(), **{"norm.bias": np.full(16, np.nan, np.float32)}),
        "integers": head(card(), **{"conv.bias": np.zeros(2, np.int64)}),
        "dpt-without-tensors": head(card(head=dpt, task=depth, taps=[1, 2, 3, 4])),
        "channels": head(card(backbone={"hidden_size": 2**63 - 1})),
        "class-tokens": head(card(backbone={"n_cls_tokens": 2**64 - 1})),
        "features": head(card(head=dpt | {"features": -1}, taps=[1, 2, 3, 4])),
        "maps": head(card(head=dpt | {"out_channels": [2**62] * 4}, taps=[1, 2, 3, 4])),
        "negative-depth": head(card(task=depth | {"max_depth": -1})),
        "no-classes": head(card(task={"kind": "segmentation", "classes": []})),
        "newer": head(card(format=2)),
        "without-card": save({"conv.bias": np.zeros(2, np.float32)}),
        "card-alone": json.dumps(card()).encode(),
        "cut": whole[:-100],
        "cut-header": whole[:100],
        "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
        "empty": b"",
    }


def engine_manifests() -> dict[str, bytes]:
    package = {
        "part": "backbone",
        "file": "backbone-64x64.pt2",
        "sha256": "6b5520e8d57cb939c706255233f20a539e1a5dc69e625cd18490d1f27001018b",
        "size": "64x64",
        "batch": [1, 8],
        "constants": {"blocks.0.fc1.bias": {"dtype": "float32", "shape": [768]}},
        "parity": [{"batch": 1, "cosine": 0.99999, "largest_difference": 1e-5}],
        "times": [],
    }
    manifest = {
        "format": 3,
        "architecture": {
            "hidden_size": 192,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "mlp_hidden": 768,
            "n_cls_tokens": 8,
            "layer_norm_eps": 1e-6,
            "qkv_bias": True,
        },
        "taps": [4],
        "precision": "float32",
        "int8_kernel": None,
        "torch": "2.11.0",
        "machine": {"kind": "cpu", "name": "a CPU", "architecture": "x86_64", "instructions": ["avx2"]},
    }

    def written(*packages: dict, **changes: object) -> bytes:
        return json.dumps(manifest | {"packages": list(packages or [package])} | changes).encode()

    return {
        "whole.json": written(),
        "several.json": written(package, package | {"size": "256x256"}, package | {"part": "depth"}),
        "older.json": written(format=2),
        "newer.json": written(format=2**32 - 1),
        "without-packages.json": json.dumps(manifest).encode(),
        "no-packages.json": written(packages=[]),
        "out-of-the-folder.json": written(package | {"file": "../x.pt2"}),
        "hidden.json": written(package | {"file": ".."}),
        "size.json": written(package | {"size": "4294967296x0"}),
        "batch.json": written(package | {"batch": [2**63 - 1, -(2**63)]}),
        "shape.json": written(package | {"constants": {"a": {"dtype": "f", "shape": [-1, 2**62, 2**62]}}}),
        "control-characters.json": written(package | {"file": "a\n\x1b[2J"}),
        "deep.json": b'{"format": 3, "machine": ' + b"[" * 500,
        "empty": b"",
    }


TARGETS = {
    "image_file": image_files,
    "raw_frame": raw_frames,
    "camera_info": camera_infos,
    "cdr": cdr,
    "ros_arguments": ros_arguments,
    "params_yaml": params_yaml,
    "config_json": config_json,
    "safetensors_header": safetensors_header,
    "head_file": head_files,
    "engine_manifest": engine_manifests,
}

if __name__ == "__main__":
    main()
