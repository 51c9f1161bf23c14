"""Runs the functions of scripts/ in a folder of its own, where programs of the system can be stood in for."""

import shutil
import subprocess
import sys
from pathlib import Path

from node_process import ROOT
from waiting import LONG_SECS

SOURCES = ("common.sh", "python.sh", "packages.sh")
TOOLS = (
    "bash",
    "sh",
    "env",
    "cat",
    "chmod",
    "cp",
    "cut",
    "df",
    "dirname",
    "grep",
    "head",
    "ln",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "readlink",
    "realpath",
    "rm",
    "sed",
    "sha256sum",
    "sort",
    "tail",
    "tee",
    "touch",
    "tr",
    "wc",
)
REAL = Path(sys._base_executable).resolve()


class Shell:
    """A folder with scripts/ and a PATH of nothing but basic tools and what `program` adds."""

    def __init__(self, folder: Path):
        self.folder = folder / "project"
        self.bin = folder / "bin"
        self.folder.mkdir()
        self.bin.mkdir()
        (self.folder / "scripts").symlink_to(ROOT / "scripts")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))

    def program(self, name: str, text: str) -> Path:
        """A shell script in PATH, or wherever `name` says."""
        file = self.bin / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
        return file

    def python(self, name: str, disguise: str = "", version: str = "") -> Path:
        """This test's Python, after it has run the statements of `disguise`; `python -m venv DIR` makes a DIR
        of the same."""
        said = f'echo "Python {version}"' if version else f'exec "{REAL}" --version'
        return self.program(
            name,
            f"""
[ "$1" != --version ] || {{ {said}; exit; }}
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin" "$3/lib"
  cp "$0" "$3/bin/python"
  echo "$3/bin/python" >"$3/bin/pip"
  exit
fi
[ "$1 $2" != "-m pip" ] || exit 0
shift 2
exec "{REAL}" -I -c "import sys
{disguise}
$1\"""",
        )

    def run(self, code: str, **environment: str) -> subprocess.CompletedProcess:
        sources = "; ".join(f". scripts/{name}" for name in SOURCES)
        env = {"PATH": str(self.bin), "HOME": str(self.folder), "OLDPWD": str(self.folder)} | environment
        return subprocess.run(
            [self.bin / "bash", "-c", f"set -euo pipefail; {sources}\n{code}"],
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONG_SECS,
        )
