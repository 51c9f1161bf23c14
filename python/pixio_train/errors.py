"""Errors that the user can put right."""

import functools
import sys
from collections.abc import Callable


class Refused(Exception):
    """One line that names what is wrong and, where it helps, the way out."""


def program(main: Callable[[], None]) -> Callable[[], None]:
    """Makes `main` an entry point: what it refuses ends the program with one line on stderr and status 1."""

    @functools.wraps(main)
    def entry_point() -> None:
        try:
            main()
        except Refused as err:
            sys.exit(f"error: {err}")
        except KeyboardInterrupt:
            sys.exit("interrupted")

    return entry_point


def listed(names: list[str], most: int = 5) -> str:
    """The first of many names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
