"""Faults of time."""

import time

import images
from builtin_interfaces.msg import Time
from cameras import OK, WARN
from rosgraph_msgs.msg import Clock
from waiting import until

from .trial import PHOTOGRAPH, Fault, Trial


def play(trial: Trial, rig, clock, now_secs: float, condition, what: str) -> float:
    """Moves the clock on with an image at each step until `condition()`; what the clock shows then."""
    inbox = rig.inboxes["features"]
    inbox.clear()

    def step() -> bool:
        nonlocal now_secs
        now_secs += 0.3
        clock.publish(Clock(clock=stamp(now_secs)))
        time.sleep(0.05)
        rig.camera.publish(images.image(PHOTOGRAPH, stamp(now_secs - 0.25)))
        time.sleep(0.05)
        if n := len(inbox):
            inbox.clear()
            trial.answered(n)
        return condition()

    until(step, what, log=rig.node.tail)
    return now_secs


def stamp(secs: float) -> Time:
    return Time(sec=int(secs), nanosec=int(secs % 1 * 1e9))


def jumps(trial: Trial):
    rig = trial.rig(params=("use_sim_time:=true",))
    diagnostics, clock = trial.diagnostics(rig.node), trial.publisher(Clock, "/clock")
    until(clock.get_subscription_count, "the node's subscription to /clock")

    def is_well():
        return diagnostics.says("camera", OK) and diagnostics.says("transport", OK)

    now_secs = play(trial, rig, clock, 1000.0, is_well, "a camera that is well")
    trial.injected()

    def told_back():
        return diagnostics.said("transport", WARN, "/clock jumped back")

    now_secs = play(trial, rig, clock, now_secs - 500, told_back, "the jump back")
    trial.seen.sentence = f"/diagnostics: {trial.text(told_back().message)}"
    now_secs = play(trial, rig, clock, now_secs + 100_000, is_well, "a camera that is well again")
    trial.stops(rig.node)


def stands_still(trial: Trial):
    rig = trial.rig(params=("use_sim_time:=true",))
    diagnostics = trial.diagnostics(rig.node)
    trial.injected()
    trial.serve(rig)
    trial.diagnoses(diagnostics, "transport", WARN, "nothing has arrived on /clock")
    trial.stops(rig.node)


FAULTS = [
    Fault(
        "clock that jumps",
        "simulated time, 500 s back and 100,000 s ahead",
        "frames are served; /diagnostics tells of the jump back",
        jumps,
    ),
    Fault(
        "clock that stands still",
        "`use_sim_time` and no /clock",
        "frames are served; /diagnostics says what is missing",
        stands_still,
    ),
]
