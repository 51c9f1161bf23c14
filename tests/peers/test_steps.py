"""The scripts stop at the first step that fails, and its own message is the one that is shown."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from node_process import ROOT
from waiting import LONG_SECS


def test_a_failure_inside_a_substitution_ends_a_script(shell):
    failed = shell.run('inner() { ls /nowhere; echo "went on"; }\nfound=$(inner)\necho "$found"')
    assert failed.returncode != 0 and "went on" not in failed.stdout


# what is wrong with the package, the step that fails, what its tool says
BROKEN = {
    "configure": ('message(FATAL_ERROR "no such thing here")', "cmake -S", "no such thing here"),
    "build": (
        'add_custom_target(broken ALL COMMAND sh -c "echo this one is broken >&2 && exit 3" VERBATIM)',
        "cmake --build",
        "this one is broken",
    ),
    "install": ("install(FILES not/there DESTINATION share)", "cmake --install", "not/there"),
}


@pytest.mark.parametrize("step", BROKEN)
def test_messages_that_cannot_be_built_name_the_first_step_that_failed(tmp_path, step):
    line, command, said = BROKEN[step]
    (tmp_path / "msg").mkdir()
    (tmp_path / "msg" / "One.msg").write_text("uint8 one\n")
    (tmp_path / "package.xml").write_text("<package/>")
    project = f"cmake_minimum_required(VERSION 3.16)\nproject(broken NONE)\n{line}\n"
    (tmp_path / "CMakeLists.txt").write_text(project)
    built = [ROOT / "scripts" / "build-messages", "--venv", sys.prefix, tmp_path]
    failed = subprocess.run(built, capture_output=True, text=True, timeout=LONG_SECS)
    assert (failed.returncode, failed.stdout) == (1, "")
    told = re.search(
        r"error: scripts/build-messages: `(.*)` failed; all of its output is in (.*)\n", failed.stderr
    )
    assert told and told[1] == command and said in failed.stderr, failed.stderr
    assert said in Path(told[2]).read_text()
    assert not any(other in failed.stderr for _, other, _ in BROKEN.values() if other != command)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not here")
def test_shellcheck_finds_nothing():
    scripts = [
        file
        for file in [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"]
        if file.suffix == ".sh" or (file.is_file() and file.read_bytes().startswith(b"#!"))
    ]
    checked = subprocess.run(
        ["shellcheck", "-x", "-P", str(ROOT), *scripts],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONG_SECS,
    )
    assert checked.returncode == 0, checked.stdout
