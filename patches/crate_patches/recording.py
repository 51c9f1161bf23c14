"""From a file as a developer has left it to the edits of one subject, beside those of the others."""

import difflib
from collections.abc import Iterator

from crate_patches.edits import Claims, Deletion, Edit, Insertion, Line, lines_of
from crate_patches.errors import Refused


def recorded(path: str, base: list[Line], others: Claims, subject: str, wanted: bytes) -> list[Edit]:
    """What `subject` has to change so that `base`, the file with the edits of all others, becomes `wanted`.

    The edits are added to the claims of the others.
    """
    before, after = [line.text for line in base], lines_of(wanted)
    # Without its guess of what is noise: the lines that Rust has most, such as a lone brace, must match as
    # well.
    compared = difflib.SequenceMatcher(None, before, after, autojunk=False)
    found: list[Edit] = []
    for kind, start, end, first, last in compared.get_opcodes():
        if kind == "equal":
            continue
        for line in base[start:end]:
            if isinstance(line.origin, str):
                raise _touches(path, first, subject, line.origin)
        edits: list[Edit] = list(_deletions([line.origin for line in base[start:end]]))
        if first < last:
            edits.append(_insertion(path, base, others, subject, (start, end), (after, first, last)))
        for edit in edits:
            others.add(subject, edit)
        found += edits
    return found


def _touches(path: str, line: int, subject: str, other: str) -> Refused:
    return Refused(
        f"{path}: line {line + 1} changes what subject {other} has inserted, so it cannot be recorded as "
        f"{subject}: record it as {other}, or move the edit"
    )


def _deletions(lines: list[int]) -> list[Deletion]:
    """Lines of the original as ranges, between which another subject may delete."""
    found: list[Deletion] = []
    for line in lines:
        start = found.pop().start if found and found[-1].end == line else line
        found.append(Deletion(start, line + 1))
    return found


def _insertion(
    path: str,
    base: list[Line],
    others: Claims,
    subject: str,
    replaced: tuple[int, int],
    added: tuple[list[bytes], int, int],
) -> Insertion:
    """Lines that take the place of base[start:end], at a gap of the original that no other subject has
    taken."""
    after, first, last = added
    for at, lines in _alignments(base, replaced, after[first:last]):
        for gap in _gaps(base, at):
            insertion = Insertion(gap, tuple(lines))
            if not others.clash(insertion):
                return insertion
    start, end = replaced
    neighbours = [line.origin for line in base[max(start - 1, 0) : end + 1] if isinstance(line.origin, str)]
    raise _touches(path, first, subject, neighbours[0] if neighbours else "another")


def _alignments(
    base: list[Line], replaced: tuple[int, int], lines: list[bytes]
) -> Iterator[tuple[tuple[int, int], list[bytes]]]:
    """The same change at every place where it reads the same: a block that is repeated can be the first or
    the second."""
    start, end = replaced
    yield replaced, lines
    if start < end:
        return
    at, moved = start, lines
    while 0 < at and base[at - 1].text == moved[-1]:
        at, moved = at - 1, [moved[-1], *moved[:-1]]
        yield (at, at), moved
    at, moved = start, lines
    while at < len(base) and base[at].text == moved[0]:
        at, moved = at + 1, [*moved[1:], moved[0]]
        yield (at, at), moved


def _gaps(base: list[Line], replaced: tuple[int, int]) -> Iterator[int]:
    """Gaps of the original at which an insertion comes out there, the usual one first."""
    start, end = replaced
    if start < end:
        yield base[end - 1].origin + 1
        yield base[start].origin
        return
    if start == 0:
        yield 0
    elif isinstance(base[start - 1].origin, int):
        yield base[start - 1].origin + 1
    if start < len(base) and isinstance(base[start].origin, int):
        yield base[start].origin
