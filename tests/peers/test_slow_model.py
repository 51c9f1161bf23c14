"""1080p at up to 30 Hz into a slow model: old frames are not served, memory is flat, the books agree."""

import os
from pathlib import Path

import images
import pytest
from cameras import answered
from rig import in_books
from waiting import repeat

RATE_HZ = 30
# Frames that must have come before memory is looked at for the first time, and at the end.
N_SETTLED, N_FRAMES = 150, 500
FRAME = images.photograph("rocket", 1920, 1080)
NEEDED = 4_194_304


def receive_buffer_bytes() -> int | None:
    """net.core.rmem_max, which namespaces of older kernels do not show: there scripts/in-netns has read it
    outside."""
    file = Path("/proc/sys/net/core/rmem_max")
    text = file.read_text() if file.exists() else os.environ.get("PIXIO_RMEM_MAX", "")
    return int(text) if text.strip() else None


def test_what_a_slow_model_publishes_is_never_old(rig):
    allowed = receive_buffer_bytes()
    if allowed is None or allowed < NEEDED:
        pytest.skip(
            f"net.core.rmem_max is {allowed or 'unknown'}: 1080p needs `sudo sysctl -w "
            f"net.core.rmem_max={NEEDED}`"
        )
    # One thread makes it slow on any machine.
    node = rig(model="random:vitb16", options=("--threads", "1"))
    node.node.forget_peak_memory()
    at_ready = node.node.memory_bytes()
    message = images.image(FRAME, node.peer.stamp(), "bgr8")
    memory = []

    def send():
        message.header.stamp = node.peer.stamp()
        node.camera.publish(message)

    def enough() -> bool:
        n = node.counts()["received"] - node.base["received"]
        if n >= N_SETTLED:
            memory.append(node.node.memory_bytes())
        return n >= N_FRAMES

    repeat(
        send,
        enough,
        f"{N_FRAMES} frames",
        every_secs=1 / RATE_HZ,
        progress=lambda: node.counts()["received"],
        log=node.node.tail,
    )
    # What was sent is in these books, but for what is still in sockets.
    at_end, final = in_books([node.node.report()]), node.settled()
    periods, peak = node.node.stats(), node.node.memory_bytes("VmHWM")
    assert node.node.stop() == 0, node.node.tail()
    counts = node.node.counts()

    forward, age = median(periods, "forward", "p50"), median(periods, "age", "p95")
    print(
        f"forward p50 {forward:.0f} ms, age p95 {age:.0f} ms, {counts}, {at_ready / 1e6:.0f} MB "
        f"when ready, {peak / 1e6:.0f} MB at most"
    )
    # The age of a frame in forward passes: answers to others that came between its stamp and its own. Those
    # are the pass in hand and perhaps one more; a queue would add its length.
    frames = answered(node.inboxes["features"])
    ages = sorted(sum(stamp < at_other for _, at_other in frames[:i]) for i, (stamp, _) in enumerate(frames))
    assert ages[len(ages) // 2] <= 2, ages
    # Once the camera is silent, what is left to serve are the frame in the model, the one that waits for it
    # and the newest, and a frame or two that had not come out of the sockets.
    assert final["received"] - at_end["received"] <= 2, (at_end, final)
    assert final["published"] - at_end["published"] <= 5, (at_end, final)
    # All others were displaced as soon as they were old.
    assert counts["displaced"] > counts["published"], counts
    assert counts["in_flight"] == 0
    assert (
        counts["received"]
        == counts["published"] + counts["displaced"] + counts["refused"] + counts["unwanted"]
    )
    assert peak - at_ready < 150e6, f"{(peak - at_ready) / 1e6:.0f} MB more than when it was ready"
    # The first frames fill buffers; from then on nothing may be added.
    assert max(memory) - memory[0] < 30e6, [round(m / 1e6) for m in memory[::20]]


def median(periods: list[dict], span: str, percentile: str) -> float:
    """Of the periods in which the span was seen."""
    seen = sorted(p["spans"][span][percentile] for p in periods if p["spans"][span]["n"])
    return seen[len(seen) // 2]
