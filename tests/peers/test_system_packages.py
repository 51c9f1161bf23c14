"""What apt-get and sudo say becomes one error with its cause and the way out."""

import pytest
from shell import Shell

UNRESOLVED = "Temporary failure resolving 'deb.debian.org'"
HELD = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 999 (unattended-upgr)"
# What apt-get writes in update and in install, and the status of each; what the error says.
APT = {
    "no right": (
        "E: Could not open lock file /var/lib/apt/lists/lock - open (13: Permission denied)\n"
        "E: Unable to lock directory /var/lib/apt/lists/",
        100,
        "",
        0,
        "apt-get update: it takes the rights of root",
    ),
    "lock": (
        "",
        0,
        f"{HELD}\nE: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend)",
        100,
        f"apt-get install: another package manager holds the lock; wait until it has ended ({HELD})",
    ),
    # Then apt-get update ends well.
    "offline": (
        f"Err:1 http://deb.debian.org/debian bookworm InRelease\n  {UNRESOLVED}\nReading package lists...\n"
        f"W: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease  {UNRESOLVED}",
        0,
        "E: Unable to locate package g++",
        100,
        f"apt-get install: a package source cannot be reached ({UNRESOLVED})",
    ),
    "no such package": (
        "Hit:1 http://deb.debian.org/debian bookworm InRelease",
        0,
        "Reading package lists...\nE: Unable to locate package g++",
        100,
        (
            "apt-get install: the package sources of this system lack a package (E: Unable to locate "
            "package g++)"
        ),
    ),
    "stale": (
        "",
        0,
        "Err:1 http://deb.debian.org/debian bookworm/main amd64 g++\n  404  Not Found [IP: 1.2.3.4 80]",
        100,
        "apt-get install: a package source lacks what it lists",
    ),
    "proxy": (
        "E: The repository 'http://deb.debian.org/debian bookworm Release' is not signed.\n"
        "Err:1 http://deb.debian.org/debian bookworm Release\n  407  Proxy Authentication Required",
        100,
        "",
        0,
        "apt-get update: a package source",
    ),
    "disk": (
        "",
        0,
        "E: You don't have enough free space in /var/cache/apt/archives/.",
        100,
        "apt-get install: the disk is full",
    ),
    "interrupted": (
        "",
        0,
        "E: dpkg was interrupted, you must manually run 'dpkg --configure -a'",
        100,
        "apt-get install: an earlier installation was interrupted; as root: dpkg --configure -a",
    ),
    "unknown": (
        "",
        0,
        "E: something else",
        100,
        "apt-get install: it ended with status 100 (E: something else)",
    ),
    "silent": ("", 137, "", 0, "apt-get update: it ended with status 137 (without a word)"),
}
BY_HAND = "as root: apt-get update && apt-get install --no-install-recommends g++ make"


def bare(shell: Shell, case: str, uid: int):
    update, update_status, install, install_status, _ = APT[case]
    (shell.folder / "update").write_text(update + "\n")
    (shell.folder / "install").write_text(install + "\n")
    shell.program("dpkg-query", "exit 1")
    shell.program("id", f"echo {uid}")
    status = f"[ $1 = install ] || exit {update_status}; exit {install_status}"
    shell.program("apt-get", f'echo "$@" >>asked; cat $1; {status}')


@pytest.mark.parametrize("case", APT)
def test_what_apt_says_becomes_one_error_with_its_cause_and_the_line_for_root(shell, case):
    bare(shell, case, uid=0)
    failed = shell.run("system_packages g++ make; echo went on")
    assert failed.returncode == 1 and "went on" not in failed.stdout
    assert failed.stderr.startswith(f"error: {APT[case][4]}"), failed.stderr
    assert (
        failed.stderr.endswith(f"; all of it is in target/apt.log; {BY_HAND}\n")
        and failed.stderr.count("\n") == 1
    )
    assert "reach" not in failed.stderr or case == "offline"
    asked = (shell.folder / "asked").read_text().split("\n")
    assert len(asked) - 1 == (2 if APT[case][1] == 0 else 1), "the first failure ends it"


def test_without_sudo_the_line_for_root_is_the_answer(shell):
    bare(shell, "no right", uid=1000)
    refused = shell.run("system_packages g++ make")
    assert refused.returncode == 1
    assert refused.stderr == f"error: these packages need root, and there is no sudo; {BY_HAND}\n"
    assert not (shell.folder / "asked").exists()


def test_a_sudo_that_refuses_is_named_and_no_mirror(shell):
    bare(shell, "no right", uid=1000)
    for said in (
        "sudo: a terminal is required to read the password",
        "somebody is not in the sudoers file.",
        "sudo: unable to resolve host here: Name or service not known\nsudo: a password is required",
    ):
        shell.program("sudo", f"echo '{said}' >&2; exit 1")
        refused = shell.run("system_packages g++ make")
        last = said.rpartition("\n")[2]
        expect = f"error: apt-get update: sudo refused ({last}); all of it is in target/apt.log; {BY_HAND}\n"
        assert refused.stderr == expect


def test_sudo_carries_apt_and_its_warnings_are_no_cause(shell):
    bare(shell, "lock", uid=1000)
    shell.program("sudo", "echo 'sudo: unable to resolve host here' >&2; exec \"$@\"")
    assert "another package manager holds the lock" in shell.run("system_packages g++ make").stderr


def test_nothing_is_asked_of_apt_when_all_is_there(shell):
    bare(shell, "no right", uid=1000)
    shell.program("dpkg-query", "printf 'install ok installed'")
    assert shell.run("system_packages g++ make; echo went on").stdout == "went on\n"
