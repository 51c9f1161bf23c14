"""What anybody can send to a port: it costs little memory, and every good frame is served before, during and
after it."""

import os
import random
import signal
import struct
import time

import pytest
import rtps
from hostile_packets import FRAME, KINDS, Target
from mutated_packets import captured, mutated
from rtps import (
    CDR_LE,
    PUBLICATIONS_WRITER,
    UNKNOWN,
    data,
    data_frag,
    endpoint,
    heartbeat,
    packet,
)

MAY_GROW_BYTES = 20 << 20
# As many as the faults were found with, where there is time for it.
N_MUTATIONS = int(os.environ.get("PIXIO_MUTATIONS", "20000"))
N_SOURCES = int(os.environ.get("PIXIO_SOURCES", "50000"))


@pytest.mark.parametrize("reliability", ["best_effort", "reliable"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_packets_cost_little_and_take_nothing_from_others(rig, peer, kind, reliability):
    target = Target(rig(namespace="/hostile", params=[f"image_reliability:={reliability}"]), peer)
    target.serve(3)
    target.node.forget_peak_memory()
    before = target.node.memory_bytes()
    packets = list(kind(target))
    for n, datagram in enumerate(packets):
        target.send(datagram)
        # The first ones and then some: a frame for each is too many.
        if n < 10 or n % max(1, len(packets) // 20) == 0:
            target.serve()
        elif n % 20 == 0:
            target.drain()
    target.serve(5)
    grown = target.node.memory_bytes("VmHWM") - before
    assert grown <= MAY_GROW_BYTES, f"{grown / 2**20:.1f} MB more"
    assert_is_well(target)


def assert_is_well(target: Target):
    assert target.node.stop() == 0, target.node.tail()
    noise = [line for line in target.node.output.lines if "[ERROR]" in line or "panicked" in line]
    assert not noise, noise


def test_packets_of_any_number_of_sources_leave_no_trace(rig, peer):
    target = Target(rig(namespace="/sources"), peer)
    draw = random.Random(7)

    def source() -> bytes:
        prefix = b"\1\x0f" + draw.randbytes(10)
        return draw.choice(
            [
                rtps.participant(prefix, 2**31 - 1),
                packet(prefix, heartbeat(target.reader, target.camera, 1, 100)),
                packet(
                    prefix,
                    data(
                        UNKNOWN,
                        PUBLICATIONS_WRITER,
                        1,
                        endpoint(prefix + b"\0\0\1\x03", "rt/camera/image_raw", "t"),
                    ),
                ),
                packet(prefix, data_frag(target.reader, target.camera, 1, 1, 1, 60, 6000, bytes(60))),
            ]
        )

    # What the tables hold when they are full is no growth.
    target.flood(source() for _ in range(N_SOURCES // 5))
    target.serve()
    target.node.forget_peak_memory()
    before = target.node.memory_bytes()
    target.flood(source() for _ in range(N_SOURCES))
    target.serve(3)
    grown = target.node.memory_bytes("VmHWM") - before
    assert grown <= MAY_GROW_BYTES, f"{grown / 2**20:.1f} MB more"
    assert_is_well(target)


def test_a_node_that_knows_five_thousand_participants_stops(rig, peer):
    target = Target(rig(namespace="/crowded"), peer)
    before = target.node.memory_bytes()
    draw = random.Random(5)
    for n in range(5000):
        # With an address that the node sends to.
        target.send(
            rtps.participant(
                b"\1\x0f" + draw.randbytes(10), 2**31 - 1, ("127.0.0.1", 9) if n % 2 else ("239.255.0.1", 9)
            )
        )
        if n % 10 == 9:
            target.drain()
        if n % 500 == 499:
            target.serve()
    grown = target.node.memory_bytes() - before
    assert grown <= MAY_GROW_BYTES, f"{grown / 2**20:.1f} MB more"
    start = time.monotonic()
    target.node.process.send_signal(signal.SIGTERM)
    assert target.node.ended() == 0, target.node.tail()
    print(f"stopped within {time.monotonic() - start:.2f} s")


def test_mutated_packets_of_real_peers_do_no_harm(rig, peer):
    target = Target(rig(namespace="/mutated"), peer)
    draw = random.Random(11)
    seeds = captured(target)
    assert len(seeds) > 20, len(seeds)

    def spoil(n: int):
        for sent in range(n):
            target.send(mutated(draw, draw.choice(seeds)))
            if sent % 20 == 19:
                target.drain()

    spoil(N_MUTATIONS // 4)
    # Some of them tell, in a peer's name, that the peer has gone: it takes a while to be heard again.
    target.rig.ask(FRAME)
    target.node.forget_peak_memory()
    before = target.node.memory_bytes()
    spoil(N_MUTATIONS)
    target.rig.ask(FRAME)
    grown = target.node.memory_bytes("VmHWM") - before
    assert grown <= MAY_GROW_BYTES, f"{grown / 2**20:.1f} MB more"
    assert target.node.stop() == 0, target.node.tail()
    assert not [line for line in target.node.output.lines if "panicked" in line]


def test_a_flood_of_warnings_is_one(rig, peer):
    target = Target(rig(namespace="/flooded"), peer)
    # Each of these strings lacks its NUL, and each of them is a warning.
    strings = struct.pack("<I", 4) + b"abcd"
    n_before = len(target.node.output.lines)
    for n in range(500):
        target.send(
            packet(
                target.prefix,
                data(
                    target.reader,
                    target.camera,
                    (1 << 19) + n,
                    CDR_LE + struct.pack("<II", 1, 2) + strings + bytes(100),
                ),
            )
        )
        target.drain()
    target.serve(2)
    warnings = [line for line in target.node.output.lines[n_before:] if "[WARN]" in line]
    assert len(warnings) <= 20, warnings[:40]
