"""A peer on Cyclone DDS, in a process of its own: rclpy's Fast DDS and Cyclone do not share one.

It takes orders (orders.py); `Cyclone` in test_cyclone.py gives them.
"""

import dataclasses
import sys
import time

import cyclone_types as types
import orders
from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

SERVICE_QOS = Qos(
    Policy.Reliability.Reliable(duration(seconds=1)), Policy.Durability.Volatile, Policy.History.KeepLast(10)
)


def qos(reliable: bool = False, latched: bool = False) -> Qos:
    return Qos(
        Policy.Reliability.Reliable(duration(seconds=1)) if reliable else Policy.Reliability.BestEffort,
        Policy.Durability.TransientLocal if latched else Policy.Durability.Volatile,
        Policy.History.KeepLast(5),
    )


def plain(value):
    """A sample as JSON has it; bytes as hexadecimal digits."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, list | tuple):
        return bytes(value).hex() if len(value) > 1000 else [plain(one) for one in value]
    return value


class Peer:
    """The commands, each a method."""

    def __init__(self, domain_id: int):
        self._participant = DomainParticipant(domain_id)
        self._writers, self._readers, self._clients = {}, {}, {}
        self._n_calls = 0

    def advertise(self, topic: str, type_name: str, **options):
        self._writers[topic] = DataWriter(
            self._participant, self._topic(topic, type_name), qos=qos(**options)
        )

    def subscribe(self, topic: str, type_name: str, **options):
        self._readers[topic] = DataReader(
            self._participant, self._topic(topic, type_name), qos=qos(**options)
        )

    def matched(self, topic: str) -> int:
        """How many other ends of a topic there are; answers to a reader's requests count."""
        ends = [status.get_matched_publications() for status in [self._readers.get(topic)] if status]
        ends += [status.get_matched_subscriptions() for status in [self._writers.get(topic)] if status]
        return min(map(len, ends))

    def show(self, topic: str, sec: int, width: int, height: int, pixels: str):
        """Publishes one rgb8 image."""
        header = types.Header(stamp=types.Time(sec=sec, nanosec=5), frame_id="cyclone")
        self._writers[topic].write(
            types.Image(
                header=header,
                height=height,
                width=width,
                encoding="rgb8",
                is_bigendian=0,
                step=3 * width,
                data=list(bytes.fromhex(pixels)),
            )
        )

    def take(self, topic: str) -> list:
        return [
            plain(sample) for sample in self._readers[topic].take(N=20) if dataclasses.is_dataclass(sample)
        ]

    def client(self, service: str, package: str, name: str):
        """A client of the ROS service."""
        request, response = (getattr(types, f"{name}{suffix}") for suffix in ("Request", "Response"))
        requests = Topic(self._participant, f"rq{service}Request", request)
        responses = Topic(self._participant, f"rr{service}Reply", response)
        writer = DataWriter(self._participant, requests, qos=SERVICE_QOS)
        self._clients[service] = writer, DataReader(self._participant, responses, qos=SERVICE_QOS), request

    def met(self, service: str) -> bool:
        writer, reader, _ = self._clients[service]
        return bool(writer.get_matched_subscriptions() and reader.get_matched_publications())

    def call(self, service: str, client: int, secs: float, **fields):
        """What the service answers to this client, or None when that does not come in `secs`."""
        writer, reader, request = self._clients[service]
        self._n_calls += 1
        parameters = [
            types.Parameter(name, types.ParameterValue(**value))
            for name, value in fields.pop("set", {}).items()
        ]
        if parameters:
            fields["parameters"] = parameters
        writer.write(request(client=client, number=self._n_calls, **fields))
        deadline = time.monotonic() + secs
        while time.monotonic() < deadline:
            for sample in reader.take(N=20):
                if dataclasses.is_dataclass(sample) and (sample.client, sample.number) == (
                    client,
                    self._n_calls,
                ):
                    return plain(sample)
            time.sleep(0.01)
        return None

    def request(self, service: str, type_name: str, n: int, **fields):
        """Sends `n` equal requests of a type that need not be the service's."""
        kind = getattr(types, type_name)
        writer = DataWriter(
            self._participant, Topic(self._participant, f"rq{service}Request", kind), qos=SERVICE_QOS
        )
        while not writer.get_matched_subscriptions():
            time.sleep(0.01)
        for _ in range(n):
            writer.write(kind(**fields))
        self._writers[f"rq{service}"] = writer

    def _topic(self, topic: str, type_name: str) -> Topic:
        return Topic(self._participant, f"rt{topic}", getattr(types, type_name))


def main():
    orders.serve(Peer(int(sys.argv[1])))


if __name__ == "__main__":
    main()
