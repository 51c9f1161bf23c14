"""Packets that anybody can send to the node's ports."""

import random

import rtps
from hostile_packets import FRAME, KINDS, Target
from mutated_packets import captured, mutated

from .trial import Fault, Trial

MAY_GROW_MB = 20
N_MUTATIONS, N_SOURCES = 10_000, 20_000


def served(trial: Trial, target: Target, n: int = 1):
    target.serve(n)
    trial.answered(n)


def grown_mb(target: Target, before: int) -> float:
    return (target.node.memory_bytes("VmHWM") - before) / 2**20


def hostile(trial: Trial):
    target = Target(trial.rig(), trial.peer)
    trial.serve(target.rig, image=FRAME)
    trial.injected()
    n, most = 0, 0.0
    for kind in KINDS:
        target.node.forget_peak_memory()
        before = target.node.memory_bytes()
        for datagram in kind(target):
            target.send(datagram)
            n += 1
            if n % 20 == 0:
                target.drain()
            if n % 500 == 0:
                served(trial, target)
        target.drain()
        served(trial, target, 2)
        most = max(most, grown_mb(target, before))
        assert most <= MAY_GROW_MB, f"{kind.__name__}: {most:.0f} MB more"
    trial.note(f"{n} packets of {len(KINDS)} kinds, memory {most:+.0f} MB at most")
    trial.stops(target.node)


def mutations(trial: Trial):
    target = Target(trial.rig(), trial.peer)
    trial.serve(target.rig, image=FRAME)
    draw, seeds = random.Random(23), captured(target)
    target.node.forget_peak_memory()
    before = target.node.memory_bytes()
    trial.injected()
    for sent in range(N_MUTATIONS):
        target.send(mutated(draw, draw.choice(seeds)))
        if sent % 20 == 19:
            target.drain()
    # Some tell, in a peer's name, that the peer has gone: it takes a while to be heard again.
    trial.serve(target.rig, image=FRAME)
    grown = grown_mb(target, before)
    trial.note(f"memory {grown:+.0f} MB at most")
    assert grown <= MAY_GROW_MB, f"{grown:.0f} MB more"
    trial.stops(target.node)


def sources(trial: Trial):
    target = Target(trial.rig(), trial.peer)
    trial.serve(target.rig, image=FRAME)
    draw = random.Random(29)

    def announcements(n: int):
        return (rtps.participant(b"\1\x0f" + draw.randbytes(10), 2**31 - 1) for _ in range(n))

    # What the tables hold when they are full is no growth.
    target.flood(announcements(N_SOURCES // 4))
    target.node.forget_peak_memory()
    before = target.node.memory_bytes()
    trial.injected()
    target.flood(announcements(N_SOURCES))
    served(trial, target, 5)
    grown = grown_mb(target, before)
    trial.note(f"memory {grown:+.0f} MB at most")
    assert grown <= MAY_GROW_MB, f"{grown:.0f} MB more"
    trial.stops(target.node)


FAULTS = [
    Fault(
        "hostile packets",
        f"{len(KINDS)} kinds: false lengths, ranges, sets, fragments, addresses",
        f"every frame is served; memory grows by less than {MAY_GROW_MB} MB",
        hostile,
    ),
    Fault(
        "mutated packets",
        f"{N_MUTATIONS:,} mutations of packets of real peers",
        f"serves afterwards; memory grows by less than {MAY_GROW_MB} MB",
        mutations,
    ),
    Fault(
        "crowd of participants",
        f"{N_SOURCES:,} announcements of participants that do not exist",
        f"serves on; memory grows by less than {MAY_GROW_MB} MB",
        sources,
    ),
]
