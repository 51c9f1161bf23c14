"""Waiting for what must come. These bounds end a test that hangs: no verdict on a machine that is only slow
rests on them.

Every wait ends as soon as its event is there, so a generous bound costs nothing. What is to be shown of time
itself is read from stamps (of messages, of the log, of the node's reports) and holds however late anybody
wakes up.
"""

import time
from collections.abc import Callable

# For an event, or for the next sign of progress towards it.
PATIENCE_SECS = 300
# For a process that compiles or trains.
LONG_SECS = 1800
BETWEEN_LOOKS_SECS = 0.01


def until(condition: Callable, what: str, **options):
    """Waits until `condition()` is truthy and returns it; `options` are those of `repeat`."""
    return repeat(lambda: None, condition, what, **options)


def repeat(
    action: Callable,
    condition: Callable,
    what: str,
    *,
    every_secs: float = 1,
    log: Callable[[], str] = str,
    progress: Callable = lambda: None,
    patience_secs: float = PATIENCE_SECS,
):
    """Calls `action()` now and every `every_secs` until `condition()` is truthy, and returns that: messages
    get lost.

    An AssertionError names `what` and what `log()` says by then. Patience begins anew whenever `progress()`
    has changed, for what is many events.
    """
    began = acted = time.monotonic()
    seen = progress()
    action()
    while not (found := condition()):
        now = time.monotonic()
        if (reached := progress()) != seen:
            began, seen = now, reached
        assert now <= began + patience_secs, f"not within {patience_secs} s: {what}\n{log()}"
        if acted + every_secs <= now:
            acted = now
            action()
        time.sleep(BETWEEN_LOOKS_SECS)
    return found
