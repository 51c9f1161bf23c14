"""stdout and stderr: a reader who does not read stops nothing, one who goes away is an ordinary end."""

import os
import re
import subprocess
from pathlib import Path

import compile_once
import images
import pytest
from node_process import BINARY, environment
from pixio_node.msg import PatchFeatures
from sensor_msgs.msg import Image
from unheard import Unheard, full_pipe
from waiting import LONG_SECS, PATIENCE_SECS, repeat, until

PHOTOGRAPH = images.photograph("chelsea", 320, 240)
MODEL = ("--model", "random:tiny", "--device", "cpu", "--size", "64x64", "--engine", "eager")


@pytest.mark.parametrize("reads_at_last", [False, True], ids=["never", "late"])
def test_a_reader_that_does_not_read_stops_neither_the_images_nor_the_end(peer, reads_at_last):
    camera = peer.publisher(Image, "/unheard/image_raw")
    inbox = peer.inbox(PatchFeatures, "/unheard/pixio_node/features")
    with Unheard(namespace="/unheard", remaps=("image:=/unheard/image_raw",)) as node:

        def show():
            camera.publish(images.image(PHOTOGRAPH, peer.stamp()))

        repeat(show, lambda: len(inbox), "features of a node that cannot log", every_secs=0.1)
        # Five reports a second: by now more lines than the pipe ever held.
        n_reports = len(node.stats())
        until(lambda: len(node.stats()) > n_reports + 10, "more reports")
        inbox.clear()
        repeat(show, lambda: len(inbox), "features after that", every_secs=0.1)
        if reads_at_last:
            node.read()
            until(lambda: node.text.count(b"Hz in") > 5, "what has waited")
        assert node.stop() == 0
        if reads_at_last:
            until(lambda: b"SIGTERM: stopping" in node.text, "the last lines")
            # Nothing was lost, and all is in order.
            text = node.text.lstrip(b"x").decode()
            counts = [int(n) for n in re.findall(r"received (\d+)", text)]
            assert "ready:" in text and "lost" not in text and counts == sorted(counts)
    peer.node.destroy_publisher(camera)
    peer.drop(inbox)


@pytest.fixture
def commands(tmp_path) -> dict[str, tuple]:
    """What prints: the arguments of each command."""
    image = tmp_path / "chelsea.png"
    image.write_bytes(images.file_bytes(PHOTOGRAPH, "PNG"))
    figures = ("--frames", "3", "--image", "64x64")
    return {
        "help": ("--help",),
        "version": ("--version",),
        "check": ("check", *MODEL),
        "bench": ("bench", *MODEL, *figures),
        "bench with a file": ("bench", *MODEL, *figures, "--json", tmp_path / "figures.json"),
        "infer": ("infer", *MODEL, "--image", image, "--out", tmp_path / "out"),
        "build": (
            "build",
            *MODEL[:6],
            "--out",
            tmp_path / "engine",
            "--python",
            compile_once.program(),
        ),
    }


# What a command makes beside what it prints.
MAKES = {"infer": "out/chelsea.pca.png", "bench with a file": "figures.json", "build": "engine/manifest.json"}
NAMES = ["help", "version", "check", "bench", "bench with a file", "infer", "build"]


def ended(tmp_path, arguments, stdout) -> tuple[int, str]:
    done = subprocess.run(
        [BINARY, *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        env=environment(NO_COLOR="1", XDG_CACHE_HOME=str(tmp_path / "cache")),
        timeout=LONG_SECS,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_closed_stdout_is_an_ordinary_end(tmp_path, commands, name):
    reader, writer = os.pipe()
    os.close(reader)
    code, err = ended(tmp_path, commands[name], writer)
    os.close(writer)
    assert code == 0 and not re.search("panicked|ERROR|error:", err), err
    assert name not in MAKES or (tmp_path / MAKES[name]).exists(), err


@pytest.mark.parametrize("name", NAMES)
def test_a_full_stdout_is_one_error(tmp_path, commands, name):
    with Path("/dev/full").open("w") as full:
        code, err = ended(tmp_path, commands[name], full)
    errors = [line for line in err.splitlines() if re.search("ERROR|error:", line)]
    assert (
        code == 1 and len(errors) == 1 and "cannot write to stdout" in errors[0] and "panicked" not in err
    ), err
    assert name not in MAKES or (tmp_path / MAKES[name]).exists(), err


def test_a_wrong_option_is_refused_while_nobody_reads():
    reader, writer = full_pipe()
    done = subprocess.run(
        [BINARY, "run", "--no-such-option"], stderr=writer, env=environment(), timeout=PATIENCE_SECS
    )
    assert done.returncode == 2
    os.close(reader)
    os.close(writer)
