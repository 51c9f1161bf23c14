"""Injects faults into the node and writes docs/reliability.md. Start it by `scripts/reliability`.

Each fault is a row: what is promised, what the node did, and whether it kept the promise. What a row shows is
kept in target/reliability.json, so that single rows can be run again; the page has the newest of each. The
exit code is 1 if a promise was broken.
"""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

import messages  # noqa: F401  (pixio_node.msg)
from peer import Peer

from . import faults, fuzzers, page
from .trial import Fault, Seen, Trial


def run(fault: Fault) -> Seen:
    """One trial, in a folder of its own."""
    peer = Peer("reliability")
    try:
        with tempfile.TemporaryDirectory(prefix="pixio-fault-") as folder:
            with Trial(peer, Path(folder)) as trial:
                try:
                    fault.inject(trial)
                except faults.Impossible as err:
                    trial.seen.verdict = f"not run: {err}"
                except Exception as err:
                    trial.seen.verdict = "FAIL"
                    trial.note(" ".join(f"{type(err).__name__}: {err}".split())[:600])
            return trial.seen
    finally:
        peer.close()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="the faults in whose names this is found"
    )
    parser.add_argument("--fuzzers", action="store_true", help="only write what scripts/fuzz has shown")
    asked = parser.parse_args()
    if asked.fuzzers:
        page.write("fuzzers", fuzzers.table())
        return
    broken = []
    for group in faults.GROUPS.values():
        for fault in group:
            if not re.search(asked.only, fault.name):
                continue
            started = time.monotonic()
            seen = run(fault)
            page.keep(fault, seen)
            print(f"{seen.verdict:4} {time.monotonic() - started:5.1f} s  {fault.name}", flush=True)
            print(f"       {page.did(seen)}", flush=True)
            if seen.verdict == "FAIL":
                broken.append(fault.name)
    if missing := page.missing(faults.GROUPS):
        print(f"\ndocs/reliability.md is as it was: not run yet: {', '.join(missing)}")
    else:
        page.write("faults", page.table(faults.GROUPS))
    if broken:
        sys.exit(f"promises that were broken: {', '.join(broken)}")


if __name__ == "__main__":
    main()
