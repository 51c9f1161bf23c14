"""What scripts/fuzz has shown, from its logs."""

import re
from pathlib import Path

from node_process import ROOT

LOGS = ROOT / "fuzz" / "artifacts" / "logs"
LAST = re.compile(r"^#\d+\s+DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)/\S+", re.MULTILINE)
EXECUTED = re.compile(r"^stat::number_of_executed_units:\s+(\d+)", re.MULTILINE)
SECONDS = re.compile(r"^Done \d+ runs in (\d+) second", re.MULTILINE)
FOUND = re.compile(r"^SUMMARY: (.+)|panicked at (.+)", re.MULTILINE)

HEAD = "| target | executions | seconds | edges | features | inputs kept | found |\n" + "|---" * 7 + "|"


def row(log: Path) -> tuple[str, int, int]:
    """A target's cells, its executions and seconds."""
    text = log.read_text(errors="replace")
    last, executed, seconds = LAST.search(text), EXECUTED.search(text), SECONDS.search(text)
    found = FOUND.search(text)
    n, secs = (int(match[1]) if match else 0 for match in (executed, seconds))
    edges, ways, corpus = last.groups() if last else ("-", "-", "-")
    finding = (found[1] or found[2]) if found else ("nothing" if last else "did not end")
    return f"| `{log.name}` | {n:,} | {secs} | {edges} | {ways} | {corpus} | {finding} |", n, secs


def table() -> str:
    """A row for each target."""
    rows = [row(log) for log in sorted(LOGS.iterdir()) if not log.name.startswith(".")]
    n, secs = (sum(of[index] for of in rows) for index in (1, 2))
    total = f"{n:,} executions in {secs // 60} minutes on one core, without a sanitizer."
    return "\n".join([total, "", HEAD, *(cells for cells, _, _ in rows)])
