"""Which Python the scripts take, and what becomes of an environment that another one made."""

import sys
from pathlib import Path

import pytest

NEEDED = "CPython 3.11, 3.12 or 3.13 with the venv module is needed"
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHER = "3.12" if OWN != "3.12" else "3.13"
VENV_MISSING = (
    f"it is Python {OWN} without the venv module (Debian, Ubuntu: apt-get install python{OWN}-venv)"
)


def disguise(version: str) -> str:
    return f"sys.version_info = ({version.replace('.', ', ')}, 1, 'final', 0)"


# what the interpreter is, what the error says of it
UNSUITABLE = {
    "too old": (disguise("3.10"), "it is Python 3.10"),
    "too new": (disguise("3.14"), "it is Python 3.14"),
    "without venv": ("sys.modules['ensurepip'] = None", VENV_MISSING),
    "PyPy": ("sys.implementation.name = 'pypy'", "it is another Python than the ordinary CPython"),
    "free-threaded": (
        "import sysconfig; sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1",
        "it is another Python than the ordinary CPython",
    ),
    "32 bits": ("sys.maxsize = 2**31 - 1", "it is a Python of 32 bits"),
    "broken": ("sys.exit(1)", "it does not run"),
}


@pytest.mark.parametrize("case", UNSUITABLE)
def test_an_unsuitable_pixio_python_is_named_with_what_is_needed(shell, case):
    statements, said = UNSUITABLE[case]
    python = shell.python("mine", statements)
    for value in ("mine", str(python)):
        refused = shell.run("choose_python", PIXIO_PYTHON=value)
        assert (refused.returncode, refused.stderr) == (1, f"error: PIXIO_PYTHON={value}: {said}; {NEEDED}\n")


def test_a_pixio_python_that_is_no_python_is_refused(shell):
    shell.program("old", "echo 'Python 2.7.18' >&2")
    shell.program("shim", "echo 'pyenv: shim: command not found' >&2; exit 127")
    (shell.folder / "text").write_text("no program")
    wrong = {
        "old": "it is Python 2.7.18",
        "shim": "it does not run: pyenv: shim: command not found",
        "ls": "it is no Python",
    }
    wrong |= dict.fromkeys(("nowhere", "/", str(shell.folder / "text"), "--help"), "there is no such program")
    for value, said in wrong.items():
        refused = shell.run("choose_python", PIXIO_PYTHON=value)
        assert (refused.returncode, refused.stderr) == (1, f"error: PIXIO_PYTHON={value}: {said}; {NEEDED}\n")


def test_pixio_python_is_a_name_or_a_path_from_the_callers_folder(shell):
    python = shell.python("mine")
    shell.python("python3")
    (shell.folder.parent / "elsewhere").mkdir()
    for value in ("mine", str(python), "../bin/mine"):
        chosen = shell.run(
            'choose_python; echo "$python_version"',
            PIXIO_PYTHON=value,
            OLDPWD=str(shell.folder.parent / "elsewhere"),
        )
        assert (chosen.stdout, chosen.stderr) == (f"{OWN}\n", "")


def test_without_pixio_python_the_first_suitable_one_is_taken(shell):
    shell.python("python3", disguise("3.10"))
    shell.python("python3.13", "sys.modules['ensurepip'] = None")
    code = 'choose_python && echo "$python_version" || unsuitable_pythons'
    assert shell.run(code).stdout == f"python3: it is Python 3.10; python3.13: {VENV_MISSING}\n"
    shell.python(f"../project/.pyenv/versions/{OTHER}.7/bin/python3", disguise(OTHER))
    shell.python("../project/.pyenv/versions/3.10.7/bin/python3", disguise("3.10"))
    assert shell.run(code).stdout == f"{OTHER}\n"
    shell.python("python3.11", disguise("3.11"))
    assert shell.run(code).stdout == "3.11\n"
    shell.python("python3")
    assert shell.run(code).stdout == f"{OWN}\n"


MADE = "choose_python; environment .venv; ls -A .venv"


def test_an_environment_that_serves_stays_whatever_python_comes_first(shell):
    shell.python("python3")
    assert shell.run(MADE).returncode == 0
    (shell.folder / ".venv" / "kept").touch()
    shell.python("python3", disguise(OTHER))
    again = shell.run(MADE)
    assert (again.returncode, again.stderr) == (0, "")
    assert "kept" in again.stdout and "anew" not in again.stdout


def test_an_environment_of_another_python_is_made_anew(shell):
    shell.python("python3")
    shell.run(MADE)
    (shell.folder / ".venv" / "old").touch()
    other = shell.python("other", disguise(OTHER))
    made = shell.run(MADE, PIXIO_PYTHON=str(other))
    assert made.returncode == 0 and "old" not in made.stdout.split(), made.stderr
    assert f".venv is made anew with Python {OTHER}: it has Python {OWN}\n" in made.stdout


def test_an_environment_whose_python_is_gone_is_made_anew(shell):
    python = shell.python("python3")
    shell.run(MADE)
    inside = shell.folder / ".venv" / "bin" / "python"
    inside.unlink()
    inside.symlink_to("/gone/python3")
    made = shell.run(MADE)
    assert made.returncode == 0 and (inside.exists() and python.exists())
    assert f".venv is made anew with Python {OWN}: its Python, /gone/python3, does not run\n" in made.stdout


def test_an_environment_of_a_folder_that_was_moved_is_made_anew(shell):
    shell.python("python3")
    shell.run(MADE)
    (shell.folder / ".venv" / "bin" / "pip").write_text("#!/elsewhere/.venv/bin/python\n")
    assert "its folder was moved" in shell.run(MADE).stdout


def test_an_environment_that_setup_did_not_make_is_never_removed(shell):
    shell.python("python3", disguise(OTHER))
    mine = shell.folder / ".venv"
    for make in (mine.mkdir, lambda: mine.symlink_to(shell.folder.parent)):
        make()
        refused = shell.run(MADE)
        assert refused.returncode == 1 and mine.exists()
        assert (
            "scripts/setup has not made it and leaves it alone: move it away and run this again"
            in refused.stderr
        )
        mine.rmdir() if not mine.is_symlink() else mine.unlink()


def test_libtorch_is_that_of_the_python_in_use(shell):
    for version in ("3.11", "3.12", "3.13"):
        (shell.folder / f".venv/lib/python{version}/site-packages/torch/lib").mkdir(parents=True)
    for version in ("3.12", "3.13", "3.11"):
        assert shell.run(f"python_version={version}; link_libtorch").returncode == 0
        assert (shell.folder / ".libtorch").readlink() == Path(
            f".venv/lib/python{version}/site-packages/torch"
        )
    assert "has no libtorch" in shell.run("python_version=3.14; link_libtorch").stderr
