"""scripts/patch-crates: patches of published crates apply whatever their order, are recorded without loss,
and no edit is lost."""

import os
import random
import subprocess
import sys

import pytest
from node_process import ROOT
from waiting import LONG_SECS, PATIENCE_SECS

sys.path.append(str(ROOT / "patches"))
from crate_patches.errors import Refused
from crate_patches.patches import CRATES, PARTS, Patches
from patch_project import LIB, LINES, MADE, Project, edits


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


def test_edits_of_several_subjects_and_new_files_apply_together(project):
    project.patch("later", edits("a0 1", "first", "d11 2", "a12 1", "last"))
    project.patch("earlier", edits("d3 1", "a5 2", "five", "and a half"))
    project.patch("earlier", b"whole", "src/new/file.rs")
    project.do()
    expected = ["first", *LINES[:2], *LINES[3:5], "five", "and a half", *LINES[5:10], "last"]
    assert project.made().read_text().splitlines() == expected
    assert project.made("src/new/file.rs").read_bytes() == b"whole"
    assert project.made("src/other.rs").read_bytes() == b"other\n" and not project.made(".cargo-ok").exists()
    assert project.made(crate="ros2-client").read_bytes() == LIB
    assert project.do("--check") == "" == project.do()


def test_a_file_whose_content_stays_keeps_its_time(project):
    project.patch("one", edits("d1 1"))
    project.do()
    for file in (project.folder / MADE).rglob("*"):
        os.utime(file, ns=(10**9, 10**9))
    project.do()
    assert project.made().stat().st_mtime_ns == 10**9
    project.patch("two", edits("d12 1"))
    project.do()
    assert project.made().stat().st_mtime_ns != 10**9
    assert (
        project.made("src/other.rs").stat().st_mtime_ns
        == project.made(crate="ros2-client").stat().st_mtime_ns
        == 10**9
    )
    project.do("--discard")
    assert project.made("src/other.rs").stat().st_mtime_ns == 10**9


# edits of two subjects, the line at which they meet
CLASHES = {
    "the same line is deleted": (["d3 2"], ["d4 1"], 4),
    "insertions at one place": (["a3 1", "x"], ["a3 1", "y"], 3),
    "an insertion between deleted lines": (["d3 3"], ["a4 1", "y"], 4),
    "two replacements": (["d3 1", "a3 1", "x"], ["d3 1", "a3 1", "y"], 3),
}


@pytest.mark.parametrize("case", CLASHES)
def test_subjects_that_change_one_place_are_refused_by_name(project, case):
    one, other, line = CLASHES[case]
    for names in (("one", "other"), ("other", "one")):
        project.patch(names[0], edits(*one))
        project.patch(names[1], edits(*other))
        told = project.refused()
        assert (
            "rustdds/src/lib.rs" in told
            and "subjects one and other both change line" in told
            and f"line {line} of" in told
        )
        assert not (project.folder / MADE).exists()


def test_subjects_may_change_neighbouring_lines(project):
    project.patch("one", edits("a2 1", "before", "d4 1", "a4 1", "four"))
    project.patch("other", edits("d3 1", "a3 1", "three", "d5 1"))
    project.do()
    assert project.made().read_text().splitlines()[:6] == [
        "line 1",
        "line 2",
        "before",
        "three",
        "four",
        "line 6",
    ]


