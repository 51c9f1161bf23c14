"""scripts/bench --against: two binaries in turn, and what becomes of one that is too old for a case. Its
figures are not judged."""

import json
import subprocess
import sys
from pathlib import Path

from node_process import BINARY, ROOT
from waiting import PATIENCE_SECS

# What a bench says that knows nothing of files.
OLD = """#!/bin/sh
case "$*" in *.jpg*)
  echo "error: invalid value for '--image <WIDTHxHEIGHT>': valid is WIDTHxHEIGHT in pixels" >&2
  exit 2 ;;
esac
exec '{binary}' "$@"
"""


def bench(against: Path, *options) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "bench.against",
        "--against",
        against,
        "--quick",
        "--rounds",
        "1",
        "--frames",
        "2",
        *options,
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECS)


def test_two_binaries_are_compared_stage_by_stage(tmp_path):
    done = bench(BINARY, "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads((tmp_path / "figures.json").read_text())
    assert list(cases) == ["random:tiny, 1280x720 raw", "random:tiny, 1280x720 JPEG"]
    for case, stages in cases.items():
        assert case in done.stdout and list(stages) == ["fit", "forward", "heads", "total"]
        assert all(
            of["ratios"] == [of["ratio"]] and of["ratio"] == of["new"] / of["old"] > 0
            for of in stages.values()
        ), stages


def test_a_case_that_the_older_one_cannot_run_is_a_line_with_its_reason(tmp_path):
    old = tmp_path / "pixio_node"
    old.write_text(OLD.format(binary=BINARY))
    old.chmod(0o755)
    done = bench(old)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "random:tiny, 1280x720 JPEG: not measured: old: invalid value for '--image" in done.stdout, (
        done.stdout
    )
    assert "total" in done.stdout


def test_what_is_no_program_is_refused(tmp_path):
    done = bench(tmp_path / "nothing")
    assert done.returncode == 2 and "nothing is no program" in done.stderr, done.stderr
