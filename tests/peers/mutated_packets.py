"""Packets of real peers, and what becomes of them when bytes are changed."""

import random
import socket
import struct
import threading

from hostile_packets import CAMERA, Target
from node_process import Node


def captured(target: Target) -> list[bytes]:
    """Datagrams of real peers to the node, of every sort that comes by while another node starts and frames
    flow."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as tap:
        tap.bind(("lo", 0))
        tap.settimeout(0.1)
        found, done = {}, threading.Event()

        def collect():
            while not done.is_set():
                try:
                    frame = tap.recv(1 << 17)
                except TimeoutError:
                    continue
                datagram = frame[14 + 4 * (frame[14] & 15) + 8 :] if frame[12:14] == b"\x08\0" else b""
                if datagram[:4] == b"RTPS":
                    # One of a sort: by its submessages and length.
                    found.setdefault((datagram[20:21], datagram[32:36], len(datagram) // 16), datagram)

        collector = threading.Thread(target=collect, daemon=True)
        collector.start()
        with Node(namespace="/passing", remaps=(f"image:={CAMERA}",)):
            target.serve(5)
        done.set()
        collector.join()
    return [found[key] for key in sorted(found)]


def mutated(draw: random.Random, datagram: bytes) -> bytes:
    spoiled = bytearray(datagram)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        at = draw.randrange(8, len(spoiled))
        match draw.randrange(6):
            case 0:
                spoiled[at] ^= 1 << draw.randrange(8)
            case 1:
                spoiled[at] = draw.choice([0, 1, 0x7F, 0x80, 0xFF])
            case 2:
                at -= at % 4
                spoiled[at : at + 4] = struct.pack(
                    "<I", draw.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, draw.getrandbits(32)])
                )
            case 3:
                del spoiled[at : at + draw.choice([1, 4, 20])]
            case 4:
                spoiled[at:at] = spoiled[at : at + draw.choice([1, 4, 20, 200])]
            case 5:
                del spoiled[max(at, 20) :]
        if len(spoiled) <= 20:
            break
    return bytes(spoiled[:65000])
