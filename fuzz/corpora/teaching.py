"""Files that teach: exemplars, and clicks on images."""

import json
from collections.abc import Sequence

import numpy as np
from safetensors.numpy import save

from .models import headed

# The model that the target reads exemplars for (src/exemplars/fuzzing.rs): two blocks of two channels.
BACKBONE = {
    "model": "m",
    "revision": "0123456789ab",
    "hidden_size": 2,
    "num_hidden_layers": 4,
    "n_cls_tokens": 8,
}
N_CHANNELS = 4


def named(*names: str) -> list[dict]:
    return [{"name": name, "color": [n % 256, 2, 3]} for n, name in enumerate(names)]


def exemplars(
    numbers: Sequence[int] = (1, 1, 2),
    *,
    tokens: np.ndarray | None = None,
    classes: np.ndarray | None = None,
    **changes: object,
) -> bytes:
    """A file of exemplars of these classes, whose card says `changes`."""
    card = {
        "format": 1,
        "backbone": BACKBONE | changes.pop("backbone", {}),
        "taps": [2, 4],
        "size": "256x256",
        "classes": named("other", "door", "floor"),
        "threshold": 0.25,
    } | changes
    if tokens is None:
        tokens = np.arange(N_CHANNELS * len(numbers), dtype=np.float32).reshape(-1, N_CHANNELS) ** 2
    if classes is None:
        classes = np.array(numbers, np.float32)
    return save({"tokens": tokens, "classes": classes}, {"exemplars": json.dumps(card)})


def exemplars_files() -> dict[str, bytes]:
    whole = exemplars()
    one = np.ones((3, N_CHANNELS), np.float32)
    return {
        "whole": whole,
        "none": exemplars(()),
        "more-than-fit": exemplars([0, 1, 2, 2] * 8),
        "alike": exemplars([1] * 4 + [2] * 4, tokens=np.ones((8, N_CHANNELS), np.float32)),
        "largest": exemplars(tokens=one * np.finfo(np.float32).max),
        "signs": exemplars([1] * 4 + [2] * 4, tokens=np.array([[3e38, -3e38] * 2] * 8, np.float32)),
        "tiniest": exemplars([1, 1, 1, 1, 2], tokens=np.full((5, N_CHANNELS), 1e-45, np.float32)),
        "nan": exemplars(tokens=one * np.nan),
        "infinite": exemplars(tokens=one * np.inf),
        "half-a-class": exemplars(classes=np.array([1, 1.5, 2], np.float32)),
        "class-beyond": exemplars((1, 1, 3)),
        "negative-class": exemplars((1, -1, 2)),
        "class-that-is-none": exemplars(classes=np.array([1, np.nan, 2], np.float32)),
        "more-classes-than-tokens": exemplars(classes=np.ones(4, np.float32)),
        "table-of-classes": exemplars(classes=np.ones((3, 1), np.float32)),
        "one-number": exemplars(classes=np.array(1, np.float32)),
        "integers": exemplars(classes=np.array([1, 1, 2], np.int64)),
        "channels": exemplars(tokens=np.ones((3, 3), np.float32)),
        "hidden-size": exemplars(backbone={"hidden_size": 2**63 - 1}),
        "other-revision": exemplars(backbone={"revision": "a\n\x1b[2J" * 300}),
        "other-blocks": exemplars(taps=[2**64 - 1] * 50),
        "no-blocks": exemplars(taps=[]),
        "no-class": exemplars_card(classes=[]),
        "one-class": exemplars_card(classes=named("other")),
        "many-classes": exemplars_card(classes=named(*["other", *map(str, range(300))])),
        "twice": exemplars_card(classes=named("other", "door", "door")),
        "without-other": exemplars_card(classes=named("door", "other", "floor")),
        "unseen": exemplars_card(classes=named("other", "do\u200bor", "floor")),
        "spaces": exemplars_card(classes=named("other", " door", "floor")),
        "long-name": exemplars_card(classes=named("other", "x" * 5000, "floor")),
        "colour": exemplars_card(classes=[{"name": "other", "color": [256, 0, 0]}]),
        "threshold": exemplars_card(threshold=1.5),
        "threshold-infinite": exemplars_card(threshold=float("inf")),
        "long-value": exemplars_card(format="x\n" * 5000),
        "newer": exemplars_card(format=2**32 - 1),
        "without-card": save({"tokens": one, "classes": np.ones(3, np.float32)}),
        "without-tokens": save({"classes": np.ones(3, np.float32)}, {"exemplars": "{}"}),
        "deep-card": headed(json.dumps({"__metadata__": {"exemplars": "[" * 2000}}).encode()),
        "cut": whole[:-2],
        "cut-header": whole[:100],
        "empty": b"",
    }


def exemplars_card(**changes: object) -> bytes:
    """A file of exemplars whose card says `changes`, which may be `classes`."""
    data = exemplars()
    n_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n_bytes])
    card = json.loads(header["__metadata__"]["exemplars"]) | changes
    header["__metadata__"]["exemplars"] = json.dumps(card)
    return headed(json.dumps(header).encode(), data[8 + n_bytes :])


def clicks_files() -> dict[str, bytes]:
    header = b"image,x,y,class\n"
    rows = b"door1.jpg,210,80,door\ndoor1.jpg,20.5,30,other\n"

    def row(text: str) -> bytes:
        return header + rows + text.encode() + b"\n"

    return {
        "whole.csv": header + rows,
        "windows.csv": b"\xef\xbb\xbf" + (header + rows).replace(b"\n", b"\r\n"),
        "old-mac.csv": (header + rows).replace(b"\n", b"\r"),
        "columns.csv": b"class,note,y,x,image\ndoor,,80,210,door1.jpg\n",
        "quoted.csv": row('"a ""b"", c.jpg",1,2,"the floor, there"'),
        "quote-without-end.csv": row('a.jpg,1,2,"door'),
        "blank-lines.csv": header + b"\n\r\n  \n" + rows + b"\n\n",
        "semicolons.csv": (header + rows).replace(b",", b";"),
        "without-header.csv": rows,
        "without-class.csv": b"image,x,y\n",
        "column-twice.csv": b"image,x,y,class,x\n" + rows,
        "long-header.csv": b"image," * 9000 + b"\n",
        "too-few.csv": row("a.jpg,1"),
        "too-many.csv": row("a.jpg,1,5,2,door"),
        "word.csv": row("a.jpg,left,2,door"),
        "nan.csv": row("a.jpg,NaN,2,door"),
        "infinite.csv": row("a.jpg,1,-inf,door"),
        "huge.csv": row("a.jpg,1e999,1e308,door"),
        "long-number.csv": row("a.jpg," + "9" * 5000 + ",2,door"),
        "no-image.csv": row(",1,2,door"),
        "no-class.csv": row("a.jpg,1,2,"),
        "unseen.csv": row("a.jpg,1,2,do\u200bor"),
        "line-in-name.csv": row('a.jpg,1,2,"do\nor"'),
        "control-characters.csv": row("a\x1b[2J.jpg,\x1b[2J,2,door"),
        "long-name.csv": row("a.jpg,1,2," + "x" * 5000),
        "other-letters.csv": row("größe.jpg,1,2,Tür 扉"),
        "utf-16.csv": (header + rows).decode().encode("utf-16"),
        "latin-1.csv": header + "a.jpg,1,2,Tür\n".encode("latin-1"),
        "header-alone.csv": header,
        "empty.csv": b"",
    }
