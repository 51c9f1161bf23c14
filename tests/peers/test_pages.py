"""README, docs/ and their neighbours: links lead somewhere, commands and paths exist, and the README stays a
page."""

import itertools
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from node_process import BINARY, ROOT, environment
from pages import PAGES, Command, anchors, blocks, commands, inline_code, links, shell_scripts
from programs import command as own_command
from rig import OWN_NAMES
from waiting import PATIENCE_SECS

TOPICS = ROOT / "docs" / "topics.md"
# Programs of other projects.
FOREIGN = {".", "cargo", "cd", "colcon", "cp", "export", "git", "hf", "ros2", "rosdep", "sudo"}
SUBCOMMANDS = ("run", "live", "infer", "build", "check", "bench")
# Folders of this repository: inline code that begins so is the path of something in it.
FOLDERS = (
    "src/",
    "tests/",
    "python/",
    "bench/",
    "examples/",
    "patches/",
    "data/",
    "scripts/",
    "docs/",
    "config/",
    "launch/",
    "msg/",
    "srv/",
    "models/",
    ".ci/",
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def parameters() -> set[str]:
    documented = yaml.safe_load((ROOT / "config" / "pixio.yaml").read_text())["/**"]["ros__parameters"]
    return {*documented, "model"}


@cache
def own_programs() -> dict[str, str]:
    """The module in pixio_train.commands of every program that python/pyproject.toml declares."""
    declared = tomllib.loads((ROOT / "python" / "pyproject.toml").read_text())["project"]["scripts"]
    return {name: entry.partition(":")[0].split(".")[-1] for name, entry in declared.items()}


@cache
def own_help(name: str) -> str:
    asked = own_command(own_programs()[name], "--help")
    return subprocess.run(asked, check=True, capture_output=True, text=True, timeout=PATIENCE_SECS).stdout


@cache
def usage(subcommand: str) -> str:
    asked = [BINARY, *([subcommand] if subcommand != "run" else []), "--help"]
    return subprocess.run(
        asked, check=True, capture_output=True, text=True, timeout=PATIENCE_SECS, env=environment()
    ).stdout


def text_of(*patterns: str) -> str:
    return "\n".join(path.read_text() for pattern in patterns for path in sorted(ROOT.glob(pattern)))


def check_options(command: Command, known: str):
    for option in command.options:
        assert re.search(rf"{re.escape(option)}\b", known), f"{option} of {command.words[0]}"


def check_parameters(words: tuple[str, ...]):
    """What follows a -p."""
    for flag, assignment in itertools.pairwise(words):
        if flag == "-p":
            name = assignment.split(":=")[0].split(".")[-1]
            assert name in parameters(), assignment


def check_launch(file: str, command: Command):
    assert (ROOT / "launch" / file).is_file(), file
    known = text_of("launch/*.py")
    for name in command.assigned:
        assert f'"{name}"' in known, f"{name} of {file}"


def check_ros2(command: Command):
    match command.words[1:]:
        case ("launch", "pixio_node", file, *_):
            check_launch(file, command)
        case ("run", package, _, *_) if (ROOT / "examples" / package / "package.xml").is_file():
            pass
        case ("run", "pixio_node", program, *rest):
            assert program == "pixio_node"
            check_parameters(tuple(rest))
        case ("param", "set", "/pixio_node", name, *_):
            assert name in parameters(), name


def check_command(command: Command):
    """The command is a program of this repository with such options, or one of another project."""
    program, *rest = command.words
    match Path(program).name, rest:
        case "pixio_node", _:
            subcommand = rest[0] if rest and rest[0] in SUBCOMMANDS else "run"
            own = Command(
                command.words[: command.words.index("--ros-args")] if "--ros-args" in rest else command.words
            )
            check_options(own, usage(subcommand))
            check_parameters(command.words)
        case _, [script, *_] if program in (".venv/bin/python", "python3"):
            assert (ROOT / script).is_file(), script
            check_options(command, (ROOT / script).read_text() + "--help")
        case name, _ if program == f".venv/bin/{name}":
            assert name in own_programs(), f"{name} is no program of python/pyproject.toml"
            check_options(command, own_help(name))
        case "bench-gpu", _:
            check_options(command, text_of("scripts/bench-gpu", "bench/gpu/*.py"))
        case _ if program.startswith(("scripts/", "pixio_node/scripts/", ".ci/")):
            script = ROOT / program.removeprefix("pixio_node/")
            assert script.is_file() and script.stat().st_mode & 0o100, program
            check_options(command, script.read_text())
        case "ros2", _:
            check_ros2(command)
        case "colcon", _:
            for define in re.findall(r"-D(\w+)=", " ".join(rest)):
                assert define in (ROOT / "CMakeLists.txt").read_text(), define
        case _:
            assert program in FOREIGN, f"{program} is no program of this repository"


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@each_page
def test_links_lead_to_a_file_and_a_heading(page):
    for link in links(page):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if anchor:
            assert anchors(target).count(anchor) == 1, link


@each_page
def test_commands_exist(page):
    for script in shell_scripts(page):
        parsed = subprocess.run(
            ["bash", "-n"], input=script, capture_output=True, text=True, timeout=PATIENCE_SECS
        )
        assert parsed.returncode == 0, f"{script}\n{parsed.stderr}"
        for command in commands(script):
            try:
                check_command(command)
            except AssertionError as err:
                raise AssertionError(f"{' '.join(command.words)}: {err}") from None


@each_page
def test_paths_of_the_repository_exist(page):
    for code in inline_code(page):
        if code.startswith(FOLDERS) and re.fullmatch(r"[\w./-]+", code):
            assert (ROOT / code).exists(), code


def test_named_items_of_the_crate_exist():
    source = text_of("src/*.rs", "src/**/*.rs")
    for page in (ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"):
        for code in inline_code(page):
            if re.fullmatch(r"\w+(::\w+)+", code):
                name = code.split("::")[-1]
                declared = rf"\b(fn|struct|enum|trait|mod|const|static|type) {name}\b"
                assert re.search(declared, source) or (ROOT / "src" / code.replace("::", "/")).exists(), code


def test_the_index_and_the_readme_name_every_page():
    for listing in (ROOT / "docs" / "README.md", ROOT / "README.md"):
        named = {
            (listing.parent / link.partition("#")[0]).resolve()
            for link in links(listing)
            if "://" not in link
        }
        missing = (
            {page for page in PAGES if page.parent in (ROOT, ROOT / "docs")}
            - named
            - {ROOT / "README.md", listing}
        )
        assert not missing, (listing, missing)


def test_every_topic_and_service_is_documented():
    listed = re.findall(r"^\| `~/([\w/]+)` \|", TOPICS.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(OWN_NAMES)


def test_every_encoding_is_documented():
    parsed = (
        (ROOT / "src" / "stages" / "fit" / "encoding.rs")
        .read_text()
        .partition("fn parse")[2]
        .partition("_ =>")[0]
    )
    page = (ROOT / "docs" / "cameras.md").read_text().partition("## Encodings")[2].partition("##")[0]
    page = re.sub(
        r"bayer_{([^}]*)}8", lambda found: " ".join(f"bayer_{one}8" for one in found[1].split(",")), page
    )
    names = re.findall(r'"(\w+)"', parsed)
    assert names and all(re.search(rf"\b{name}\b", page) for name in names), [
        name for name in names if name not in page
    ]


# page, what is in it, part of what is wrong with it
MISTAKES = [
    ("[a](docs/nothing.md)", test_links_lead_to_a_file_and_a_heading, "nothing.md"),
    ("[a](README.md#nothing)", test_links_lead_to_a_file_and_a_heading, "#nothing"),
    ("```bash\nscripts/nothing\n```\n", test_commands_exist, "scripts/nothing"),
    ("```bash\nscripts/setup --nothing\n```\n", test_commands_exist, "--nothing"),
    ("```bash\ntarget/release/pixio_node infer --nothing\n```\n", test_commands_exist, "--nothing"),
    (
        "```bash\nros2 run pixio_node pixio_node --ros-args -p nothing:=1\n```\n",
        test_commands_exist,
        "nothing",
    ),
    ("```bash\nros2 launch pixio_node pixio.launch.py nothing:=1\n```\n", test_commands_exist, "nothing"),
    ("```bash\n.venv/bin/python examples/nothing.py\n```\n", test_commands_exist, "examples/nothing.py"),
    ("```bash\n.venv/bin/pixio-nothing\n```\n", test_commands_exist, "pixio-nothing"),
    ("```bash\n.venv/bin/pixio-train-head --nothing\n```\n", test_commands_exist, "--nothing"),
    ("```bash\nif true; then\n```\n", test_commands_exist, "syntax error"),
    ("```\n$ scripts/nothing\nsome output\n```\n", test_commands_exist, "scripts/nothing"),
    ("`src/nothing.rs`", test_paths_of_the_repository_exist, "src/nothing.rs"),
]


@pytest.mark.parametrize(("text", "test", "says"), MISTAKES, ids=[says for _, _, says in MISTAKES])
def test_a_mistake_is_found(tmp_path, text, test, says):
    page = tmp_path / "page.md"
    page.write_text(text)
    (tmp_path / "README.md").write_text("# Something else\n")
    with pytest.raises(AssertionError, match=re.escape(says)):
        test(page)


def test_blocks_of_code_have_languages_that_are_checked():
    for page in PAGES:
        tags = set(re.findall(r"^```(\w+)$", page.read_text(), re.MULTILINE))
        assert tags <= {"bash", "python", "yaml"}, (page, tags)
        assert len(re.findall(r"^```", page.read_text(), re.MULTILINE)) == 2 * sum(
            len(blocks(page, tag)) for tag in {*tags, ""}
        ), page
