"""A folder of patches: by crate and subject, new files whole and edits of published files as NAME.edits."""

import json
import re
import subprocess
from pathlib import Path

from crate_patches import edits
from crate_patches.edits import Claims
from crate_patches.errors import Refused, listed
from crate_patches.recording import recorded

CRATES = ("rustdds", "ros2-client")
# What decides the patched crates. build.rs and CMakeLists.txt compare the same.
PARTS = ("Cargo.toml", "Cargo.lock", *CRATES)
SUFFIX = ".edits"
# Cargo's own, where a published crate is tested in the folder.
NOT_OURS = {"target", "Cargo.lock"}

# Contents by path.
Tree = dict[str, bytes]


def read_tree(folder: Path) -> Tree:
    """Every file below a folder, except what cargo writes at its top."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    named = ((file.relative_to(folder), file) for file in files)
    return {path.as_posix(): file.read_bytes() for path, file in named if path.parts[0] not in NOT_OURS}


def published(manifest: Path) -> dict[str, Tree]:
    """The crates as published, which cargo fetches and checks against the lock beside the manifest."""
    asked = ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", str(manifest)]
    answer = subprocess.run(asked, stdout=subprocess.PIPE, check=False)
    if answer.returncode:
        raise Refused(f"cargo could not fetch what {manifest} names (its message stands above)")
    folders = {
        package["name"]: Path(package["manifest_path"]).parent
        for package in json.loads(answer.stdout)["packages"]
    }
    trees = {crate: read_tree(folders[crate]) for crate in CRATES}
    # Cargo's note that it has unpacked the whole crate.
    return {
        crate: {path: data for path, data in tree.items() if path != ".cargo-ok"}
        for crate, tree in trees.items()
    }


class Patches:
    """The files of every subject, as they lie in its folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.subjects: dict[str, dict[str, Tree]] = {crate: {} for crate in CRATES}
        for crate in CRATES:
            subjects = sorted((folder / crate).iterdir()) if (folder / crate).is_dir() else []
            for subject in subjects:
                if not subject.is_dir():
                    raise Refused(f"{subject} is no folder of a subject")
                self.subjects[crate][subject.name] = read_tree(subject)

    def same(self, other: "Patches") -> bool:
        """Whether both make the same crates."""
        own, others = (
            [(patches.folder / part).read_bytes() for part in PARTS if part not in CRATES]
            for patches in (self, other)
        )
        return own == others and self.subjects == other.subjects

    def apply(self, crate: str, original: Tree) -> Tree:
        """The patched crate."""
        tree = dict(original)
        for path, claimed in self._claims(crate, self.subjects[crate], original).items():
            tree[path] = b"".join(line.text for line in edits.applied(original[path], claimed))
        makers: dict[str, str] = {}
        for subject, files in self.subjects[crate].items():
            for path, data in files.items():
                if path.endswith(SUFFIX):
                    continue
                if path in original or path in makers:
                    owner = makers.get(path, "the published crate")
                    raise Refused(f"{self.folder}/{crate}/{subject}/{path}: {owner} has that file too")
                makers[path], tree[path] = subject, data
        return tree

    def record(self, crate: str, subject: str, original: Tree, wanted: Tree) -> Tree:
        """The files of a subject that, with those of all others, makes the crate `wanted`."""
        others = {name: files for name, files in self.subjects[crate].items() if name != subject}
        base = self.with_subject(crate, subject, {})
        before = base.apply(crate, original)
        if gone := sorted(before.keys() - wanted.keys()):
            raise Refused(
                f"{crate}: {listed(gone)} is missing, and a patch deletes no file: --discard brings it back"
            )
        claimed, found = self._claims(crate, others, original), {}
        for path, data in wanted.items():
            if path.endswith(SUFFIX):
                raise Refused(f"{crate}/{path}: a name ending in {SUFFIX} is for edits: rename it")
            if data == before.get(path):
                continue
            if path not in before:
                found[path] = data
            elif path not in original:
                owner = next(name for name, files in others.items() if path in files)
                raise Refused(f"{crate}/{path} belongs to subject {owner}: record it as {owner}")
            else:
                claims = claimed.get(path, Claims())
                lines = edits.applied(original[path], claims)
                own = recorded(f"{crate}/{path}", lines, claims, subject, data)
                found[path + SUFFIX] = edits.text(own, original[path])
        if self.with_subject(crate, subject, found).apply(crate, original) != wanted:
            raise Refused(
                f"{crate}: subject {subject} cannot be told from the others: move its edits apart from theirs"
            )
        return found

    def with_subject(self, crate: str, subject: str, files: Tree) -> "Patches":
        """The same with other files of one subject; none for a subject that is not there."""
        changed = object.__new__(Patches)
        changed.folder = self.folder
        changed.subjects = self.subjects | {crate: self.subjects[crate] | {subject: files}}
        return changed

    def write_subject(self, crate: str, subject: str, files: Tree) -> None:
        """Writes the files of one subject, and removes those that it no longer has."""
        folder = self.folder / crate / subject
        for path in self.subjects[crate].get(subject, {}).keys() - files.keys():
            (folder / path).unlink()
        for path, data in files.items():
            file = folder / path
            if not file.exists() or file.read_bytes() != data:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
        prune(folder)

    def _claims(self, crate: str, subjects: dict[str, Tree], original: Tree) -> dict[str, Claims]:
        """Who changes what of each published file that is edited."""
        by_path: dict[str, dict[str, list[edits.Edit]]] = {}
        for subject, files in subjects.items():
            for name, data in files.items():
                if not name.endswith(SUFFIX):
                    continue
                path, shown = name.removesuffix(SUFFIX), f"{self.folder}/{crate}/{subject}/{name}"
                if path not in original:
                    raise Refused(f"{shown}: the published crate has no {path}")
                by_path.setdefault(path, {})[subject] = edits.parse(shown, data, original[path])
        return {path: edits.claims(f"{crate}/{path}", found) for path, found in by_path.items()}


def check_names(crate: str, subject: str) -> None:
    """Refuses a crate that is not patched, and a subject that would not do as a folder."""
    if crate not in CRATES:
        raise Refused(f"{crate} is none of {', '.join(CRATES)}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", subject):
        raise Refused(f"{subject!r} is no name of a subject: small letters, digits and hyphens")


def prune(folder: Path) -> None:
    """Removes empty folders, this one included."""
    if folder.is_dir():
        for inner in folder.iterdir():
            prune(inner)
        if not any(folder.iterdir()):
            folder.rmdir()
