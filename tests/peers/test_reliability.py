"""docs/reliability.md: its rows are the faults that scripts/reliability injects and the targets of
scripts/fuzz."""

import re
import sys

import pytest
from node_process import ROOT

sys.path.append(str(ROOT))
from bench.reliability import fuzzers, page
from bench.reliability.faults import GROUPS
from bench.reliability.trial import Fault, Seen

LOG = """#100 NEW    cov: 20 ft: 30 corp: 4/5Kb lim: 21 exec/s: 7 rss: 8Mb L: 9/9 MS: 1 EraseBytes-
#1234   DONE   cov: 513 ft: 1160 corp: 379/137Kb lim: 9787 exec/s: 26947 rss: 145Mb
Done 1234 runs in 61 second(s)
stat::number_of_executed_units: 1234
"""
CRASH = "thread panicked at src/files/mod.rs:7:1: overflow\nSUMMARY: libFuzzer: deadly signal\n"


def table(name: str) -> list[list[str]]:
    """The cells of every row between the markers of the page."""
    _, inside, _ = page.parted(page.PAGE.read_text(), name)
    rows = [line for line in inside.splitlines() if line.startswith("| ")]
    cells = [re.split(r"(?<!\\) *\| *", row.strip("| ")) for row in rows]
    return [of_row for of_row in cells if of_row[0] not in ("fault", "target")]


def test_the_page_has_every_fault_and_no_other():
    faults = [fault for group in GROUPS.values() for fault in group]
    names = [fault.name for fault in faults]
    assert len(set(names)) == len(names) >= 24
    shown = table("faults")
    assert [row[:3] for row in shown] == [
        [page.cell(text) for text in (fault.name, fault.how, fault.promise)] for fault in faults
    ]
    assert not [row for row in shown if row[4] != "PASS" and not row[4].startswith("not run")]


def test_the_page_has_every_fuzzer_and_nothing_was_found():
    targets = sorted(path.stem for path in (ROOT / "fuzz" / "fuzz_targets").iterdir())
    shown = table("fuzzers")
    assert [row[0] for row in shown] == [f"`{name}`" for name in targets]
    assert {row[6] for row in shown} == {"nothing"}


@pytest.mark.parametrize(
    ("log", "expect"),
    [
        (LOG, "| `target` | 1,234 | 61 | 513 | 1160 | 379 | nothing |"),
        (LOG.splitlines()[0], "| `target` | 0 | 0 | - | - | - | did not end |"),
        (CRASH, "| `target` | 0 | 0 | - | - | - | src/files/mod.rs:7:1: overflow |"),
    ],
)
def test_a_log_of_a_fuzzer_is_a_row(tmp_path, log, expect):
    file = tmp_path / "target"
    file.write_text(log)
    assert fuzzers.row(file)[0] == expect


def test_what_was_seen_is_one_cell_of_markdown():
    fault = Fault("a fault", "a | b", "nothing happens", lambda trial: None)
    seen = Seen("PASS", 5, 6, 0.25, 1, "use `auto` | `eager`", ["memory +1 MB"])
    assert page.did(seen) == (
        "served 5 frames before and 6 after; first answer after 0.25 s; exit code 1; memory +1 MB; "
        "said: `` use `auto` \\| `eager` ``"
    )
    assert page.cell(fault.how) == "a \\| b"
