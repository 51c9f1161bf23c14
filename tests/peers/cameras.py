"""Several cameras that send at their own rates, and what a node says of them on /diagnostics."""

import threading
import time
from dataclasses import dataclass, field

import pictures
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from peer import Inbox, Peer, nanos
from sensor_msgs.msg import CompressedImage, Image

OK, WARN, ERROR = (level[0] for level in (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR))


@dataclass
class Camera:
    """One camera: an array is sent raw, a file compressed."""

    topic: str
    picture: object
    rate_hz: float
    frame_id: str = "camera_optical"
    # Seconds after which it falls silent.
    silent_after: float = float("inf")
    reliable: bool = True
    stamps: list[int] = field(default_factory=list)


class Cameras:
    """Sends the pictures of all `cameras` on one thread, each at its rate; a context manager."""

    def __init__(self, peer: Peer, cameras: list[Camera]):
        self._peer = peer
        self._cameras = cameras
        self.publishers = [peer.publisher(*((CompressedImage, f"{camera.topic}/compressed") if isinstance(camera.picture, bytes)
                                            else (Image, camera.topic)), camera.reliable) for camera in cameras]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Cameras":
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join(timeout=10)
        for publisher in self.publishers:
            self._peer.node.destroy_publisher(publisher)

    def _run(self):
        n_sent = [0] * len(self._cameras)

        def due(i: int) -> float:
            # Out of step with each other, as cameras without a trigger are.
            return (n_sent[i] + i / len(self._cameras)) / self._cameras[i].rate_hz

        while not self._stopped.is_set():
            elapsed = time.monotonic() - self._started
            live = [i for i, camera in enumerate(self._cameras) if due(i) < camera.silent_after]
            if not live:
                return
            i = min(live, key=due)
            if self._stopped.wait(max(0.0, due(i) - elapsed)):
                return
            # A sender that cannot keep up sends less, not in bursts.
            n_sent[i] = max(n_sent[i] + 1, int((time.monotonic() - self._started) * self._cameras[i].rate_hz))
            self._send(i)

    def _send(self, i: int):
        camera, stamp = self._cameras[i], self._peer.stamp()
        make = pictures.compressed if isinstance(camera.picture, bytes) else pictures.image
        self.publishers[i].publish(make(camera.picture, stamp, frame_id=camera.frame_id))
        camera.stamps.append(nanos(stamp))


class Diagnostics:
    """What one node says on /diagnostics."""

    def __init__(self, peer: Peer, node_name: str):
        self._node = node_name.strip("/")
        self.inbox: Inbox = peer.inbox(DiagnosticArray, "/diagnostics", reliable=True, depth=100)

    def messages(self) -> list[tuple[int, dict[str, DiagnosticStatus]]]:
        """When each message came, in nanoseconds, and its statuses by what they are about, such as `camera front`."""
        pairs = zip(list(self.inbox.received_nanos), list(self.inbox.messages))
        own = [(at, {status.name.removeprefix(f"{self._node}: "): status for status in message.status
                     if status.hardware_id == self._node}) for at, message in pairs]
        return [(at, statuses) for at, statuses in own if statuses]

    def last(self) -> dict[str, DiagnosticStatus]:
        """The newest statuses, or none."""
        messages = self.messages()
        return messages[-1][1] if messages else {}

    def says(self, what: str, level: int, *texts: str):
        """The status of `what` when it has this level and all texts are in its message."""
        status = self.last().get(what)
        return status if status and status.level[0] == level and all(text in status.message for text in texts) else None


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def accounted(status: DiagnosticStatus) -> bool:
    """Whether the books of a camera's status add up."""
    n = {key: int(value) for key, value in values(status).items() if value.isdigit()}
    return n["received"] == n["published"] + n["displaced"] + n["refused"] + n["unwanted"] + n["in flight"]
