"""The project's pages in Markdown: their headings, links, blocks of code and commands."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from node_process import ROOT

FOLDERS = ("models", "examples")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    + [page for folder in FOLDERS for page in (ROOT / folder).rglob("README.md")]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# What parts simple commands, and words of the shell that stand before one.
SEPARATORS = {"&&", "||", "|", ";", "&"}
KEYWORDS = {"do", "then", "else"}
ASSIGNMENT = re.compile(r"\w+=")


def blocks(page: Path, language: str) -> list[str]:
    return [body for tag, body in FENCE.findall(page.read_text()) if tag == language]


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    return LINK.findall(re.sub(r"`[^`]*`", "", prose(page)))


def anchors(page: Path) -> list[str]:
    """The anchor of every heading, as GitHub names it."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", LINK.sub("", heading).lower()).replace(" ", "-") for heading in headings]


def inline_code(page: Path) -> list[str]:
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]


def shell_scripts(page: Path) -> list[str]:
    """The blocks in bash, and the commands at the head of sample outputs."""
    typed = []
    for output in blocks(page, ""):
        typed += re.findall(r"^\$ ((?:.*\\\n)*.*)$", output, re.MULTILINE)
    return blocks(page, "bash") + typed


@dataclass(frozen=True)
class Command:
    """One simple command of a script."""

    words: tuple[str, ...]

    @property
    def options(self) -> list[str]:
        return [word.split("=")[0] for word in self.words[1:] if word.startswith("--") and word != "--"]

    @property
    def assigned(self) -> list[str]:
        """NAME of every NAME:=VALUE."""
        return [word.split(":=")[0] for word in self.words[1:] if ":=" in word]


def commands(script: str) -> list[Command]:
    found: list[Command] = []
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in SEPARATORS:
                words.append(word)
                continue
            while words and (words[0] in KEYWORDS or ASSIGNMENT.match(words[0])):
                words.pop(0)
            if words and words[0] not in ("for", "done", "if", "fi"):
                found.append(Command(tuple(words)))
            words = []
    return found