# a file of a subject, its content, what is said
FAULTS = {
    "another version": (
        "src/lib.rs.edits",
        edits("d1 1", of=b"older"),
        "another version of the published file",
    ),
    "no checksum": ("src/lib.rs.edits", b"d1 1\n", "the first line is not `sha256`"),
    "nothing": ("src/lib.rs.edits", b"", "the first line is not `sha256`"),
    "no command": ("src/lib.rs.edits", edits("d1 1", "text"), "line 3 is no edit"),
    "too few lines": ("src/lib.rs.edits", edits("a1 3", "text"), "line 2 is no edit"),
    "a count of none": ("src/lib.rs.edits", edits("a1 0"), "line 2 is no edit"),
    "beyond the end": ("src/lib.rs.edits", edits("d12 2"), "line 2 is no edit"),
    "before the first": ("src/lib.rs.edits", edits("d0 1"), "line 2 is no edit"),
    "out of order": ("src/lib.rs.edits", edits("d5 1", "d2 1"), "line 3 is no edit"),
    "twice at one place": ("src/lib.rs.edits", edits("a5 1", "x", "a5 1", "y"), "line 4 is no edit"),
    "edits of nothing": ("src/gone.rs.edits", edits("d1 1"), "the published crate has no src/gone.rs"),
    "a published file whole": ("src/lib.rs", b"mine", "the published crate has that file too"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_patch_that_does_not_fit_is_refused_by_its_file(project, case):
    path, data, said = FAULTS[case]
    project.patch("one", data, path)
    told = project.refused()
    assert f"patches/rustdds/one/{path}" in told and said in told
    assert not (project.folder / MADE).exists()


def test_one_new_file_has_one_subject(project):
    for subject in ("one", "other"):
        project.patch(subject, b"", "src/new.rs")
    assert "other/src/new.rs: one has that file too" in project.refused()


def test_what_is_recorded_applies_to_the_same(project):
    project.patch("other", edits("a0 1", "theirs", "d6 1", "a6 1", "theirs too"))
    project.patch("other", b"theirs", "src/theirs.rs")
    project.do()
    lines = project.made().read_text().splitlines()
    lines[3:5] = ["mine", "and mine"]
    # Without an end of its last line.
    project.made().write_text("\n".join([*lines, "last"]))
    project.made("src/deep").mkdir()
    project.made("src/deep/mine.rs").write_bytes(b"\x00\r\n\xff")
    assert "src/deep/mine.rs" in project.refused("--check")
    project.do("--record", "rustdds", "mine")
    assert project.do("--check") == ""
    assert (project.folder / "patches/rustdds/mine/src/lib.rs.edits").read_bytes() == edits(
        "d3 2", "a4 2", "mine", "and mine", "a12 1", "last"
    )[:-1]
    before = project.tree()
    (project.folder / MADE).rename(project.folder / "before")
    project.do()
    assert project.tree() == before
    assert "has it all already" in project.do("--record", "rustdds", "mine")


def test_what_is_taken_back_leaves_the_patches(project):
    project.patch("mine", edits("d3 1"))
    project.patch("mine", b"", "src/mine.rs")
    project.do()
    project.made().write_bytes(LIB)
    project.made("src/mine.rs").unlink()
    assert "removed" in project.do("--record", "rustdds", "mine")
    assert not (project.folder / "patches/rustdds/mine").exists() and project.do("--check") == ""


# what a developer does to the folder of which another subject has a share, what is said
UNRECORDABLE = {
    "a line of theirs": (
        lambda lib: lib.replace(b"theirs 2", b"mine"),
        "line 5 changes what subject other has inserted",
    ),
    "between theirs": (
        lambda lib: lib.replace(b"theirs 2", b"mine\ntheirs 2"),
        "line 5 changes what subject other has",
    ),
    "at theirs": (
        lambda lib: lib.replace(b"line 4\n", b"mine\nline 4\n"),
        "line 6 changes what subject other has inserted",
    ),
}


@pytest.mark.parametrize("case", UNRECORDABLE)
def test_an_edit_of_what_another_subject_inserts_is_refused_by_its_place(project, case):
    edit, said = UNRECORDABLE[case]
    project.patch("other", edits("a3 2", "theirs 1", "theirs 2"))
    project.do()
    edited = edit(project.made().read_bytes())
    project.made().write_bytes(edited)
    told = project.refused("--record", "rustdds", "mine")
    assert "rustdds/src/lib.rs: " in told and said in told
    assert not (project.folder / "patches/rustdds/mine").exists() and project.made().read_bytes() == edited
    project.do("--record", "rustdds", "other")
    assert project.do("--check") == ""


def test_files_of_others_and_missing_files_are_not_recorded(project):
    project.patch("other", b"theirs", "src/theirs.rs")
    project.do()
    project.made("src/theirs.rs").write_bytes(b"mine")
    assert "rustdds/src/theirs.rs belongs to subject other" in project.refused("--record", "rustdds", "mine")
    project.made("src/theirs.rs").write_bytes(b"theirs")
    project.made("src/other.rs").unlink()
    assert "src/other.rs is missing" in project.refused("--record", "rustdds", "mine")
    project.do("--discard")
    assert project.made("src/other.rs").read_bytes() == b"other\n"


@pytest.mark.parametrize("seed", range(8))
def test_random_edits_of_three_subjects_are_recorded_without_loss_or_refused(tmp_path, seed):
    draw = random.Random(seed)
    # Few different lines, so that what is the same is never clear.
    original = {"a.rs": "".join(draw.choice(["{", "}", "x", "y"]) + "\n" for _ in range(30)).encode()}
    patches, n_recorded = Patches(tmp_path), 0
    for _ in range(60):
        subject = draw.choice(["one", "two", "three"])
        before = patches.apply("rustdds", original)
        lines = before["a.rs"].splitlines(keepends=True)
        at = draw.randrange(len(lines) + 1)
        lines[at : at + draw.randrange(3)] = [
            draw.choice([b"{\n", b"}\n", b"mine\n"]) for _ in range(draw.randrange(3))
        ]
        wanted = {"a.rs": b"".join(lines)}
        try:
            found = patches.record("rustdds", subject, original, wanted)
        except Refused as err:
            assert "a.rs: line" in str(err) and "subject" in str(err), err
            continue
        after = patches.with_subject("rustdds", subject, found)
        assert after.apply("rustdds", original) == wanted
        others = [name for name in patches.subjects["rustdds"] if name != subject]
        assert all(after.subjects["rustdds"][name] == patches.subjects["rustdds"][name] for name in others)
        patches, n_recorded = after, n_recorded + (wanted != before)
    assert n_recorded > 10


def test_edits_that_were_not_recorded_are_never_overwritten(project):
    project.patch("one", edits("d1 1"))
    project.do()
    project.made("src/other.rs").write_bytes(b"mine\n")
    # Nothing has to be written.
    assert "edits that are not recorded (rustdds/src/other.rs)" in project.do()
    project.patch("one", edits("d2 1"))
    told = project.refused()
    assert "rustdds/src/other.rs" in told and "--record" in told and "--discard" in told
    assert project.made("src/other.rs").read_bytes() == b"mine\n" and project.made().read_bytes().startswith(
        b"line 2\n"
    )
    # It has been changed elsewhere as well.
    assert "has changed since it was applied" in project.refused("--record", "rustdds", "one")
    project.do("--record", "rustdds", "mine")
    project.do()
    assert project.made("src/other.rs").read_bytes() == b"mine\n" and project.made().read_bytes().startswith(
        b"line 1\nline 3\n"
    )


def test_edits_outlive_a_new_version_of_the_crate_until_they_are_recorded(project):
    project.do()
    project.made("src/other.rs").write_bytes(b"mine\n")
    project.publish("2", {"src/lib.rs": LIB + b"more\n", "src/other.rs": b"other\n"})
    assert "rustdds/src/other.rs" in project.refused()
    project.do("--record", "rustdds", "mine")
    project.do()
    assert (
        project.made("src/other.rs").read_bytes() == b"mine\n"
        and project.made().read_bytes() == LIB + b"more\n"
    )


def test_a_subject_that_is_gone_from_the_patches_is_gone_from_the_crate(project):
    project.patch("one", b"", "src/new.rs")
    project.do()
    # Folders without files are nothing to git.
    (project.folder / "patches/rustdds/one/src/new.rs").unlink()
    assert "is not up to date with patches/" in project.refused("--check")
    project.do()
    assert not (project.folder / "patches/rustdds/one").exists()
    assert not project.made("src/new.rs").exists() and project.do("--check") == ""


def test_what_cargo_writes_into_a_crate_is_no_edit(project):
    project.do()
    project.made("target").mkdir()
    project.made("target/built").touch()
    project.made("Cargo.lock").touch()
    assert project.do("--check") == ""


def test_a_folder_that_it_has_not_made_is_left_alone(project):
    (project.folder / MADE).mkdir()
    (project.folder / MADE / "mine").touch()
    assert "was not made by scripts/patch-crates" in project.refused()
    assert (project.folder / MADE / "mine").exists()


def test_an_interrupted_run_leaves_no_half_of_a_folder(project):
    project.do()
    before = project.tree()
    (project.folder / MADE).rename(project.folder / f"{MADE}.last")
    (project.folder / f"{MADE}.next").mkdir()
    assert "run scripts/setup" in project.refused("--check")
    project.do()
    assert project.tree() == before and sorted(file.name for file in project.folder.iterdir()) == [
        MADE,
        "patches",
    ]


@pytest.mark.parametrize("arguments", [("serde", "one"), ("rustdds", "../one"), ("rustdds", "One")])
def test_names_that_will_not_do_are_refused(project, arguments):
    project.do()
    assert arguments[0] in project.refused("--record", *arguments) or arguments[1] in project.refused(
        "--record", *arguments
    )


def test_a_build_refuses_crates_that_are_older_than_the_patches(project, tmp_path):
    source, program = tmp_path / "main.rs", tmp_path / "main"
    source.write_text(
        f'#[path = "{ROOT}/patches/crate_patches/is_applied.rs"] mod is_applied;\n'
        'fn main() { if let Err(err) = is_applied::check() { print!("{err}") } '
        'for path in is_applied::watched() { eprintln!("{path}") } }'
    )
    subprocess.run(["rustc", "--edition", "2024", "-o", program, source], check=True, timeout=LONG_SECS)

    def looked() -> str:
        return subprocess.run(
            [program], cwd=project.folder, capture_output=True, text=True, check=True, timeout=PATIENCE_SECS
        ).stdout

    assert "run scripts/setup" in looked()
    for crate in CRATES:
        project.patch("one", b"", "src/new.rs", crate)
    project.do()
    assert looked() == ""
    watched = subprocess.run(
        [program], cwd=project.folder, capture_output=True, text=True, timeout=PATIENCE_SECS
    ).stderr
    assert set(watched.split()) == {
        f"{folder}{part}" for part in PARTS for folder in ("patches/", f"{MADE}/patches/")
    }
    for part in PARTS:
        file = project.folder / "patches" / part
        file = file / "one/src/new.rs" if part in CRATES else file
        before = file.read_bytes()
        file.write_bytes(before + b"\n")
        assert looked() == f"{MADE}/patches is not up to date with patches/{part}: run scripts/setup"
        file.write_bytes(before)
    project.patch("two", b"", "src/newer.rs")
    assert "patches/rustdds: run scripts/setup" in looked()


def test_the_patches_of_this_project_are_applied_and_recorded():
    checked = subprocess.run(
        [ROOT / "scripts" / "patch-crates", "--check"], capture_output=True, text=True, timeout=LONG_SECS
    )
    assert (checked.returncode, checked.stderr) == (0, "")
