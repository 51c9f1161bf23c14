"""A colcon workspace with this repository in it, as a user has one, and programs that run in what it has
installed."""

import os
import subprocess
import sys
from pathlib import Path

from node_process import ROOT, end_with_parent, environment
from waiting import LONG_SECS, PATIENCE_SECS

VENV = Path(sys.prefix)
PACKAGE = "pixio_node"


def tools(with_cargo: bool = True, **extra: str | None) -> dict[str, str]:
    """The environment in which colcon and cmake find the wheels' ROS."""
    folders = [VENV / "bin", *map(Path, os.environ["PATH"].split(":"))]
    if not with_cargo:
        folders = [folder for folder in folders if not (folder / "cargo").exists()]
        # Where rustup puts it is searched too.
        extra = {"HOME": "/nonexistent", "COLCON_HOME": "/nonexistent"} | extra
    return environment(PATH=":".join(map(str, folders)), AMENT_PREFIX_PATH=str(VENV), **extra)


class Workspace:
    """`src/pixio_node` is this repository."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "src").mkdir(parents=True)
        (folder / "src" / PACKAGE).symlink_to(ROOT)

    @property
    def prefix(self) -> Path:
        return self.folder / "install" / PACKAGE

    def colcon(self, *arguments: str, with_cargo: bool = True) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["colcon", *arguments],
            cwd=self.folder,
            env=tools(with_cargo),
            capture_output=True,
            text=True,
            timeout=LONG_SECS,
        )

    def build(self, *cmake_args: str, with_cargo: bool = True) -> "Workspace":
        """Builds and installs the package; an AssertionError with what colcon said when that fails."""
        wheels = f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'scripts' / 'wheels.cmake'}"
        built = self.colcon(
            "build",
            "--packages-select",
            PACKAGE,
            "--cmake-args",
            "-DCMAKE_BUILD_TYPE=Release",
            wheels,
            *cmake_args,
            with_cargo=with_cargo,
        )
        assert built.returncode == 0, built.stdout + built.stderr
        return self

    def start(self, *command, messages: Path) -> subprocess.Popen:
        """A program in a shell that has sourced the workspace after `messages`, a prefix with more message
        types."""
        python = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        env = environment(
            AMENT_PREFIX_PATH=str(VENV),
            PYTHONPATH=str(messages / python),
            LD_LIBRARY_PATH=str(messages / "lib"),
        )
        return subprocess.Popen(
            ["bash", "-c", '. install/setup.bash && exec "$@"', "bash", *map(str, command)],
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,
        )


def result(process: subprocess.Popen) -> str:
    """What the process has printed, once it has ended well."""
    try:
        said, errors = process.communicate(timeout=PATIENCE_SECS)
    finally:
        process.kill()
    assert process.returncode == 0, said + errors
    return said
