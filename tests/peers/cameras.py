"""Several cameras that send at their own rates, and what a node says of them on /diagnostics."""

import threading
import time
from dataclasses import dataclass, field

import images
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from peer import Inbox, Peer, nanos
from sensor_msgs.msg import CompressedImage, Image
from waiting import PATIENCE_SECS

OK, WARN, ERROR = (level[0] for level in (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR))


@dataclass
class Camera:
    """One camera: an array is sent raw, a file compressed."""

    topic: str
    image: object
    rate_hz: float
    frame_id: str = "camera_optical"
    reliable: bool = True
    stamps: list[int] = field(default_factory=list)


class Cameras:
    """Sends the images of all `cameras` on one thread, each at its rate or as fast as it can; a context
    manager."""

    def __init__(self, peer: Peer, cameras: list[Camera]):
        self._peer = peer
        self.cameras = cameras
        self.publishers = [
            peer.publisher(
                *(
                    (CompressedImage, f"{camera.topic}/compressed")
                    if isinstance(camera.image, bytes)
                    else (Image, camera.topic)
                ),
                camera.reliable,
            )
            for camera in cameras
        ]
        self._stopped = threading.Event()
        self._sending, self._silent = threading.Lock(), set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Cameras":
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join(PATIENCE_SECS)
        for publisher in self.publishers:
            self._peer.node.destroy_publisher(publisher)

    def silence(self, *indices: int):
        """These cameras, or without an index all, have sent their last image when this returns."""
        with self._sending:
            self._silent.update(indices or range(len(self.cameras)))

    def _run(self):
        n_sent = [0] * len(self.cameras)

        def due(i: int) -> float:
            # Out of step with each other, as cameras without a trigger are.
            return (n_sent[i] + i / len(self.cameras)) / self.cameras[i].rate_hz

        while live := [i for i in range(len(self.cameras)) if i not in self._silent]:
            elapsed = time.monotonic() - self._started
            i = min(live, key=due)
            if self._stopped.wait(max(0.0, due(i) - elapsed)):
                return
            # A sender that cannot keep up sends less, not in bursts.
            n_sent[i] = max(n_sent[i] + 1, int((time.monotonic() - self._started) * self.cameras[i].rate_hz))
            with self._sending:
                if i not in self._silent:
                    self._send(i)

    def _send(self, i: int):
        camera, stamp = self.cameras[i], self._peer.stamp()
        make = images.compressed if isinstance(camera.image, bytes) else images.image
        self.publishers[i].publish(make(camera.image, stamp, frame_id=camera.frame_id))
        camera.stamps.append(nanos(stamp))


def answered(inbox: Inbox, since_nanos: int = 0) -> list[tuple[int, int]]:
    """Stamp of each frame stamped from `since_nanos` on that was answered, and when its answer came, in
    nanoseconds."""
    stamps = [nanos(message.header.stamp) for message in list(inbox.messages)]
    return [(stamp, at) for stamp, at in zip(stamps, inbox.received_nanos) if stamp >= since_nanos]


def no_faster(frames: list[tuple[int, int]], rate_hz: float) -> bool:
    """Whether the node can have admitted these `answered` frames at `rate_hz` at most.

    Each came to it between its stamp and our receipt of the answer, and the limit admits a frame an eighth of
    a period early.
    """
    window_secs = (frames[-1][1] - frames[0][0]) / 1e9
    return (len(frames) - 1 - 1 / 8) / rate_hz <= window_secs


class Diagnostics:
    """What one node says on /diagnostics."""

    def __init__(self, peer: Peer, node_name: str):
        self._node = node_name.strip("/")
        self.inbox: Inbox = peer.inbox(DiagnosticArray, "/diagnostics", reliable=True, depth=100)

    def is_own(self, message: DiagnosticArray) -> bool:
        return any(status.hardware_id == self._node for status in message.status)

    def messages(self) -> list[tuple[int, dict[str, DiagnosticStatus]]]:
        """When each message came, in nanoseconds, and its statuses by what they are about, such as `camera
        front`."""
        pairs = zip(list(self.inbox.received_nanos), list(self.inbox.messages))
        return [
            (
                at,
                {
                    status.name.removeprefix(f"{self._node}: "): status
                    for status in message.status
                    if status.hardware_id == self._node
                },
            )
            for at, message in pairs
            if self.is_own(message)
        ]

    def last(self) -> dict[str, DiagnosticStatus]:
        """The newest statuses, or none."""
        messages = self.messages()
        return messages[-1][1] if messages else {}

    def says(self, what: str, level: int, *texts: str):
        """The status of `what` when it has this level and all texts are in its message."""
        return fits(self.last().get(what), level, texts)

    def said(self, what: str, level: int, *texts: str):
        """The same of any message so far: some troubles are told for a few seconds only."""
        found = (fits(statuses.get(what), level, texts) for _, statuses in self.messages())
        return next((status for status in found if status), None)


def fits(status: DiagnosticStatus | None, level: int, texts: tuple[str, ...]) -> DiagnosticStatus | None:
    return (
        status
        if status and status.level[0] == level and all(text in status.message for text in texts)
        else None
    )


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def accounted(status: DiagnosticStatus) -> bool:
    """Whether the books of a camera's status add up."""
    n = {key: int(value) for key, value in values(status).items() if value.isdigit()}
    return n["received"] == n["published"] + n["displaced"] + n["refused"] + n["unwanted"] + n["in flight"]
