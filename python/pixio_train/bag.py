"""A ROS 2 bag: its topics, the stamps of their messages, and the messages themselves. Reads MCAP and
sqlite3."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from .errors import Refused

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TF_STATIC = "/tf_static"


@dataclass(frozen=True)
class Stamped:
    """When an image was taken and in which frame."""

    nanos: int
    frame_id: str


class Bag:
    """Open while the `with` block lasts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Files have an ending, folders may have dots.
        self.name = path.resolve().name if path.is_dir() else path.stem
        if path.suffix == ".bag":
            raise Refused(f"{path} is a bag of ROS 1: turn it into one of ROS 2 first (rosbags-convert)")
        try:
            # sqlite3 bags before Iron do not say what their messages are made of.
            self.reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        except (AnyReaderError, OSError) as err:
            raise Refused(f"{path} cannot be read: {one_line(err)}") from None

    def __enter__(self) -> "Bag":
        try:
            self.reader.open()
        except Exception as err:
            raise Refused(f"{self.path} cannot be read: {one_line(err)}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()

    def topics(self, *types: str) -> dict[str, str]:
        """Topics of these types, with the type."""
        return {c.topic: c.msgtype for c in self.reader.connections if c.msgtype in types}

    def check(self, topic: str, *types: str) -> None:
        """Refuses a topic that the bag lacks, naming those that it might have been."""
        known = self.topics(*types)
        if topic not in known:
            what = "CameraInfo" if CAMERA_INFO in types else "images"
            there = ", ".join(sorted(known)) or "none"
            raise Refused(f"{self.path} has no {what} on {topic}; its topics of that kind: {there}")

    def stamps(self, topic: str) -> list[Stamped]:
        """Of every message with a header, in the order of the stamps."""
        found = (stamp_of(raw, received) for _, received, raw in self.raw(topic))
        return sorted(found, key=lambda stamped: stamped.nanos)

    def messages(self, *topics: str) -> Iterator[tuple[str, Stamped, object]]:
        """Topic, stamp and message, in the order in which they were recorded."""
        for topic, received, raw in self.raw(*topics):
            yield topic, stamp_of(raw, received), self.deserialized(topic, raw)

    def first(self, topic: str) -> Any:
        """The first message on a topic, or nothing."""
        for _, _, raw in self.raw(topic):
            return self.deserialized(topic, raw)
        return None

    def all(self, topic: str) -> list:
        return [self.deserialized(topic, raw) for _, _, raw in self.raw(topic)]

    def raw(self, *topics: str) -> Iterator[tuple[str, int, bytes]]:
        connections = [one for one in self.reader.connections if one.topic in topics]
        # None of them would be all of them.
        if not connections:
            return
        messages = self.reader.messages(connections)
        while True:
            try:
                connection, received, raw = next(messages)
            except StopIteration:
                return
            except Exception as err:
                raise Refused(f"{self.path} cannot be read to its end: {one_line(err)}") from None
            yield connection.topic, received, raw

    def deserialized(self, topic: str, raw: bytes) -> Any:
        msgtype = next(one.msgtype for one in self.reader.connections if one.topic == topic)
        return self.reader.deserialize(raw, msgtype)


def stamp_of(raw: bytes, received: int) -> Stamped:
    """From the header that the message begins with; when it is 0, the time of recording."""
    order = "<" if raw[1] & 1 else ">"
    seconds, nanos, length = struct.unpack_from(f"{order}iII", raw, 4)
    frame_id = bytes(raw[16 : 16 + length]).rstrip(b"\0").decode(errors="replace")
    return Stamped(seconds * 1_000_000_000 + nanos or received, frame_id.lstrip("/"))


def one_line(err: Exception) -> str:
    return " ".join(str(err).split()) or type(err).__name__
