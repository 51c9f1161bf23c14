"""A project with patches of two small crates, for the tests of scripts/patch-crates."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from node_process import ROOT
from waiting import PATIENCE_SECS

sys.path.append(str(ROOT / "patches"))
from crate_patches.patches import CRATES

MADE = "made-by-scripts-setup"
LINES = [f"line {number}" for number in range(1, 13)]
LIB = "\n".join(LINES).encode() + b"\n"


def edits(*commands: str, of: bytes = LIB) -> bytes:
    return "\n".join([f"sha256 {sha256(of).hexdigest()}", *commands, ""]).encode()


class Project:
    """A folder with patches/ of two small crates. Its lock is what its cargo answers, so each has its own
    published crates."""

    def __init__(self, folder: Path):
        self.folder = folder / "project"
        self.crates = folder / "registry"
        (self.folder / "patches").mkdir(parents=True)
        (self.folder / "patches" / "Cargo.toml").write_text("[package]\n")
        self.publish("1", {"src/lib.rs": LIB, "src/other.rs": b"other\n", ".cargo-ok": b"ok"})
        cargo = folder / "bin" / "cargo"
        cargo.parent.mkdir()
        cargo.write_text('#!/bin/sh\nexec cat "$(dirname "$6")/Cargo.lock"\n')
        cargo.chmod(0o755)
        self.env = os.environ | {"PATH": f"{cargo.parent}:{os.environ['PATH']}"}

    def publish(self, version: str, files: dict[str, bytes]):
        packages = []
        for crate in CRATES:
            for path, data in files.items():
                file = self.crates / f"{crate}-{version}" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            packages.append(
                {"name": crate, "manifest_path": str(self.crates / f"{crate}-{version}" / "Cargo.toml")}
            )
        (self.folder / "patches" / "Cargo.lock").write_text(json.dumps({"packages": packages}))

    def patch(self, subject: str, data: bytes, path: str = "src/lib.rs.edits", crate: str = "rustdds"):
        file = self.folder / "patches" / crate / subject / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def made(self, path: str = "src/lib.rs", crate: str = "rustdds") -> Path:
        return self.folder / MADE / crate / path

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, ROOT / "patches" / "patch_crates.py", *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECS,
        )

    def do(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, (
            done
        )
        return done.stderr

    def tree(self) -> dict[str, bytes]:
        below = self.folder / MADE
        return {
            str(file.relative_to(below)): file.read_bytes() for file in below.rglob("*") if file.is_file()
        }
