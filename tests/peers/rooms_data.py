"""Rendered rooms for tests: the same arguments of tools/render_rooms.py give the same pictures."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
from waiting import LONG_SECS

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "models" / "pixio-tiny"
# Options that give a node both heads of it.
HEADS = ("--depth-head", str(TINY / "depth.safetensors"), "--segmentation-head", str(TINY / "segmentation.safetensors"))
CLIP = ROOT / "models" / "clip"


def render(out: Path, *options) -> Path:
    """Runs the tool as a user does."""
    command = [sys.executable, ROOT / "tools" / "render_rooms.py", out, *options]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, timeout=LONG_SECS)
    return out


def evaluated(task: str, folder: Path, out: Path) -> dict:
    """What tools/evaluate_head.py finds of models/pixio-tiny; `out` is a file to write."""
    command = [sys.executable, ROOT / "tools" / "evaluate_head.py", TINY / f"{task}.safetensors", TINY, folder, "--json", out, "--device", "cpu"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=LONG_SECS)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


def rays(camera) -> np.ndarray:
    """[height, width, 3]: where a pinhole camera's pixels look, one metre along the optical axis."""
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    return np.stack([*np.meshgrid(x, y), np.ones((camera.height, camera.width))], -1)


@cache
def held_out() -> Path:
    """The pictures that the card of models/pixio-tiny tells figures of; rendered once, kept under target/."""
    return render(ROOT / "target" / "peers" / "held-out", *"--scenes 50 --frames 8 --seed 2 --split held-out".split())
