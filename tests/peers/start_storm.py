"""Starts the tiny model again and again, with SIGINT and SIGTERM at random moments: start_storm.py N [SEED].

Every start ends with exit code 0, or by the signal before `main` has said anything. A second signal more than
a second after the first ends the node at once, with 128 and its number, and says so.
"""

import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from node_process import BINARY, end_with_parent, environment
from waiting import PATIENCE_SECS

COMMAND = [
    str(BINARY),
    "run",
    "--model",
    "random:tiny",
    "--size",
    "256x256",
    "--device",
    "cpu",
    "--engine",
    "eager",
    "--ros-args",
    "-r",
    "__ns:=/storm",
]
HANGS_SECS = PATIENCE_SECS
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def start(log, cache: str) -> subprocess.Popen:
    env = environment(NO_COLOR="1", XDG_CACHE_HOME=cache)
    return subprocess.Popen(
        COMMAND,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        preexec_fn=end_with_parent,
    )


def time_until_ready(cache: str) -> float:
    """What a start takes on this machine as it is now: the moments are drawn from one and a half times
    that."""
    with tempfile.TemporaryFile("w+") as log:
        process, started = start(log, cache), time.monotonic()
        while "ready:" not in said(log):
            if process.poll() is not None or time.monotonic() - started > HANGS_SECS:
                process.kill()
                raise AssertionError(f"the node does not start\n{said(log)}")
            time.sleep(0.01)
        elapsed_secs = time.monotonic() - started
        process.send_signal(signal.SIGINT)
        process.wait(HANGS_SECS)
        return elapsed_secs


def said(log) -> str:
    return os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace")


def plan(draw: random.Random, span_secs: float) -> list[tuple[float, signal.Signals]]:
    """When to send what: one signal, a few, or one every millisecond for half a second."""
    first = draw.uniform(0, 1.5 * span_secs)
    match draw.choice(("one", "few", "storm")):
        case "one":
            moments = [first]
        case "few":
            moments = sorted(draw.uniform(0, 1.5 * span_secs) for _ in range(draw.randint(2, 5)))
        case "storm":
            moments = [first + n / 1000 for n in range(500)]
    return [(moment, draw.choice(SIGNALS)) for moment in moments]


def outcome(signals: list[tuple[float, signal.Signals]], cache: str) -> tuple[str, str]:
    """How one start ended, and what it said."""
    with tempfile.TemporaryFile("w+") as log:
        process, started = start(log, cache), time.monotonic()
        for moment, which in signals:
            time.sleep(max(0.0, started + moment - time.monotonic()))
            process.send_signal(which)
        try:
            code = process.wait(HANGS_SECS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "a hang", said(log)
        text = said(log)
    if "panicked" in text:
        return "a panic", text
    if code == 0:
        return "exit 0", text
    if -code in SIGNALS and not text:
        return "by the signal before main", text
    if code - 128 in SIGNALS and "again: ending at once" in text:
        return "at once by a later second signal", text
    return f"WRONG: {code}", text


GOOD = {"exit 0", "by the signal before main", "at once by a later second signal"}


def storm(n_starts: int, seed: int) -> collections.Counter:
    """Outcomes of that many starts; an AssertionError at the first that is none of the good ones."""
    draw, found = random.Random(seed), collections.Counter()
    with tempfile.TemporaryDirectory(prefix="storm-") as cache:
        span_secs = time_until_ready(cache)
        for n in range(n_starts):
            signals = plan(draw, span_secs)
            how, text = outcome(signals, cache)
            found[how] += 1
            shown = ", ".join(f"{which.name} at {moment:.3f} s" for moment, which in signals[:5])
            assert how in GOOD, f"start {n} of seed {seed} ({len(signals)} signals: {shown}): {how}\n{text}"
    return found


if __name__ == "__main__":
    for ended, n_times in storm(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1).items():
        print(f"{n_times:5} {ended}")
