"""Packets that anybody can send to a port, by what is wrong with them, and the node that gets them."""

import os
import socket
import struct
from collections.abc import Iterable

import numpy as np
import rtps
from rtps import (
    CDR_LE,
    PL_CDR_LE,
    PUBLICATIONS_READER,
    PUBLICATIONS_WRITER,
    SPDP_READER,
    SPDP_WRITER,
    SUBSCRIPTIONS_READER,
    SUBSCRIPTIONS_WRITER,
    UNKNOWN,
    acknack,
    data,
    data_frag,
    endpoint,
    gap,
    heartbeat,
    nack_frag,
    packet,
    parameter,
    submessage,
)
from sequence_leaps import leaps_of_a_camera
from waiting import until

FRAME = np.full((24, 32, 3), 100, np.uint8)
CAMERA = "/camera/image_raw"
FAR, FARTHEST = 1 << 40, (1 << 63) - 1


class Target:
    """A node, and what somebody has to know who forges the packets of its peers."""

    def __init__(self, rig, peer):
        self.rig, self.node = rig, rig.node
        self.ports = rtps.Ports(self.node.pid, int(os.environ["ROS_DOMAIN_ID"]))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        [camera] = peer.node.get_publishers_info_by_topic(CAMERA)
        guid = bytes(camera.endpoint_gid)[:16]
        # Of the peer, which has the camera.
        self.prefix, self.camera = guid[:12], guid[12:]
        self.reader = until(
            lambda: self._of_node(peer.node.get_subscriptions_info_by_topic, CAMERA), "the node's reader"
        )
        topic = f"{self.node.name}/features"
        self.features = until(
            lambda: self._of_node(peer.node.get_publishers_info_by_topic, topic), "the node's writer"
        )
        self.inbox = until(
            lambda: self._others(peer.node.get_subscriptions_info_by_topic(topic)), "the peer's reader"
        )

    def _of_node(self, endpoints, topic: str) -> bytes | None:
        name, _, _ = self.node.name.rpartition("/")
        found = [
            bytes(one.endpoint_gid)[12:16]
            for one in endpoints(topic)
            if one.node_name == "pixio_node" and one.node_namespace == name
        ]
        return found[-1] if found else None

    def _others(self, endpoints) -> bytes | None:
        return next(
            (bytes(one.endpoint_gid)[12:16] for one in endpoints if one.node_name != "pixio_node"), None
        )

    def send(self, datagram: bytes):
        """To both ports of the node."""
        for port in (self.ports.discovery, self.ports.data):
            self._socket.sendto(datagram, ("127.0.0.1", port))

    def drain(self):
        """Until the node has taken everything from its sockets."""
        until(self.ports.are_drained, "empty sockets", log=self.node.tail)

    def serve(self, n_frames: int = 1):
        """Every frame is answered."""
        for _ in range(n_frames):
            stamp = self.rig.send(FRAME)
            until(
                lambda stamp=stamp: self.rig.inboxes["features"].find(stamp), "an answer", log=self.node.tail
            )

    def flood(self, packets: Iterable[bytes], between: int = 4000):
        """Sends all as fast as they are taken, and now and then asks for a frame."""
        for n, datagram in enumerate(packets):
            self.send(datagram)
            if n % 50 == 49:
                self.drain()
            if n % between == between - 1:
                self.serve()
        self.drain()


def spdp(payload: bytes, prefix: bytes = b"\1\x0f" + bytes(range(10)), sn: int = 1) -> bytes:
    return packet(prefix, data(UNKNOWN, SPDP_WRITER, sn, payload))


def sedp(target: Target, payload: bytes, sn: int, writer: bytes = PUBLICATIONS_WRITER) -> bytes:
    reader = {PUBLICATIONS_WRITER: PUBLICATIONS_READER, SUBSCRIPTIONS_WRITER: SUBSCRIPTIONS_READER}[writer]
    return packet(target.prefix, data(reader, writer, sn, payload))


def matched_and_not(target: Target) -> list[tuple[bytes, bytes, bytes]]:
    """Prefix, reader and writer of packets of a writer that the node knows and of one that it does not."""
    stranger = b"\1\x0f" + b"stranger\0\0"
    return [
        (target.prefix, target.reader, target.camera),
        (target.prefix, UNKNOWN, target.camera),
        (target.prefix, PUBLICATIONS_READER, PUBLICATIONS_WRITER),
        (target.prefix, SPDP_READER, SPDP_WRITER),
        (stranger, target.reader, target.camera),
        (stranger, PUBLICATIONS_READER, PUBLICATIONS_WRITER),
        (stranger, UNKNOWN, SPDP_WRITER),
    ]


