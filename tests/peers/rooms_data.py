"""Rendered rooms for tests: the same arguments of pixio-render-rooms give the same images."""

import json
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
from programs import command
from waiting import LONG_SECS

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "models" / "pixio-tiny"
# Options that give a node both heads of it.
HEADS = (
    "--depth-head",
    str(TINY / "depth.safetensors"),
    "--segmentation-head",
    str(TINY / "segmentation.safetensors"),
)
ROOM_WALK = ROOT / "data" / "room-walk"


def render(out: Path, *options) -> Path:
    """Runs the program as a user does."""
    subprocess.run(
        command("render_rooms", out, *options), check=True, stdout=subprocess.DEVNULL, timeout=LONG_SECS
    )
    return out


def evaluated(task: str, folder: Path, out: Path) -> dict:
    """What pixio-evaluate-head finds of models/pixio-tiny; `out` is a file to write."""
    evaluate = command(
        "evaluate_head", TINY / f"{task}.safetensors", TINY, folder, "--json", out, "--device", "cpu"
    )
    done = subprocess.run(evaluate, capture_output=True, text=True, timeout=LONG_SECS)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


def rays(camera) -> np.ndarray:
    """[height, width, 3]: where a pinhole camera's pixels look, one metre along the optical axis."""
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    return np.stack([*np.meshgrid(x, y), np.ones((camera.height, camera.width))], -1)


@cache
def held_out() -> Path:
    """The images that the card of models/pixio-tiny tells figures of; rendered once, kept under target/."""
    return render(
        ROOT / "target" / "peers" / "held-out",
        *["--scenes", "50", "--frames", "8", "--seed", "2", "--split", "held-out"],
    )
