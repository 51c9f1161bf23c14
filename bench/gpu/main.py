"""Tests and times pixio_node's engines on a GPU. Start it by bench-gpu.

Without --size, --batch and --all it is a first run: everything that can be known only on a GPU, most
important first, within --minutes (9.5): what the machine is, the tests, an engine with two heads, its times
without and with them, engines that were compiled elsewhere, transformers and torch.compile, other ways to
build the engine, four cameras, compute-sanitizer. A step that no longer fits is left out. One table comes
at the end.

With them it times pixio_node's engines against transformers and torch.compile, cell by cell. A cell is a
model, an input size and a batch size. Its engine is built, every contender gets ready in a process of its
own, and then they take turns in random order, one at a time, each warmed up anew. A figure is the median
over the rounds of that round's percentile. The Python contenders' processes stay and wait between their
turns; `pixio_node bench` starts anew and times all of its engines in one turn. While the engine is built,
the Python contenders without autotuning load and compile.

What fails becomes a line with its reason, and the rest goes on. Figures are written after every step and
every round; a step or a cell that was interrupted is run again the next time.
"""

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import first_table
import machine
from cell import CELLS, MODELS, Cell
from first import FirstRun
from results import Results
from run import Run
from steps import STEPS
from table import FOOTNOTES, table

LONGEST_CELL_SECS = 480
# Of a first run: a command on a machine that is lent has ten.
FIRST_MINUTES = 9.5


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
    parser.add_argument("--size", help="WIDTHxHEIGHT of the model's input: one table (256x256)")
    parser.add_argument("--batch", type=int, help="images of a forward pass: one table (1)")
    parser.add_argument(
        "--all", action="store_true", help="ViT-H, L and B in 256x256 and 512x384, batch 1 and 4"
    )
    parser.add_argument(
        "--minutes", type=float, help="start nothing that would not fit (a first run 9.5, else without limit)"
    )
    parser.add_argument("--again", action="store_true", help="run what is in the file too")
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
    options.first = not (options.all or options.size or options.batch)
    options.size, options.batch = options.size or "256x256", options.batch or 1
    options.minutes = options.minutes or (FIRST_MINUTES if options.first else math.inf)
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

    results = Results(options.json)
    if options.first:
        sys.exit(first_run(options, results, tell))
    n_failed = cells(options, results, started, tell)
    print(FOOTNOTES)
    sys.exit(1 if n_failed else 0)


def first_run(options: argparse.Namespace, results: Results, tell) -> int:
    """The exit code: 1 where something failed."""
    known = machine.facts()
    identity = {name: known[name] for name in ("pixio_node", "torch", "driver", "processor")}
    run = FirstRun(options, results, tell)
    run.run(STEPS, identity | {"cell": run.cell.key})
    print(first_table.table(results.first), flush=True)
    print(
        f"\nkeep {results.path.resolve()}: the table is made from it, and {run.logs} has what every step said"
    )
    return 1 if any(found["outcome"] == "failed" for found in run.steps.values()) else 0


def cells(options: argparse.Namespace, results: Results, started: float, tell) -> int:
    """Every table that is wanted; returns how many contenders failed."""
    n_failed, versions = 0, machine.versions()
    for cell in wanted(options):
        if results.has(cell.key) and not options.again:
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
        run.found["machine"] = versions
        run.run(lambda: results.keep(cell.key, run.found))
        print(table(run.found), flush=True)
        n_failed += len(run.found["failed"])
    return n_failed


if __name__ == "__main__":
    main()
