"""Times pixio_node's engines against transformers and torch.compile, cell by cell. Start it by bench-gpu.

A cell is a model, an input size and a batch size. Its engine is built, every contender gets ready in a
process of its own, and then they take turns in random order, one at a time, each warmed up anew. A figure is
the median over the rounds of that round's percentile. The Python contenders' processes stay and wait between
their turns; `pixio_node bench` starts anew and times all of its engines in one turn. While the engine is
built, the Python contenders without autotuning load and compile.

What fails becomes a line with its reason, and the rest goes on. Figures are written after every round; a cell
that was interrupted is run again the next time.
"""

import argparse
import importlib.metadata
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cell import CELLS, MODELS, Cell
from contender import one_line
from run import Run
from table import FOOTNOTES, table

LONGEST_CELL_SECS = 480
EXPECTED_CELL_SECS = 240


def nvidia_driver() -> str:
    try:
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return one_line(said.stdout) if said.returncode == 0 else "none"


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def torch_version() -> str:
    # The wheel's metadata lacks the part after the plus sign.
    code = "import torch; print(torch.__version__)"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    ).stdout.strip() or version("torch")


class Results:
    """The JSON file with every cell that was run."""

    def __init__(self, path: Path):
        self._path = path
        self.cells = json.loads(path.read_text())["cells"] if path.exists() else {}

    def keep(self, key: str, found: dict):
        self.cells[key] = found
        part = self._path.with_name(self._path.name + ".part")
        part.write_text(json.dumps({"cells": self.cells}, indent=1) + "\n")
        part.replace(self._path)

    def has(self, cell: Cell) -> bool:
        return self.cells.get(cell.key, {}).get("complete", False)

    def expected_secs(self) -> float:
        """The longest that a cell has taken, autotuning aside."""
        known = [
            found["secs"] - found.get("max_autotune_secs", 0)
            for found in self.cells.values()
            if found["complete"]
        ]
        return max(known, default=EXPECTED_CELL_SECS)


def wanted(options: argparse.Namespace) -> Iterator[Cell]:
    cells = CELLS if options.all else [(options.size, options.batch, options.model)]
    for size, batch, model in cells:
        yield Cell(model, size, batch, options.device, options.precision)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench-gpu",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="bench-gpu --tests runs the tests that need a GPU instead, bench-gpu --cameras four cameras "
        "against one through the frame path.",
    )
    parser.add_argument("--model", choices=MODELS, default="vith16")
    parser.add_argument(
        "--size", default="256x256", help="WIDTHxHEIGHT of the model's input (default 256x256)"
    )
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument(
        "--all", action="store_true", help="ViT-H, L and B in 256x256 and 512x384, batch 1 and 4"
    )
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no cell that would not fit")
    parser.add_argument("--again", action="store_true", help="run cells that are in the file too")
    parser.add_argument(
        "--json", type=Path, default=Path("results.json"), help="read and added to (results.json)"
    )
    parser.add_argument(
        "--device", default="cuda:0", help="cuda:N, or cpu, where times are taken by the wall clock"
    )
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16", "float16"], default="auto")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender (default 3)")
    parser.add_argument(
        "--runs", type=int, default=200, help="measured passes of each contender (default 200)"
    )
    parser.add_argument(
        "--max-autotune", action="store_true", help="in every cell, not only in ViT-H 256x256 batch 1"
    )
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "pixio-bench-gpu", help="engines and logs"
    )
    options = parser.parse_args(arguments)
    if options.precision == "auto":
        options.precision = "float32" if options.device == "cpu" else "bfloat16"
    return options


def main():
    options = parse(sys.argv[1:])
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(options.work / "inductor")
    os.environ["HF_HUB_OFFLINE"] = "1"
    started = time.monotonic()

    def tell(text: str):
        print(f"[{time.monotonic() - started:4.0f} s] {text}", file=sys.stderr, flush=True)

    results, n_failed = Results(options.json), 0
    machine = {
        "driver": nvidia_driver(),
        "torch": torch_version(),
        "transformers": version("transformers"),
        "triton": version("triton"),
        "python": sys.version.split()[0],
    }
    for cell in wanted(options):
        if results.has(cell) and not options.again:
            tell(f"{cell.key} is in {options.json} already")
            print(table(results.cells[cell.key]), flush=True)
            continue
        autotune = options.max_autotune or (cell.model, cell.size, cell.batch) == ("vith16", "256x256", 1)
        left_secs = options.minutes * 60 - (time.monotonic() - started)
        expected_secs = LONGEST_CELL_SECS if autotune else results.expected_secs()
        if options.all and left_secs < expected_secs:
            tell(f"{cell.key} would not fit: about {expected_secs:.0f} s, {max(left_secs, 0):.0f} s are left")
            break
        run = Run(cell, options, autotune, time.monotonic() + min(left_secs, LONGEST_CELL_SECS), tell)
        run.found["machine"] = machine
        run.run(lambda: results.keep(cell.key, run.found))
        print(table(run.found), flush=True)
        n_failed += len(run.found["failed"])
    print(FOOTNOTES)
    sys.exit(1 if n_failed else 0)


if __name__ == "__main__":
    main()
