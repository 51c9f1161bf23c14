"""RTPS packets by hand, byte by byte: right ones, and ones that claim what is not so."""

import socket
import struct
from pathlib import Path

DATA, DATA_FRAG, HEARTBEAT, GAP, ACKNACK, NACK_FRAG, HEARTBEAT_FRAG = 0x15, 0x16, 0x07, 0x08, 0x06, 0x12, 0x13
INFO_TS, INFO_DST, INFO_SRC, INFO_REPLY, PAD = 0x09, 0x0E, 0x0C, 0x0F, 0x01

UNKNOWN = bytes(4)
PARTICIPANT = bytes.fromhex("000001c1")
SPDP_WRITER, SPDP_READER = bytes.fromhex("000100c2"), bytes.fromhex("000100c7")
PUBLICATIONS_WRITER, PUBLICATIONS_READER = bytes.fromhex("000003c2"), bytes.fromhex("000003c7")
SUBSCRIPTIONS_WRITER, SUBSCRIPTIONS_READER = bytes.fromhex("000004c2"), bytes.fromhex("000004c7")
MESSAGE_WRITER, MESSAGE_READER = bytes.fromhex("000200c2"), bytes.fromhex("000200c7")

PL_CDR_LE, CDR_LE = b"\0\3\0\0", b"\0\1\0\0"
SENTINEL = struct.pack("<HH", 1, 0)
# Every built-in endpoint that there is without security.
ALL_ENDPOINTS = 0xC3F
# The same-host port of the discard protocol: what answers to it is lost.
NOWHERE = ("127.0.0.1", 9)


def packet(prefix: bytes, *submessages: bytes, vendor: bytes = b"\x01\x0f") -> bytes:
    """A message of the participant with this GUID prefix."""
    return b"RTPS\x02\x03" + vendor + prefix + b"".join(submessages)


def submessage(kind: int, body: bytes, flags: int = 1, length: int | None = None) -> bytes:
    """`length` is what the header claims."""
    return struct.pack("<BBH", kind, flags, len(body) if length is None else length) + body


def number(value: int) -> bytes:
    """A sequence number, whatever its sign."""
    return struct.pack(
        "<iI", value >> 32 if value >> 32 < 1 << 31 else (value >> 32) - (1 << 32), value & 0xFFFFFFFF
    )


def number_set(base: int, n_bits: int, words: bytes = b"") -> bytes:
    return number(base) + struct.pack("<I", n_bits) + words


def heartbeat(reader: bytes, writer: bytes, first: int, last: int, count: int = 1, flags: int = 1) -> bytes:
    return submessage(
        HEARTBEAT, reader + writer + number(first) + number(last) + struct.pack("<i", count), flags
    )


def gap(reader: bytes, writer: bytes, start: int, base: int, n_bits: int = 0, words: bytes = b"") -> bytes:
    return submessage(GAP, reader + writer + number(start) + number_set(base, n_bits, words))


def acknack(
    reader: bytes, writer: bytes, base: int, n_bits: int = 0, words: bytes = b"", count: int = 1
) -> bytes:
    return submessage(ACKNACK, reader + writer + number_set(base, n_bits, words) + struct.pack("<i", count))


def nack_frag(
    reader: bytes, writer: bytes, sn: int, base: int, n_bits: int, words: bytes, count: int = 1
) -> bytes:
    body = reader + writer + number(sn) + struct.pack("<II", base, n_bits) + words + struct.pack("<i", count)
    return submessage(NACK_FRAG, body)


def data(
    reader: bytes,
    writer: bytes,
    sn: int,
    payload: bytes,
    flags: int = 5,
    inline_qos: bytes = b"",
    to_qos: int = 16,
) -> bytes:
    body = struct.pack("<HH", 0, to_qos) + reader + writer + number(sn) + inline_qos + payload
    return submessage(DATA, body, flags)


def data_frag(
    reader: bytes,
    writer: bytes,
    sn: int,
    start: int,
    n: int,
    fragment_size: int,
    sample_size: int,
    payload: bytes,
    flags: int = 1,
) -> bytes:
    body = struct.pack("<HH", 0, 28) + reader + writer + number(sn)
    body += struct.pack("<IHHI", start & 0xFFFFFFFF, n, fragment_size, sample_size) + payload
    return submessage(DATA_FRAG, body, flags)


def info_dst(prefix: bytes) -> bytes:
    return submessage(INFO_DST, prefix)


def parameter(pid: int, value: bytes, length: int | None = None) -> bytes:
    value += bytes(-len(value) % 4)
    return struct.pack("<HH", pid, len(value) if length is None else length) + value


def locator(address: str, port: int) -> bytes:
    return struct.pack("<iI", 1, port) + bytes(12) + socket.inet_aton(address)


def text(value: str) -> bytes:
    value = value.encode() + b"\0"
    return struct.pack("<I", len(value)) + value


def participant(prefix: bytes, lease_secs: int = 100, at: tuple[str, int] = NOWHERE, *more: bytes) -> bytes:
    """The announcement of a participant, as a message."""
    parameters = (
        parameter(0x15, b"\2\3"),
        parameter(0x16, b"\1\x0f"),
        parameter(0x50, prefix + PARTICIPANT),
        parameter(0x32, locator(*at)),
        parameter(0x31, locator(*at)),
        parameter(0x02, struct.pack("<iI", lease_secs, 0)),
        parameter(0x58, struct.pack("<I", ALL_ENDPOINTS)),
    )
    payload = PL_CDR_LE + b"".join((*parameters, *more)) + SENTINEL
    return packet(prefix, data(UNKNOWN, SPDP_WRITER, 1, payload))


def endpoint(guid: bytes, topic: str, dds_type: str, *more: bytes) -> bytes:
    """What a participant says of a reader or writer of its own, as a payload."""
    parameters = (
        parameter(0x50, guid[:12] + PARTICIPANT),
        parameter(0x5A, guid),
        parameter(0x05, text(topic)),
        parameter(0x07, text(dds_type)),
        parameter(0x2F, locator(*NOWHERE)),
    )
    return PL_CDR_LE + b"".join((*parameters, *more)) + SENTINEL


def discovery_port(domain: int, participant: int) -> int:
    """Where a host's participant of that number hears of others."""
    return 7400 + 250 * domain + 10 + 2 * participant


class Ports:
    """Where a participant of this network namespace listens."""

    def __init__(self, pid: int, domain: int):
        self._table = Path(f"/proc/{pid}/net/udp")
        links = (str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir())
        self._inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
        start = 7400 + 250 * domain
        known = [port - start for port in self._queues() if start <= port < start + 250]
        # Even and odd offsets from 10 on.
        self.discovery = start + next(offset for offset in known if offset >= 10 and offset % 2 == 0)
        self.data = start + next(offset for offset in known if offset >= 10 and offset % 2 == 1)

    def are_drained(self) -> bool:
        """Whether nothing waits there to be read."""
        queues = self._queues()
        return not queues.get(self.discovery) and not queues.get(self.data)

    def _queues(self) -> dict[int, int]:
        """Bytes that wait in each UDP socket of the process, by its port."""
        rows = [line.split() for line in self._table.read_text().splitlines()[1:]]
        return {
            int(row[1].rpartition(":")[2], 16): int(row[4].rpartition(":")[2], 16)
            for row in rows
            if row[9] in self._inodes
        }
