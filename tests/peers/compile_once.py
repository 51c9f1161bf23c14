"""Compiles engines for tests, the same one once: what the Python of `pixio_node build` has made of a plan is
kept under target/peers/compiled and given again.

Stands in for that Python (see `program`) and takes its arguments: build_engine.py and the plan. Packages are
kept for the same plan, sources, wheels, compiler and CPU; all that the node does with them is done anew.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

KEPT = Path(__file__).resolve().parents[2] / "target" / "peers" / "compiled"
KEPT_SECS = 30 * 24 * 3600
SAID = "said.jsonl"


def program() -> Path:
    """For `pixio_node build --python`."""
    KEPT.mkdir(parents=True, exist_ok=True)
    file, text = KEPT / "compile-once", f"#!/bin/sh\nexec '{sys.executable}' '{__file__}' \"$@\"\n"
    if not file.exists() or file.read_text() != text:
        # In one step: others may run it.
        draft = KEPT / f"compile-once.{os.getpid()}"
        draft.write_text(text)
        draft.chmod(0o755)
        draft.rename(file)
    return file


def main(tool: Path, plan_file: Path):
    threading.Thread(target=end_with_parent, daemon=True).start()
    plan = json.loads(plan_file.read_text())
    out = Path(plan.pop("out"))
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = KEPT / key(plan, tool.parent)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            remove_old()
            compile_and_keep(tool, plan_file, out, kept)
            return
        kept.touch()
        for package in kept.glob("*.pt2"):
            shutil.copy(package, out)
    sys.stdout.write((kept / SAID).read_text())


def key(plan: dict, work: Path) -> str:
    """Of all that decides what is compiled."""
    wheels = sorted(f"{wheel.name} {wheel.version}" for wheel in importlib.metadata.distributions())
    compiler = os.environ.get("CXX", "g++")
    compilers = [compiler, shutil.which(compiler), os.environ.get("CUDA_HOME"), os.environ.get("PYTHONPATH")]
    cpu = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    cpu = [line for line in cpu if line.startswith(("model name", "flags", "Features", "CPU part"))]
    about = [plan, sys.version, wheels, compilers, cpu]
    about += [(str(file.relative_to(work)), file.read_text()) for file in sorted(work.rglob("*.py"))]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]


def compile_and_keep(tool: Path, plan_file: Path, out: Path, kept: Path):
    """Compiles as without this program, and keeps what ends well."""
    process = subprocess.Popen(
        [sys.executable, tool, plan_file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    said = []
    for line in process.stdout:
        said.append(line)
        sys.stdout.write(line)
        sys.stdout.flush()
    if process.wait() != 0:
        sys.exit(process.returncode if process.returncode > 0 else 1)
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        draft = Path(folder, "draft")
        draft.mkdir()
        for package in out.glob("*.pt2"):
            shutil.copy(package, draft)
        (draft / SAID).write_text("".join(said))
        draft.rename(kept)


def remove_old():
    for kept in KEPT.iterdir():
        if kept.stat().st_mtime < time.time() - KEPT_SECS:
            shutil.rmtree(kept, ignore_errors=True) if kept.is_dir() else kept.unlink(missing_ok=True)


def end_with_parent():
    """Whoever started this holds its standard input open; the compiler ends with this process."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
