"""Edits of one file in RCS format, as `diff -n` prints it, and how the edits of several subjects apply
together.

Every position is one of the original file, so that no subject depends on what another changes, and no line of
the original is held. A first line `sha256 HEX` names the original.
"""

import hashlib
import re
from dataclasses import dataclass

from crate_patches.errors import Refused

HEADER = re.compile(rb"sha256 ([0-9a-f]{64})\n?")
COMMAND = re.compile(rb"([ad])(\d+) ([1-9]\d*)\n?")


@dataclass(frozen=True)
class Deletion:
    """Lines [start, end) of the original, counted from 0, go."""

    start: int
    end: int

    @property
    def order(self) -> tuple[int, int]:
        return self.start, 1

    def text(self) -> bytes:
        return b"d%d %d\n" % (self.start + 1, self.end - self.start)


@dataclass(frozen=True)
class Insertion:
    """`lines` come before line `gap` of the original, counted from 0, or at its end."""

    gap: int
    lines: tuple[bytes, ...]

    @property
    def order(self) -> tuple[int, int]:
        return self.gap, 0

    def text(self) -> bytes:
        return b"a%d %d\n" % (self.gap, len(self.lines)) + b"".join(self.lines)


Edit = Deletion | Insertion


@dataclass(frozen=True)
class Line:
    """A line of a patched file: `origin` is its number in the original, counted from 0, or the subject that
    inserts it."""

    origin: int | str
    text: bytes


def lines_of(data: bytes) -> list[bytes]:
    """Lines with their ends. The last one may lack its end."""
    return re.findall(rb"[^\n]*\n|[^\n]+", data)


def parse(name: str, data: bytes, original: bytes) -> list[Edit]:
    """The edits in the file `name`, which are for this original alone."""
    header, *rest = lines_of(data) or [b""]
    guard = HEADER.fullmatch(header)
    if not guard:
        raise Refused(f"{name}: the first line is not `sha256` and the checksum of the original file")
    if guard[1].decode() != hashlib.sha256(original).hexdigest():
        raise Refused(f"{name} is for another version of the published file: its checksum differs")
    edits, n_lines, at, least = [], len(lines_of(original)), 0, (0, 0)
    while at < len(rest):
        command = COMMAND.fullmatch(rest[at])
        edit, taken = _edit(command, rest[at + 1 :]) if command else (None, 0)
        if edit is None or edit.order < least or n_lines < _end(edit):
            raise Refused(
                f"{name}: line {at + 2} is no edit of the original in the order and format of `diff -n`"
            )
        edits.append(edit)
        # Behind a deletion comes what takes its place; behind an insertion, what follows the gap.
        least = (_end(edit), 0 if isinstance(edit, Deletion) else 1)
        at += 1 + taken
    return edits


def _edit(command: re.Match, following: list[bytes]) -> tuple[Edit | None, int]:
    """What a command says, and how many of the following lines belong to it."""
    number, count = int(command[2]), int(command[3])
    if command[1] == b"d":
        return (Deletion(number - 1, number - 1 + count) if number else None), 0
    return (Insertion(number, tuple(following[:count])) if count <= len(following) else None), count


def _end(edit: Edit) -> int:
    return edit.end if isinstance(edit, Deletion) else edit.gap


def text(edits: list[Edit], original: bytes) -> bytes:
    """What `parse` reads."""
    header = b"sha256 %s\n" % hashlib.sha256(original).hexdigest().encode()
    return header + b"".join(edit.text() for edit in sorted(edits, key=lambda edit: edit.order))


class Claims:
    """Which subject deletes a line of the original, and which inserts at a gap."""

    def __init__(self):
        self.deleted: dict[int, tuple[str, Deletion]] = {}
        self.inserted: dict[int, tuple[str, Insertion]] = {}

    def clash(self, edit: Edit) -> tuple[str, int] | None:
        """The subject that changes the same place already, and the line of the original, counted from 1."""
        if isinstance(edit, Deletion):
            lines = (
                (self.deleted[line][0], line + 1)
                for line in range(edit.start, edit.end)
                if line in self.deleted
            )
            gaps = (
                (self.inserted[gap][0], gap)
                for gap in range(edit.start + 1, edit.end)
                if gap in self.inserted
            )
            return next(lines, None) or next(gaps, None)
        if edit.gap in self.inserted:
            return self.inserted[edit.gap][0], edit.gap
        before, behind = self.deleted.get(edit.gap - 1), self.deleted.get(edit.gap)
        return (before[0], edit.gap) if before and before == behind else None

    def add(self, subject: str, edit: Edit) -> None:
        if isinstance(edit, Deletion):
            self.deleted |= dict.fromkeys(range(edit.start, edit.end), (subject, edit))
        else:
            self.inserted[edit.gap] = (subject, edit)


def claims(path: str, edits: dict[str, list[Edit]]) -> Claims:
    """All edits of one file by subject, in whatever order; two subjects at one place are refused."""
    found = Claims()
    for subject, own in edits.items():
        for edit in own:
            if clash := found.clash(edit):
                raise Refused(
                    f"{path}: subjects {clash[0]} and {subject} both change line {clash[1]} of the "
                    "published file: "
                    "make one of them, or move one edit"
                )
            found.add(subject, edit)
    return found


def applied(original: bytes, claimed: Claims) -> list[Line]:
    """The patched file."""
    found, own = [], lines_of(original)
    for number in range(len(own) + 1):
        if number in claimed.inserted:
            subject, insertion = claimed.inserted[number]
            found += [Line(subject, line) for line in insertion.lines]
        if number < len(own) and number not in claimed.deleted:
            found.append(Line(number, own[number]))
    return found
