"""The tables of docs/reliability.md, between their markers."""

import json
import os
import platform
import re
from dataclasses import asdict
from pathlib import Path

from node_process import ROOT

from .trial import Fault, Seen

PAGE = ROOT / "docs" / "reliability.md"
KEPT = ROOT / "target" / "reliability.json"
HEAD = "| fault | injected by | promise | what the node did | verdict |\n|---|---|---|---|---|"


def kept() -> dict[str, Seen]:
    """What each fault has shown when it was injected last, by its name."""
    found = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return {name: Seen(**seen) for name, seen in found.items()}


def keep(fault: Fault, seen: Seen):
    KEPT.parent.mkdir(exist_ok=True)
    shown = {name: asdict(of) for name, of in (kept() | {fault.name: seen}).items()}
    KEPT.write_text(json.dumps(shown, indent=1))


def missing(groups: dict[str, list[Fault]]) -> list[str]:
    """Faults that were never injected."""
    known = kept()
    return [fault.name for group in groups.values() for fault in group if fault.name not in known]


def did(seen: Seen) -> str:
    """A cell of what was seen."""
    parts = []
    if seen.n_before or seen.n_after:
        parts.append(f"served {seen.n_before} frames before and {seen.n_after} after")
    if seen.recovery_secs is not None:
        parts.append(f"first answer after {seen.recovery_secs:.2f} s")
    if seen.exit_code is not None:
        parts.append(f"exit code {seen.exit_code}")
    parts += seen.notes
    if seen.sentence:
        parts.append(f"said: {code(seen.sentence)}")
    return cell("; ".join(parts))


def code(text: str) -> str:
    """Inline code of Markdown, whatever the text holds."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def table(groups: dict[str, list[Fault]]) -> str:
    """Everything that is kept, in the order of the faults."""
    known = kept()
    verdicts = [known[fault.name].verdict for group in groups.values() for fault in group]
    lines = [f"{verdicts.count('PASS')} of {len(verdicts)} promises were kept, on {machine()}.", ""]
    for heading, group in groups.items():
        lines += [f"### {heading}", "", HEAD]
        for fault in group:
            seen = known[fault.name]
            cells = [cell(fault.name), cell(fault.how), cell(fault.promise), did(seen), seen.verdict]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def machine() -> str:
    """Where it was seen."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    name = model[1] if model else platform.machine()
    return f"{os.cpu_count()} cores of {name} under Linux {platform.release().split('-')[0]}"


def parted(text: str, name: str) -> tuple[str, str, str]:
    """A page before, between and after the markers of a table."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, _, rest = text.partition(begin)
    inside, marker, after = rest.partition(end)
    assert marker, f"{PAGE} lacks the markers of {name}"
    return before + begin, inside, end + after


def write(name: str, made: str):
    """Puts a table between its markers."""
    before, _, after = parted(PAGE.read_text(), name)
    PAGE.write_text(f"{before}{made}\n{after}")
    print(f"docs/reliability.md: {name} are written")