def fragments_that_claim_much(target):
    for prefix, reader, writer in matched_and_not(target):
        for size in (0xFFFFFFFF, 1 << 31, 390 << 20):
            for fragment, start in (
                (64000, 1),
                (1344, 1),
                (1, 1),
                (1, size),
                (64000, -(-size // 64000)),
                (1, 0),
                (0, 1),
            ):
                yield packet(
                    prefix,
                    data_frag(reader, writer, 1 << 20, start, 1, fragment, size, b"\0\1\0\0" + bytes(60)),
                )


def many_samples_begun(target):
    for sn in range(1 << 20, (1 << 20) + 3000):
        yield packet(
            target.prefix, data_frag(target.reader, target.camera, sn, 2, 1, 1344, 300 << 20, bytes(1344))
        )


def fragments_of_samples_that_are_here(target):
    for _ in range(2000):
        yield packet(
            target.prefix, data_frag(target.reader, target.camera, 1, 1, 1, 60000, 390 << 20, bytes(60000))
        )


def ranges_that_nobody_walks(target):
    for prefix, reader, writer in matched_and_not(target):
        for count, (first, last) in enumerate(
            [
                (1, FAR),
                (1, FARTHEST),
                (2, 1 << 33),
                (FAR, FAR),
                (FARTHEST, FARTHEST),
                (FARTHEST, 1),
                (5, 1),
                (0, 0),
                (-1, FAR),
                (-FARTHEST, FARTHEST),
                (1 << 50, (1 << 50) + 1),
                (1, 1 << 30),
            ]
        ):
            yield packet(prefix, heartbeat(reader, writer, first, last, count=1000 * (count + 1)))
            yield packet(prefix, heartbeat(reader, writer, first, last, count=(1 << 31) - 1))
        for start, base in [
            (1, FAR),
            (5, FAR),
            (1 << 30, FAR),
            (1 << 30, (1 << 30) + (1 << 28)),
            (1, FARTHEST),
            (FARTHEST, FARTHEST),
            (FAR, 1),
            (-FARTHEST, FARTHEST),
            (0, 5),
            (1 << 21, 1 << 22),
        ]:
            yield packet(prefix, gap(reader, writer, start, base))
            yield packet(prefix, gap(reader, writer, start, base, 256, b"\xff" * 32))


def sets_that_claim_much(target):
    for n_bits, words in [
        (0xFFFFFFFF, b""),
        (257, bytes(36)),
        (256, b""),
        (1 << 31, bytes(32)),
        (256, b"\xff" * 32),
    ]:
        for prefix in (target.prefix, b"\1\x0f" + b"stranger\0\0"):
            for base in (1, 0, -1, FAR, FARTHEST - 100):
                yield packet(
                    prefix, gap(target.reader, target.camera, 1 << 21, max(base, 1 << 21), n_bits, words)
                )
                yield packet(
                    prefix, acknack(target.inbox, target.features, base, n_bits, words, count=base & 0xFFFF)
                )
            for base in (0, 1, 1 << 18, 0xFFFFFFFF, 0xFFFFFF00):
                for sn in (1, 2, 3, FAR, -1):
                    yield packet(
                        prefix,
                        nack_frag(
                            target.inbox,
                            target.features,
                            sn,
                            base,
                            n_bits,
                            words,
                            count=sn & 0xFFFF ^ base & 0xFFFF,
                        ),
                    )


def sequence_numbers_at_the_edges(target):
    payload = CDR_LE + bytes(40)
    for prefix, reader, writer in matched_and_not(target):
        for sn in (0, -1, -FARTHEST - 1, FARTHEST, FARTHEST - 1, 1 << 51):
            yield packet(prefix, data(reader, writer, sn, payload))
            yield packet(prefix, data_frag(reader, writer, sn, 1, 1, 1000, 2000, payload + bytes(956)))


def parameter_lists_that_lie(target):
    own = parameter(0x50, b"\1\x0f" + bytes(10) + rtps.PARTICIPANT)
    lists = [
        b"",
        b"\0\0\0",
        struct.pack("<HH", 0x50, 0xFFFF),
        struct.pack("<HH", 0x50, 0xFFFF) + bytes(60000),
        parameter(0x50, b"", length=0),
        struct.pack("<HH", 0x7FFF, 0) * 15000,
        own + parameter(0x62, struct.pack("<I", 0xFFFFFFFF)),
        own + parameter(0x59, struct.pack("<I", 0xFFFFFFFF)),
        own + b"".join(parameter(0x32, rtps.locator("127.0.0.1", 9)) for _ in range(2000)),
    ]
    for body in lists:
        yield spdp(PL_CDR_LE + body)
        yield spdp(PL_CDR_LE + body + rtps.SENTINEL)
        yield packet(
            target.prefix, data(target.reader, target.camera, 1 << 20, b"", flags=7, inline_qos=body)
        )
        yield sedp(target, PL_CDR_LE + body + rtps.SENTINEL, (1 << 20) + len(body))


def participants_that_lie(target):
    prefix = b"\1\x0f" + bytes(range(10))
    for lease in (2**31 - 1, 0, -1, -(2**31)):
        yield rtps.participant(prefix, lease)
    for at in (("239.255.0.1", 7400), ("0.0.0.0", 0), ("255.255.255.255", 9)):
        yield rtps.participant(b"\1\x0f" + bytes(9) + bytes([len(at[0])]), 20, at)
    name = parameter(0x62, rtps.text("n" * 60000))
    yield rtps.participant(prefix, 20, rtps.NOWHERE, name)
    yield rtps.participant(
        prefix, 20, rtps.NOWHERE, *[parameter(0x32, rtps.locator("10.0.0.1", n)) for n in range(2000)]
    )


def endpoints_that_lie(target):
    for writer in (PUBLICATIONS_WRITER, SUBSCRIPTIONS_WRITER):
        for n, text in enumerate(
            [
                struct.pack("<I", 0xFFFFFFFF),
                struct.pack("<I", 0),
                struct.pack("<I", 4) + b"rt/c",
                struct.pack("<I", 5) + b"\xff\xfe\xfd\xfc\0",
                rtps.text("n" * 30000),
                rtps.text(""),
                rtps.text("rt/" + "\N{SNOWMAN}" * 10),
            ]
        ):
            guid = target.prefix + bytes([9, 9, n, 0x03 if writer == PUBLICATIONS_WRITER else 0x04])
            parts = [parameter(0x5A, guid), parameter(0x05, text), parameter(0x07, text)]
            yield sedp(target, PL_CDR_LE + b"".join(parts) + rtps.SENTINEL, (1 << 20) + n, writer)
        # Nobody has shown these participants.
        for n in range(300):
            guid = (
                b"\1\x0f"
                + n.to_bytes(10, "big")
                + bytes([0, 0, 1, 0x03 if writer == PUBLICATIONS_WRITER else 0x04])
            )
            payload = endpoint(
                guid, f"rt/{'t' * 900}{n}", "t" * 900, parameter(0x2C, struct.pack("<I", 8000) + bytes(8000))
            )
            yield sedp(target, payload, (1 << 20) + 100 + n, writer)


def addresses_without_end(target):
    one = rtps.locator("127.0.0.1", 9)
    for count, there in [(0xFFFFFFFF, 1), (1 << 28, 2), (2000, 2000), (0, 0)]:
        reply = submessage(rtps.INFO_REPLY, struct.pack("<I", count) + one * there)
        yield packet(
            target.prefix,
            reply,
            *[heartbeat(target.reader, target.camera, 1, 10, count=n + 100) for n in range(50)],
        )


def submessages_that_lie(target):
    good = data(target.reader, target.camera, 1 << 20, CDR_LE + bytes(40))
    yield from (
        b"",
        b"RTPS",
        b"RTPX" + bytes(30),
        b"\0" * 64,
        b"RTPS\2\3\1\x0f" + b"DDSPING" + bytes(8),
        bytes(65000),
    )
    for kind in range(256):
        yield packet(target.prefix, submessage(kind, b""), good)
        yield packet(target.prefix, submessage(kind, bytes(40), flags=0xFF), good)
        yield packet(
            target.prefix,
            submessage(kind, b"\xff" * 100, flags=kind),
            submessage(kind, bytes(8), length=0xFFFF),
        )
    for cut in range(4, len(good)):
        yield packet(target.prefix, good[:cut])
    for to_qos in (0, 1, 15, 17, 100, 0xFFFF):
        yield packet(target.prefix, data(target.reader, target.camera, 1 << 20, bytes(8), to_qos=to_qos))
    yield packet(target.prefix, *[submessage(rtps.PAD, b"")] * 16000)
    yield packet(target.prefix, *[submessage(rtps.INFO_TS, b"", flags=3)] * 16000)


def messages_that_are_none(target):
    header = struct.pack("<II", 1, 2)

    def string(length: int, body: bytes) -> bytes:
        return struct.pack("<I", length) + body + bytes(-len(body) % 4)

    bodies = [
        b"",
        header,
        header + string(0xFFFFFFFF, b""),
        header + string(0, b""),
        header + string(4, b"abcd") + bytes(60),
        header
        + string(2, b"a\0")
        + struct.pack("<II", 24, 32)
        + string(5, b"rgb8\0")
        + struct.pack("<II", 0, 96)
        + struct.pack("<I", 0xFFFFFFFF),
        header
        + string(2, b"a\0")
        + struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF)
        + string(5, b"rgb8\0")
        + struct.pack("<III", 0, 96, 2304)
        + bytes(2304),
    ]
    for n, body in enumerate(bodies):
        for kind in (b"\0\1\0\0", b"\0\0\0\0", b"\0\3\0\0", b"\0\7\0\0", b"\xff\xff\xff\xff", b"\0"):
            yield packet(
                target.prefix, data(target.reader, target.camera, (1 << 19) + 10 * n + len(kind), kind + body)
            )


KINDS = [
    fragments_that_claim_much,
    many_samples_begun,
    fragments_of_samples_that_are_here,
    ranges_that_nobody_walks,
    leaps_of_a_camera,
    sets_that_claim_much,
    sequence_numbers_at_the_edges,
    parameter_lists_that_lie,
    participants_that_lie,
    endpoints_that_lie,
    addresses_without_end,
    submessages_that_lie,
    messages_that_are_none,
]
