"""Rendered rooms for tests: the same arguments of tools/render_rooms.py give the same pictures."""

import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "models" / "pixio-tiny"
CLIP = ROOT / "models" / "clip"


def render(out: Path, *options) -> Path:
    """Runs the tool as a user does."""
    command = [sys.executable, ROOT / "tools" / "render_rooms.py", out, *options]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, timeout=300)
    return out


@cache
def held_out() -> Path:
    """The pictures that the card of models/pixio-tiny tells figures of; rendered once, kept under target/."""
    return render(ROOT / "target" / "peers" / "held-out", *"--scenes 50 --frames 8 --seed 2 --split held-out".split())
