"""A node that was suspended or starved serves on; one whose DDS hangs ends with exit code 1 and says so."""

import ctypes
import queue
import random
import signal
import threading
import time
from pathlib import Path

import images
import pytest
from waiting import PATIENCE_SECS, repeat, until

PHOTOGRAPH = images.photograph("chelsea", 320, 240)
SEIZE, INTERRUPT = 0x4206, 0x4207


def thread(pid: int, name: str) -> int:
    """The number of a thread by the beginning of its name."""
    [found] = [
        int(task.name)
        for task in Path(f"/proc/{pid}/task").iterdir()
        if (task / "comm").read_text().startswith(name)
    ]
    return found


class Held:
    """A thread that is stopped while the others run, as one that waits for ever."""

    def __init__(self, tid: int):
        self._end, self._answer = threading.Event(), queue.Queue()
        # The kernel lets only the thread that holds another let it go, which it does by ending.
        self._holder = threading.Thread(target=self._hold, args=(tid,), daemon=True)
        self._holder.start()
        if errno := self._answer.get():
            pytest.skip(f"threads cannot be held here: ptrace fails with error {errno}")

    def _hold(self, tid: int):
        libc = ctypes.CDLL(None, use_errno=True)
        ptrace = libc.ptrace
        ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        failed = any(ptrace(request, tid, None, None) == -1 for request in (SEIZE, INTERRUPT))
        self._answer.put(ctypes.get_errno() if failed else 0)
        self._end.wait()

    def let_go(self):
        self._end.set()
        self._holder.join()


def exit_code(node, held: Held) -> int:
    """Waits for the end of a node one of whose threads is held until then."""
    # The holder has to let go of what remains of the thread before anybody hears of the end.
    try:
        until(lambda: "State:\tZ" in Path(f"/proc/{node.node.pid}/status").read_text(), "the end of the node")
    finally:
        held.let_go()
    code = node.node.process.wait(PATIENCE_SECS)
    node.node.output.drain()
    return code


def serve(node):
    """Waits until an image is answered; the node must not have ended."""
    stamps = []
    repeat(
        lambda: stamps.append(node.send(PHOTOGRAPH)),
        lambda: not node.node.alive() or any(node.inboxes["features"].find(stamp) for stamp in stamps),
        "an answer",
        every_secs=0.1,
        log=node.node.tail,
    )
    assert node.node.alive(), node.node.tail()


def test_a_node_that_was_stopped_and_continued_serves_on(rig):
    draw = random.Random(3)
    node = rig(namespace="/suspended")
    for _ in range(20):
        time.sleep(draw.uniform(0, 1))
        node.node.process.send_signal(signal.SIGSTOP)
        time.sleep(draw.choice([0, draw.uniform(0, 0.1), draw.uniform(0, 3)]))
        node.node.process.send_signal(signal.SIGCONT)
        serve(node)
    # Whatever kills the library is found out within a few ticks.
    time.sleep(3)
    serve(node)
    assert node.node.stop() == 0 and not any("DDS is" in line for line in node.node.output.lines), (
        node.node.tail()
    )


@pytest.mark.parametrize("name", ["RustDDS Partici", "RustDDS discove"])
def test_a_node_whose_dds_hangs_ends(rig, name):
    node = rig(namespace="/hanging")
    held = Held(thread(node.node.pid, name))
    # It cannot stop in order, for its participant waits for the thread.
    assert exit_code(node, held) == 1, node.node.tail()
    errors = [line for line in node.node.output.lines if "[ERROR]" in line]
    assert len(errors) == 1 and "DDS is stuck" in errors[0] and name in errors[0], errors


def test_a_stop_that_waits_for_dds_ends_with_an_error(rig):
    node = rig(namespace="/leaving_never")
    held = Held(thread(node.node.pid, "RustDDS discove"))
    node.node.process.send_signal(signal.SIGTERM)
    assert exit_code(node, held) == 1, node.node.tail()
    assert "DDS is stuck" in node.node.output.lines[-1], node.node.tail()


def test_a_later_second_signal_ends_a_stop_that_waits(rig):
    node = rig(namespace="/leaving_now")
    held = Held(thread(node.node.pid, "RustDDS discove"))
    node.node.process.send_signal(signal.SIGINT)
    assert node.node.wait_for_line("SIGINT: stopping")
    time.sleep(1.5)
    node.node.process.send_signal(signal.SIGTERM)
    assert exit_code(node, held) == 128 + signal.SIGTERM, node.node.tail()
    assert "SIGTERM again" in node.node.output.lines[-1], node.node.tail()
