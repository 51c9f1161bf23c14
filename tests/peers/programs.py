"""The programs of python/pixio_train as processes of their own."""

import sys


def command(name: str, *arguments) -> list[str]:
    """Runs `name` of pixio_train.commands from this repository, which PYTHONPATH names, installed or not."""
    return [sys.executable, "-m", f"pixio_train.commands.{name}", *map(str, arguments)]
