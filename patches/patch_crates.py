#!/usr/bin/env python3
"""Makes the patched crates in made-by-scripts-setup/ and records edits of them. Start it by
scripts/patch-crates."""

import argparse

from crate_patches import made
from crate_patches.errors import run
from crate_patches.patches import check_names


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/patch-crates", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--check", action="store_true", help="only tells whether the folder is what patches/ says"
    )
    what.add_argument("--discard", action="store_true", help="drops edits that were not recorded")
    what.add_argument(
        "--record", nargs=2, metavar=("CRATE", "SUBJECT"), help="writes edits of the folder to a subject"
    )
    args = parser.parse_args()
    if args.check:
        made.check()
    elif args.record:
        check_names(*args.record)
        print(made.record(*args.record))
    elif said := made.update(args.discard):
        print(said)


if __name__ == "__main__":
    run(main)
