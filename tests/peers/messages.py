"""Importing this module makes `pixio_node.msg` and `pixio_node.srv` importable: rosidl builds them when that
is due."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def install(package: Path) -> Path:
    """Makes the messages of a package importable; the prefix that holds them."""
    command = [ROOT / "scripts" / "build-messages", "--venv", sys.prefix, package]
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    prefix = Path(built.stdout.strip())
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    sys.path.insert(0, str(prefix / "lib" / python / "site-packages"))
    # rcutils searches this at the moment it loads a type support, the dynamic linker only what it saw at its
    # own start: hence the libraries are loaded by hand too, each one as soon as those that it needs are
    # there.
    os.environ["LD_LIBRARY_PATH"] = f"{prefix / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    waiting = sorted(prefix.glob("lib/lib*__*.so"))
    for _ in range(len(waiting)):
        waiting = [library for library in waiting if not _loads(library)]
    if waiting:
        ctypes.CDLL(str(waiting[0]), mode=ctypes.RTLD_GLOBAL)
    return prefix


def _loads(library: Path) -> bool:
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


PREFIX = install(ROOT)
