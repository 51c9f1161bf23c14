"""The folder with the patched crates, which keeps a copy of the patches that it was made of.

By the copy it is known which edits were made in the folder since, whatever has become of patches/; and
build.rs sees whether the folder is up to date by comparing the two.
"""

import shutil
from pathlib import Path

from crate_patches.errors import Refused, listed
from crate_patches.patches import CRATES, PARTS, Patches, Tree, prune, published, read_tree

SOURCE = Path("patches")
MADE = Path("made-by-scripts-setup")
# Filled beside and then renamed: an interrupted run leaves the folder as it was, or none.
NEXT, LAST = (Path(f"{MADE}.{name}") for name in ("next", "last"))


def update(discard: bool) -> str:
    """Brings the folder in line with patches/ and says what was done, if anything."""
    _remove(NEXT, LAST)
    # Git leaves a folder without files where a subject was.
    for crate in CRATES:
        for subject in (SOURCE / crate).glob("*/"):
            prune(subject)
    patches = Patches(SOURCE)
    if MADE.exists() and not discard:
        unrecorded, fits = _unrecorded(), patches.same(_applied())
        if fits:
            return _note(unrecorded) if unrecorded else ""
        if unrecorded:
            raise Refused(f"{_note(unrecorded)}, and patches/ has changed: {_WAYS}")
    _make(patches)
    return f"{MADE}: {', '.join(CRATES)} as patches/ has them"


def check() -> None:
    """Refuses a folder that is not what patches/ says."""
    if not MADE.exists():
        raise Refused(f"there is no {MADE}: run scripts/setup")
    if not Patches(SOURCE).same(_applied()):
        raise Refused(f"{MADE} is not up to date with patches/: run scripts/setup")
    if unrecorded := _unrecorded():
        raise Refused(f"{_note(unrecorded)}: {_WAYS}")


def record(crate: str, subject: str) -> str:
    """Writes what was edited in the folder to the patches of a subject, and says which files they are."""
    patches, applied = Patches(SOURCE), _applied()
    if patches.subjects[crate].get(subject) != applied.subjects[crate].get(subject):
        raise Refused(
            f"patches/{crate}/{subject} has changed since it was applied: record the edits under "
            "another name, "
            "or drop them with --discard"
        )
    files = applied.record(
        crate, subject, published(applied.folder / "Cargo.toml")[crate], read_tree(MADE / crate)
    )
    if files == applied.subjects[crate].get(subject, {}):
        return f"patches/{crate}/{subject} has it all already"
    patches.write_subject(crate, subject, files)
    applied.write_subject(crate, subject, files)
    return f"patches/{crate}/{subject}: {', '.join(sorted(files)) or 'removed'}"


_WAYS = "scripts/patch-crates --record CRATE SUBJECT keeps them, --discard drops them"


def _note(unrecorded: list[str]) -> str:
    return f"{MADE} has edits that are not recorded ({listed(unrecorded)})"


def _applied() -> Patches:
    """The patches of which the folder was made."""
    folder = MADE / SOURCE
    if not all((folder / part).is_file() for part in PARTS if part not in CRATES):
        raise Refused(f"{MADE} was not made by scripts/patch-crates: move it away, or --discard it")
    return Patches(folder)


def _unrecorded() -> list[str]:
    """Files of the folder that are not what was made."""
    applied, originals = _applied(), published(MADE / SOURCE / "Cargo.toml")
    found = []
    for crate in CRATES:
        made, now = applied.apply(crate, originals[crate]), read_tree(MADE / crate)
        found += [
            f"{crate}/{path}" for path in sorted(made.keys() | now.keys()) if made.get(path) != now.get(path)
        ]
    return found


def _make(patches: Patches) -> None:
    originals = published(SOURCE / "Cargo.toml")
    for crate in CRATES:
        _fill(crate, patches.apply(crate, originals[crate]))
    _fill(str(SOURCE), {part: (SOURCE / part).read_bytes() for part in PARTS if part not in CRATES})
    for crate in CRATES:
        for subject, files in patches.subjects[crate].items():
            _fill(f"{SOURCE}/{crate}/{subject}", files)
    if MADE.exists():
        MADE.rename(LAST)
    NEXT.rename(MADE)
    _remove(LAST)


def _fill(below: str, tree: Tree) -> None:
    """Writes files for the new folder. Cargo builds by time, so a file whose content stays keeps its own."""
    for path, data in tree.items():
        old, new = MADE / below / path, NEXT / below / path
        new.parent.mkdir(parents=True, exist_ok=True)
        if old.is_file() and old.read_bytes() == data:
            shutil.copy2(old, new)
        else:
            new.write_bytes(data)


def _remove(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)
