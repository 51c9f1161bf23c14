"""Errors that the user can put right. This tool runs before there is any environment, so it shares no code
with python/."""

import sys
from collections.abc import Callable


class Refused(Exception):
    """One line that names what is wrong and, where it helps, the way out."""


def run(main: Callable[[], None]) -> None:
    """Runs the tool: what it refuses ends it with one line on stderr and status 1."""
    try:
        main()
    except Refused as err:
        sys.exit(f"error: {err}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def listed(names: list[str], most: int = 5) -> str:
    """The first of many names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
