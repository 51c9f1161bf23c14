"""All faults, by what they hit."""

from . import camera, clock, machine, models, network, packets, page_abuse, start, subscribers
from .trial import Fault, Impossible

__all__ = ["GROUPS", "Impossible"]

GROUPS: dict[str, list[Fault]] = {
    "Start and stop": start.FAULTS,
    "Models, engines and files": models.FAULTS,
    "Cameras": camera.FAULTS,
    "Time": clock.FAULTS,
    "Subscribers and other nodes": subscribers.FAULTS,
    "Packets and the live page": packets.FAULTS + page_abuse.FAULTS,
    "The machine": machine.FAULTS,
    "The network": network.FAULTS,
}
