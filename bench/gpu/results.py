"""The JSON file with everything that bench-gpu has found."""

import json
from pathlib import Path

EXPECTED_CELL_SECS = 240


class Results:
    """What was measured, written after every step: a run that is cut short keeps the finished ones.

    `cells` are the tables, by `Cell.key`; `first` is the first run, by the name of its steps.
    """

    def __init__(self, path: Path):
        self.path = path
        known = json.loads(path.read_text()) if path.exists() else {}
        self.cells: dict[str, dict] = known.get("cells", {})
        self.first: dict = known.get("first", {})

    def keep(self, key: str, found: dict):
        self.cells[key] = found
        self.write()

    def write(self):
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(json.dumps({"cells": self.cells, "first": self.first}, indent=1) + "\n")
        part.replace(self.path)

    def has(self, key: str) -> bool:
        return self.cells.get(key, {}).get("complete", False)

    def expected_secs(self) -> float:
        """The longest that a cell has taken, autotuning aside."""
        known = [
            found["secs"] - found.get("max_autotune_secs", 0)
            for found in self.cells.values()
            if found["complete"]
        ]
        return max(known, default=EXPECTED_CELL_SECS)
