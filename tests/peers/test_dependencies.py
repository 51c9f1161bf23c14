"""The licences and sources of all crates are those that deny.toml allows."""

import json
import re
import subprocess
import tomllib

import pytest
from node_process import ROOT
from waiting import LONG_SECS

RULES = tomllib.loads((ROOT / "deny.toml").read_text())


@pytest.fixture(scope="module")
def packages() -> list[dict]:
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG_SECS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["packages"]


def is_allowed(licence: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met with these licences."""
    words = re.sub(r"/| OR ", " or ", licence).replace(" AND ", " and ")
    names = re.split(r" or | and |[()]", words)
    for name in sorted({name.strip() for name in names} - {""}, key=len, reverse=True):
        words = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", str(name in allowed), words)
    return eval(words, {"__builtins__": {}})  # Words of True, False, and, or and parentheses only.


@pytest.mark.parametrize(
    ("licence", "expect"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT/Apache-2.0", True),
        ("GPL-3.0-only OR MIT", True),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", False),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", False),
    ],
)
def test_an_expression_needs_what_it_says(licence, expect):
    assert is_allowed(licence, {"MIT", "Apache-2.0"}) == expect


def test_every_licence_is_allowed(packages):
    allowed = set(RULES["licenses"]["allow"])
    refused = {
        package["name"]: package["license"]
        for package in packages
        if not is_allowed(package["license"] or "none", allowed)
    }
    assert len(packages) > 200 and not refused


def test_every_crate_is_of_the_registry_or_of_this_project(packages):
    registries = RULES["sources"]["allow-registry"]
    others = {
        package["name"]
        for package in packages
        if package["source"] and package["source"].removeprefix("registry+") not in registries
    }
    own = {package["name"] for package in packages if not package["source"]}
    assert not others and own == {"pixio_node", "ros2-client", "rustdds"}


def test_no_banned_crate_and_no_requirement_of_any_version(packages):
    banned = {entry["crate"] for entry in RULES["bans"]["deny"]}
    assert not banned & {package["name"] for package in packages}
    own = next(package for package in packages if package["name"] == "pixio_node")
    assert not [needed["name"] for needed in own["dependencies"] if needed["req"] == "*"]
