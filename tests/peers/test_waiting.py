"""Tests wait in one way: tests/peers/waiting.py has the only bounds on time, and they end tests that hang."""

import ast
from pathlib import Path

import pytest
from waiting import repeat, until

FILES = sorted(Path(__file__).parent.glob("*.py"))
# A helper of the benchmarks, which measure time; and this file.
EXEMPT = ("ends", "test_waiting")
BOUNDS = {"timeout", "timeout_sec", "timeout_secs", "patience_secs"}


def bounds(tree: ast.AST) -> list[int]:
    """Lines in which a call is given a number as its bound."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        word.value.lineno
        for call in calls
        for word in call.keywords
        if word.arg in BOUNDS and isinstance(word.value, ast.Constant) and word.value.value is not None
    ]


def test_no_wait_has_a_bound_of_its_own():
    found = {
        file.name: bounds(ast.parse(file.read_text())) for file in FILES if not file.name.startswith(EXEMPT)
    }
    assert not {name: lines for name, lines in found.items() if lines}, (
        "wait with waiting.until, PATIENCE_SECS or LONG_SECS"
    )


def test_the_check_sees_a_bound():
    assert bounds(ast.parse("run(a,\n  timeout=10)\nrun(b, timeout=LONG_SECS)")) == [2]


def test_a_wait_ends_with_its_event_and_repeats_its_action_until_then():
    acted = []
    assert repeat(lambda: acted.append(1), lambda: len(acted) == 3 and "three", "", every_secs=0) == "three"
    assert until(lambda: acted, "nothing") == [1, 1, 1]


def test_a_wait_for_nothing_ends_with_what_was_waited_for_and_the_log_of_that_moment():
    log = ["first"]
    with pytest.raises(AssertionError, match=r"(?s)a miracle\nfirst, last"):
        repeat(
            lambda: log.append("last"), lambda: None, "a miracle", log=lambda: ", ".join(log), patience_secs=0
        )


def test_patience_begins_anew_with_progress():
    looks = []
    assert until(lambda: len(looks) > 5, "", progress=lambda: looks.append(1) or len(looks), patience_secs=0)
