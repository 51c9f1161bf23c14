"""Abuse of a node's live page."""

import contextlib
import re
import socket
import time

from live_page import Address, free_port
from waiting import until
from websockets.exceptions import WebSocketException

from .trial import PHOTOGRAPH, Fault, Trial

N_SILENT = 300
REQUESTS = [b"GET / HTTP/1.1\r\n", b"\0" * 5000, b"GET " + b"/" * 100_000, b"POST / HTTP/1.1\r\n\r\n" * 50]
TEXTS = ["", "[]", '{"type": "look"}', "[" * 100_000, b"\xff" * 10, b""]


def with_page(trial: Trial):
    """A node with a live page, and the page's address."""
    rig = trial.rig(reliable_inboxes=True, options=("--live-port", str(free_port())))
    line = rig.node.wait_for_line("live page: http")
    assert line, rig.node.tail()
    return rig, Address(re.search(r"http\S+", line)[0])


def connect(address: Address) -> socket.socket:
    host, _, port = address.host.partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def abused(trial: Trial):
    rig, address = with_page(trial)
    trial.serve(rig)
    memory = rig.node.memory_bytes()
    trial.injected()
    with contextlib.ExitStack() as stack:
        for n in range(N_SILENT):
            with contextlib.suppress(OSError):
                silent = stack.enter_context(connect(address))
                silent.sendall(REQUESTS[n % len(REQUESTS)])
        trial.serve(rig)
        grown = (rig.node.memory_bytes() - memory) / 2**20
    assert grown < 50, f"{grown:.0f} MB more"
    trial.note(f"{N_SILENT} connections, memory {grown:+.0f} MB")
    for text in TEXTS:
        # Whoever sends that is shown the door, or nothing.
        with contextlib.suppress(WebSocketException, OSError), address.open() as page:
            page.peer.send(text)
            page.peer.recv(0.5)
        trial.serve(rig, 1)

    def opens() -> bool:
        with contextlib.suppress(WebSocketException, OSError), address.open() as page:
            page.look("image", "pca")
            rig.send(PHOTOGRAPH)
            return "frame" in page.frame().about or True
        return False

    until(opens, "a page that is shown a frame", log=rig.node.tail)
    trial.lost_nothing(rig)
    trial.stops(rig.node)


def unread(trial: Trial):
    rig, address = with_page(trial)
    trial.serve(rig)
    trial.injected()
    memory = rig.node.memory_bytes()
    with address.open() as page:
        page.look("image", "pca", "tokens")
        # Nothing is read, and nothing is answered.
        for _ in range(50):
            trial.serve(rig, 1)
            time.sleep(0.01)
    grown = (rig.node.memory_bytes() - memory) / 2**20
    trial.note(f"memory {grown:+.0f} MB")
    assert grown < 40, f"{grown:.0f} MB more"
    trial.lost_nothing(rig)
    trial.stops(rig.node)


FAULTS = [
    Fault(
        "live page abused",
        f"{N_SILENT} connections with half a request or garbage; malformed texts",
        "the camera's subscribers lose nothing; a page opens afterwards",
        abused,
    ),
    Fault(
        "live page that does not read",
        "a page that asks for frames and reads none",
        "the camera's subscribers lose nothing; memory grows by less than 40 MB",
        unread,
    ),
]
