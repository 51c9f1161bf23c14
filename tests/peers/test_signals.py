"""SIGINT, SIGTERM and SIGHUP: never a handler, at any moment, for every command."""

import re
import resource
import signal
import subprocess
from pathlib import Path

import images
import pytest
from node_process import BINARY, Node, end_with_parent, environment
from start_storm import storm
from waiting import PATIENCE_SECS, until

MODEL = ("--model", "random:tiny", "--device", "cpu", "--size", "64x64")


def mask(*signals: int) -> int:
    return sum(1 << (number - 1) for number in signals)


def masks(status: Path) -> dict[str, int]:
    return {
        key: int(text, 16)
        for key, text in re.findall(r"^Sig(Blk|Ign|Cgt):\s+(\w+)$", status.read_text(), re.MULTILINE)
    }


def test_every_thread_blocks_the_signals_and_no_other_has_a_handler(rig):
    node = rig()
    node.ask(images.photograph("chelsea", 320, 240))
    blocked = mask(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # Faults of the thread itself, and glibc's own two.
    synchronous = mask(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, 32, 33)
    threads = list(Path(f"/proc/{node.node.pid}/task").iterdir())
    assert len(threads) > 8
    for thread in threads:
        found = masks(thread / "status")
        assert found["Blk"] & blocked == blocked, (thread / "comm").read_text()
        assert found["Cgt"] & ~synchronous == 0, f"{found['Cgt']:x}"


def test_starts_survive_signals_at_any_moment():
    found = storm(9, seed=1)
    assert sum(found.values()) == 9, found


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGHUP], ids=["SIGINT", "SIGHUP"])
def test_a_node_told_to_ignore_a_signal_ignores_it(tmp_path, ignored):
    node = Node(namespace="/nohup", cache=tmp_path)
    trap = f'trap "" {ignored.name.removeprefix("SIG")}; exec "$@"'
    node.arguments = ["sh", "-c", trap, "sh", *node.arguments]
    with node:
        n_lines = len(node.output.lines)
        node.process.send_signal(ignored)
        # Reports go on, and no line speaks of an end.
        assert node.wait_for_line("Hz in", start=n_lines + 3), node.tail()
        assert "stopping" not in node.tail()
        assert node.stop(signal.SIGTERM) == 0, node.tail()


def test_a_file_that_may_not_grow_is_a_warning_and_no_end(rig):
    node = rig(namespace="/limited")
    node.node.report()
    limit = node.node.stats_file.stat().st_size + 10
    resource.prlimit(node.node.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    assert node.node.wait_for_line("stats_file: no more is written: File too large"), node.node.tail()
    inbox = node.inboxes["features"]
    inbox.clear()
    node.ask(images.photograph("chelsea", 320, 240))
    assert node.node.stop() == 0, node.node.tail()


def command(*arguments: str, env=None) -> subprocess.Popen:
    return subprocess.Popen(
        [BINARY, *map(str, arguments)],
        env=environment(NO_COLOR="1", **(env or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        preexec_fn=end_with_parent,
    )


def ends_by(process: subprocess.Popen, how: signal.Signals) -> str:
    """Ends the command; what it said."""
    process.send_signal(how)
    out, err = process.communicate(timeout=PATIENCE_SECS)
    assert process.returncode == -how, (process.returncode, out, err)
    assert "panicked" not in err and "ERROR" not in err, err
    return out + err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("name", ["bench", "infer"])
def test_bench_and_infer_end_by_the_signal(tmp_path, name, how):
    image = tmp_path / "chelsea.png"
    image.write_bytes(images.file_bytes(images.photograph("chelsea"), "PNG"))
    copies = [tmp_path / f"{n}.png" for n in range(2000)]
    for copy in copies:
        copy.symlink_to(image)
    own = {"bench": ("--frames", "1000000"), "infer": ("--image", *copies, "--out", tmp_path / "out")}[name]
    process = command(name, *MODEL, *own, env={"XDG_CACHE_HOME": str(tmp_path)})
    # At work by now.
    assert process.stdout.readline()
    ends_by(process, how)


def test_a_check_that_is_interrupted_leaves_the_graph(peer, tmp_path):
    process = command(
        "check", *MODEL, "--ros-args", "-r", "__ns:=/interrupted", env={"XDG_CACHE_HOME": str(tmp_path)}
    )
    try:
        until(lambda: "/interrupted/pixio_node" in peer.node_names(), "the node in the graph")
        ends_by(process, signal.SIGINT)
    finally:
        process.kill()
    # The others would see it for 50 s more if it had not said goodbye.
    until(lambda: "/interrupted/pixio_node" not in peer.node_names(), "the node gone from the graph")


@pytest.fixture
def compiler(tmp_path) -> Path:
    """Stands in for Python: writes down how it was started, and waits until its input is closed."""
    script = tmp_path / "compiler"
    script.write_text(
        f"#!/bin/sh\ngrep Sig /proc/self/status >{tmp_path}/masks.new\n"
        f"mv {tmp_path}/masks.new {tmp_path}/masks\nexec cat\n"
    )
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_build_that_is_interrupted_leaves_nothing(tmp_path, compiler, how):
    out = tmp_path / "engines" / "tiny"
    process = command("build", *MODEL, "--out", out, "--python", compiler)
    until((tmp_path / "masks").exists, "the compiler")
    assert masks(tmp_path / "masks")["Blk"] == 0
    assert list(out.parent.iterdir())
    ends_by(process, how)
    assert not list(out.parent.iterdir())
