"""Faults of those who listen, and of who sets parameters."""

import signal
from pathlib import Path

from listener import Listener
from pixio_node.msg import PatchFeatures
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from waiting import repeat, until

from .trial import NAMESPACE, PHOTOGRAPH, Fault, Trial

FEATURES = f"{NAMESPACE}/pixio_node/features"
TOPICS = {FEATURES: "pixio_node/msg/PatchFeatures"}
N_COMINGS = 30
N_FROZEN = 100


def freezes(trial: Trial):
    rig = trial.rig(reliable_inboxes=True)
    with Listener(TOPICS, reliable=True) as listener:
        listener.wait_until_matched()
        repeat(lambda: rig.send(PHOTOGRAPH), listener.heard, "the listener's first message", every_secs=0.2)
        trial.serve(rig)
        memory = rig.node.memory_bytes()
        listener.freeze()
        trial.injected()
        trial.serve(rig, N_FROZEN)
        grown = (rig.node.memory_bytes() - memory) / 2**20
        n_heard = len(listener.heard())
        listener.thaw()
        repeat(
            lambda: rig.send(PHOTOGRAPH),
            lambda: len(listener.heard()) > n_heard + 5,
            "the listener hears again",
            every_secs=0.2,
        )
    trial.note(f"memory {grown:+.0f} MB")
    assert grown < 10, f"{grown:.0f} MB more"
    trial.lost_nothing(rig)
    trial.stops(rig.node)


def killed(trial: Trial):
    rig = trial.rig(reliable_inboxes=True)
    with Listener(TOPICS, reliable=True) as listener:
        listener.wait_until_matched()
        trial.serve(rig)
        listener.process.send_signal(signal.SIGKILL)
    trial.injected()
    trial.serve(rig, 20)
    trial.lost_nothing(rig)
    trial.stops(rig.node)


def threads_and_files(pid: int) -> tuple[int, int]:
    task, fd = (len(list(Path(f"/proc/{pid}", folder).iterdir())) for folder in ("task", "fd"))
    return task, fd


def come_and_go(trial: Trial):
    rig = trial.rig()
    trial.serve(rig)

    def come_and_leave():
        inbox = trial.peer.inbox(PatchFeatures, FEATURES, reliable=True)
        rig.feed(PHOTOGRAPH, lambda: len(inbox), "a message for who has come", every_secs=0.1)
        trial.peer.drop(inbox)

    come_and_leave()
    before, memory = threads_and_files(rig.node.pid), rig.node.memory_bytes()
    trial.injected()
    for _ in range(N_COMINGS):
        come_and_leave()
        trial.answered()
    until(lambda: threads_and_files(rig.node.pid) == before, "the threads and files of before")
    grown = (rig.node.memory_bytes() - memory) / 2**20
    trial.note(f"as many threads and files as before, memory {grown:+.0f} MB")
    # Tables of what was discovered fill up to their bounds.
    assert grown < 20, f"{grown:.0f} MB more"
    trial.serve(rig, 1)
    trial.stops(rig.node)


def wrong_parameters(trial: Trial):
    rig = trial.rig()
    client = AsyncParameterClient(trial.peer.node, rig.node.name)
    trial.peer.meet(client.services_are_ready)
    trial.serve(rig)
    trial.injected()
    for name, value in (
        ("max_rate", -1.0),
        ("max_rate", float("nan")),
        ("max_rate", "fast"),
        ("model", "other"),
        ("no_such_parameter", 1),
        ("x" * 100_000, 1),
    ):
        [result] = trial.peer.ask(client.set_parameters, [Parameter(name, value=value)]).results
        assert not result.successful and result.reason, f"{name[:20]} = {value} was taken"
        trial.serve(rig, 1)
    [result] = trial.peer.ask(client.set_parameters, [Parameter("max_rate", value=-1.0)]).results
    trial.seen.sentence = trial.text(result.reason)
    longest = max(map(len, rig.node.output.lines))
    assert longest < 10_000, f"a line of {longest} characters"
    trial.stops(rig.node)


FAULTS = [
    Fault(
        "subscriber freezes",
        f"one of two reliable subscribers is stopped for {N_FROZEN} frames",
        "the other loses nothing, memory grows by less than 10 MB, the frozen one hears again",
        freezes,
    ),
    Fault("subscriber killed", "SIGKILL of a reliable subscriber", "the others lose nothing", killed),
    Fault(
        "subscribers come and go",
        f"{N_COMINGS} times, one after the other",
        "each is served; threads and files stay, memory grows by less than 20 MB",
        come_and_go,
    ),
    Fault(
        "wrong parameters",
        "values out of range, of other types, read-only and unknown names",
        "refused with a reason; serves on",
        wrong_parameters,
    ),
]
