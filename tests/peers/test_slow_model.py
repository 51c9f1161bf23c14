"""1080p at 30 Hz into a model that takes more than 100 ms: old frames are not served, memory is flat, the books agree."""

import os
import time
from pathlib import Path

import pictures
import pytest

RATE_HZ = 30
SECONDS = 25
FRAME = pictures.photograph("rocket", 1920, 1080)
NEEDED = 4_194_304


def receive_buffer_bytes() -> int | None:
    """net.core.rmem_max, which namespaces of older kernels do not show: there scripts/in-netns has read it outside."""
    file = Path("/proc/sys/net/core/rmem_max")
    text = file.read_text() if file.exists() else os.environ.get("PIXIO_RMEM_MAX", "")
    return int(text) if text.strip() else None


def test_what_a_slow_model_publishes_is_never_old(rig):
    allowed = receive_buffer_bytes()
    if allowed is None or allowed < NEEDED:
        pytest.skip(f"net.core.rmem_max is {allowed or 'unknown'}: 1080p needs `sudo sysctl -w net.core.rmem_max={NEEDED}`")
    # One thread makes it slow on any machine.
    node = rig(model="random:vitb16", options=("--stats-period", "1.0", "--threads", "1"))
    node.node.forget_peak_memory()
    at_ready = node.node.memory_bytes()
    message = pictures.image(FRAME, node.peer.stamp(), "bgr8")
    inbox = node.inboxes["features"]
    memory, start = [], time.monotonic()
    for tick in range(RATE_HZ * SECONDS):
        time.sleep(max(0.0, start + tick / RATE_HZ - time.monotonic()))
        message.header.stamp = node.peer.stamp()
        node.camera.publish(message)
        if tick % RATE_HZ == 0:
            memory.append(node.node.memory_bytes())
    n_sent = RATE_HZ * SECONDS
    time.sleep(3)
    periods = node.node.stats()
    peak = node.node.memory_bytes("VmHWM")
    assert node.node.stop() == 0, node.node.tail()
    counts = node.node.counts()

    forward, age = median(periods, "forward", "p50"), median(periods, "age", "p95")
    transport = median(periods, "age", "p50") - median(periods, "total", "p50")
    print(f"forward p50 {forward:.0f} ms, age p95 {age:.0f} ms, transport p50 {transport:.0f} ms, {counts}, "
          f"RSS {at_ready / 1e6:.0f} MB when ready, {peak / 1e6:.0f} MB at most, {len(inbox)} received back")
    assert forward >= 100, "not a slow model on this machine"
    # One pass of waiting at most and its own. What comes beside them, at most a period of the camera for the newest frame,
    # fit, heads and publish, has room in the first: the newest frame waits for less than a pass.
    assert age < 2 * forward + transport
    assert counts["received"] > 0.7 * n_sent and counts["displaced"] > 0.3 * n_sent, counts
    assert counts["in_flight"] == 0
    assert counts["received"] == counts["published"] + counts["displaced"] + counts["refused"] + counts["unwanted"]
    assert peak - at_ready < 150e6, f"{(peak - at_ready) / 1e6:.0f} MB more than when it was ready"
    # The first seconds fill buffers; from then on nothing may be added.
    settled = memory[5:]
    assert max(settled) - settled[0] < 30e6, [round(m / 1e6) for m in memory]


def median(periods: list[dict], span: str, percentile: str) -> float:
    """Of the periods in which the span was seen."""
    seen = sorted(p["spans"][span][percentile] for p in periods if p["spans"][span]["n"] > 1)
    return seen[len(seen) // 2]
