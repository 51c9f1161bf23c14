"""Hosts with networks of their own: namespaces that a test makes, and links between them."""

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from node_process import Node, end_with_parent
from waiting import PATIENCE_SECS, until

CLONE_NEWNET = 0x40000000
# Takes back that the tests stay on loopback.
ANY_NETWORK = {"ROS_LOCALHOST_ONLY": None, "ROS_AUTOMATIC_DISCOVERY_RANGE": None}


def enter_own():
    """Moves this thread, and what it starts, to a network namespace of its own with its loopback up."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Host:
    """A network namespace with its loopback up, which lasts until `close`."""

    def __init__(self):
        self._holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "ip link set lo up && echo made && exec sleep infinity"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=end_with_parent,
        )
        if self._holder.stdout.readline() != "made\n":
            pytest.skip("no network namespace can be made here")
        self.pid = self._holder.pid
        # What to put before a command so that it runs here.
        self.inside = ("nsenter", "-t", str(self.pid), "-n")

    def close(self):
        self._holder.kill()
        self._holder.wait(PATIENCE_SECS)

    def do(self, command: str):
        """Runs lines of `ip`."""
        subprocess.run([*self.inside, "sh", "-ec", command], check=True, timeout=PATIENCE_SECS)

    def link(self, other: "Host", name: str, own: str, others: str):
        """A cable to another host, with an address of a /24 at each end."""
        self.do(f"ip link add {name} type veth peer name {name} netns {other.pid}")
        for host, address in ((self, own), (other, others)):
            host.do(f"ip address add {address}/24 dev {name}; ip link set {name} up")
        # A while after that, and until then a DDS that starts passes the link over.
        for host in (self, other):
            host.do(f"until ip link show {name} | grep -q 'state UP'; do sleep 0.01; done")

    def node(self, **options) -> Node:
        """A node that is to run here."""
        node = Node(**options)
        node.arguments = [*self.inside, *node.arguments]
        return node

    def make(self, open_socket: Callable[[], socket.socket]) -> socket.socket:
        """The socket that the function makes, of this host."""

        def enter() -> socket.socket:
            # A thread has a namespace of its own, and a socket stays in the one where it was made.
            with Path(f"/proc/{self.pid}/ns/net").open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return open_socket()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(enter).result(PATIENCE_SECS)

    def socket(self, address: str, port: int = 0) -> socket.socket:
        """A UDP socket of this host."""
        made = self.make(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made.bind((address, port))
        made.setblocking(False)
        return made


def heard(at: socket.socket) -> int:
    """Datagrams that have come to a socket since the last call."""
    n = 0
    while True:
        try:
            at.recv(1 << 16)
        except BlockingIOError:
            return n
        n += 1


def wait_heard(at: socket.socket, log):
    until(lambda: heard(at), "an answer", log=log)


def domain() -> int:
    return int(os.environ["ROS_DOMAIN_ID"])
