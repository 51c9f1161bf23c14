"""`pixio_node build` and `infer` on a small model and a photograph."""

import compile_once
import images
from node_process import run
from safetensors.numpy import load_file
from waiting import LONG_SECS

PHOTOGRAPH = images.photograph("coffee", 320, 240)
SIZE = "64x64"
MODEL = ("--model", "random:tiny", "--device", "cpu", "--size", SIZE)


def build(*options: str, **env):
    return run("build", *MODEL, *options, patience_secs=LONG_SECS, **env)


def build_once(*options: str):
    """As `build`, but what was compiled once is not compiled again."""
    return build(*options, "--python", compile_once.program())


def infer(tmp_path, *options: str):
    """`infer` on a photograph: how it ended, and the patch tokens if there are any."""
    file = tmp_path / "coffee.png"
    file.write_bytes(images.file_bytes(PHOTOGRAPH, "PNG"))
    done = run(
        "infer",
        *MODEL,
        "--image",
        file,
        "--out",
        tmp_path / "out",
        *options,
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    written = tmp_path / "out" / "coffee.safetensors"
    return done, load_file(written)["patch_tokens"] if written.exists() else None
