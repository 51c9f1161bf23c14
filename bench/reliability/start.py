"""Faults of starts and ends: signals, parameters, names, and what a killed process leaves."""

import os
import signal
import socket
import time

from node_process import Node, run
from start_storm import storm

from .trial import NAMESPACE, Fault, Trial, orderly

# What a start logs, in its order.
PHASES = ("RANDOM WEIGHTS", "loaded in", "engine eager", "warm:", "is in ROS domain", "ready:")
N_STARTS = 12
TINY = ("run", "--model", "random:tiny")


def serves_again(trial: Trial):
    """A new node serves, and ends in order."""
    trial.injected()
    rig = trial.rig()
    trial.serve(rig)
    trial.stops(rig.node)


def refused(trial: Trial, *arguments, names: tuple[str, ...], **env):
    """A start ends with 2 and one sentence that has all of `names`."""
    done = run(*arguments, XDG_CACHE_HOME=str(trial.folder), **env)
    trial.ended(done.returncode, 2, done.stderr)
    errors = [line for line in done.stderr.splitlines() if "[ERROR]" in line or line.startswith("error: ")]
    assert len(errors) == 1 and all(name in errors[0] for name in names), done.stderr[-600:]
    assert "panicked" not in done.stderr, done.stderr[-600:]
    trial.seen.sentence = trial.text(errors[0])


def stopped_in_each_phase(trial: Trial):
    for how in (signal.SIGTERM, signal.SIGINT):
        for phase in PHASES:
            with Node(namespace=NAMESPACE, cache=trial.folder).spawn() as node:
                assert node.wait_for_line(phase), f"no phase {phase!r}: {node.tail()}"
                assert node.stop(how) == 0, f"{how.name} at {phase!r}: {node.tail()}"
                orderly(node)
    trial.note(f"exit code 0 after SIGTERM and SIGINT at each of {len(PHASES)} lines of the start")
    serves_again(trial)


def stopped_at_random(trial: Trial):
    found = storm(N_STARTS, seed=17)
    trial.note(", ".join(f"{n} of {N_STARTS} ended with {how}" for how, n in found.items()))
    serves_again(trial)


def bad_parameters(trial: Trial):
    file = trial.folder / "camera.yaml"
    file.write_text("/**:\n  ros__parameters:\n    max_raet: 5.0\n")
    refused(trial, *TINY, "--ros-args", "--params-file", file, names=("camera.yaml", "max_raet", "max_rate"))
    file.write_text("/**: [" * 20000)
    done = run(*TINY, "--ros-args", "--params-file", file)
    assert done.returncode == 2 and "panicked" not in done.stderr, done.stderr[-300:]


def endless_parameters(trial: Trial):
    pipe = trial.folder / "camera.yaml"
    os.mkfifo(pipe)
    refused(trial, *TINY, "--ros-args", "--params-file", pipe, names=("camera.yaml", "not a regular file"))


def killed(trial: Trial):
    rig = trial.rig(cache=trial.folder)
    trial.serve(rig)
    rig.node.process.kill()
    rig.node.process.wait()
    rig.close()
    trial.injected()
    rig = trial.rig(cache=trial.folder)
    trial.serve(rig)
    trial.stops(rig.node)


def same_name(trial: Trial):
    rig = trial.rig()
    trial.serve(rig)
    other_topic = "/other_camera/image_raw"
    with Node(namespace=NAMESPACE, remaps=(f"image:={other_topic}",)) as other:
        trial.injected()
        trial.serve(rig)
        trial.tells(other, r"\[WARN\].*another node is called")
        assert other.stop() == 0, other.tail()
        orderly(other)
    trial.serve(rig)
    name = f"{NAMESPACE}/pixio_node"
    assert name in trial.peer.node_names(), "the node that goes on is no longer in the graph"
    trial.stops(rig.node)


def port_in_use(trial: Trial):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        refused(trial, *TINY, "--live-port", port, names=("live_port", port))


def no_gpu(trial: Trial):
    refused(trial, *TINY, "--device", "cuda:0", names=("cuda:0 was asked for",), CUDA_VISIBLE_DEVICES="")


def stopped_and_continued(trial: Trial):
    rig = trial.rig()
    trial.serve(rig)
    for _ in range(10):
        rig.node.process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        rig.node.process.send_signal(signal.SIGCONT)
        trial.injected()
        trial.serve(rig, 1)
    trial.stops(rig.node)


FAULTS = [
    Fault(
        "stop in every phase of the start",
        f"SIGTERM and SIGINT at each of {len(PHASES)} lines that a start logs",
        "exit code 0, no panic, and the next start serves",
        stopped_in_each_phase,
    ),
    Fault(
        "signals at random moments of the start",
        f"{N_STARTS} starts with one signal, several, or one every millisecond",
        "exit code 0, or the signal's before the node has begun",
        stopped_at_random,
    ),
    Fault(
        "process killed",
        "SIGKILL while it serves; started again with the same cache",
        "the next start serves",
        killed,
    ),
    Fault(
        "process stopped and continued",
        "SIGSTOP and SIGCONT, ten times",
        "serves again at once",
        stopped_and_continued,
    ),
    Fault(
        "second node of the same name",
        "another node in the same namespace, which then ends",
        "both serve, and the second one tells",
        same_name,
    ),
    Fault(
        "error in a parameter file",
        "a misspelt name; 20,000 nested lists",
        "exit code 2 and one sentence that names file, key and remedy",
        bad_parameters,
    ),
    Fault(
        "parameter file that never ends",
        "a FIFO without a writer",
        "exit code 2 at once",
        endless_parameters,
    ),
    Fault("GPU asked for without one", "`--device cuda:0`", "exit code 2 and the way out", no_gpu),
    Fault(
        "port of the live page in use",
        "a server listens at it",
        "exit code 2 and the parameter's name",
        port_in_use,
    ),
]
