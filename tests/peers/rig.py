"""One node, the camera that feeds it and inboxes for what it sends."""

import time

import images
import numpy as np
from node_process import Node
from peer import Inbox, Peer
from pixio_node.msg import Embedding, PatchFeatures
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from waiting import PATIENCE_SECS, repeat, until

OUTPUTS = {
    "features": PatchFeatures,
    "features/reduced": Image,
    "features/pca": Image,
    "features/pca/compressed": CompressedImage,
    "features/camera_info": CameraInfo,
    "embedding": Embedding,
    "depth/image": Image,
    "depth/image/compressedDepth": CompressedImage,
    "depth/camera_info": CameraInfo,
    "depth/color/compressed": CompressedImage,
    "points": PointCloud2,
    "similarity": Image,
    "segmentation/image": Image,
    "segmentation/image/compressed": CompressedImage,
    "segmentation/confidence": Image,
    "segmentation/camera_info": CameraInfo,
    "segmentation/overlay/compressed": CompressedImage,
}
# Every topic and service of a node with one camera, in the node's own name.
OWN_NAMES = (
    *OUTPUTS,
    "segmentation/label_info",
    "query",
    "pipeline_latency_ms",
    "processing_time_ms",
    "set_enabled",
    "save_pca_basis",
    "reset_pca_basis",
    "teach",
    "save_head",
)


# The others wait for a calibration or a basis.
ANSWERED_AT_ONCE = ("features", "embedding", "depth/image", "segmentation/image")


class Rig:
    """A camera at `/camera/image_raw`, the node behind it, and the outputs named in `listen`."""

    def __init__(
        self,
        peer: Peer,
        listen=("features",),
        transport: str = "raw",
        camera: str = "/camera/image_raw",
        reliable_inboxes: bool = False,
        options=(),
        extra_remaps=(),
        **node_options,
    ):
        self.peer = peer
        self._reliable = reliable_inboxes
        self._compressed = transport == "compressed"
        self.camera = (
            peer.publisher(CompressedImage, f"{camera}/compressed")
            if self._compressed
            else peer.publisher(Image, camera)
        )
        self.camera_info = peer.publisher(CameraInfo, f"{camera.rsplit('/', 1)[0]}/camera_info")
        self.node = Node(
            options=(*options, "--image-transport", transport),
            remaps=(f"image:={camera}", *extra_remaps),
            **node_options,
        )
        self.inboxes: dict[str, Inbox] = {name: self.listen(name) for name in listen}
        try:
            self.node.start()
            self.wait_until_matched()
        except BaseException:
            self.close()
            raise

    def close(self):
        if hasattr(self.node, "process"):
            if self.node.alive():
                self.node.stop()
            self.node.__exit__()
        for inbox in self.inboxes.values():
            self.peer.drop(inbox)
        for publisher in (self.camera, self.camera_info):
            self.peer.node.destroy_publisher(publisher)
        # Let go, so that closing twice is harmless.
        self.inboxes = {}

    def listen(self, output: str) -> Inbox:
        return self.peer.inbox(OUTPUTS[output], f"{self.node.name}/{output}", reliable=self._reliable)

    def wait_until_matched(self):
        """Until frames arrive and, when somebody listens, answers come back. What this has cost is in `base`.

        Each side finds the other in its own time, and only the node's counts and answers show when it has:
        endpoints of a node that has gone may still be in the graph.
        """
        until(
            lambda: all(inbox.matched() for inbox in self.inboxes.values()),
            "the node's publishers",
            log=self.node.tail,
        )
        listened = [inbox for name, inbox in self.inboxes.items() if name in ANSWERED_AT_ONCE]
        start = self.counts()["received"]
        repeat(
            self._probe,
            lambda: all(map(len, listened)) and self.counts()["received"] > start,
            "an answer to the first frames",
            every_secs=0.1,
            log=self.node.tail,
        )
        self.base = self.settled()
        for inbox in self.inboxes.values():
            inbox.clear()

    def _probe(self):
        """One frame that the estimate of the principal components leaves out because it is even."""
        grey = np.full((24, 32, 3), 128, np.uint8)
        self.send(images.file_bytes(grey) if self._compressed else grey, frame_id="probe")

    def counts(self) -> dict:
        """The node's books as of its last report, a fifth of a second old at most; zeros before the first."""
        return in_books(self.node.stats()[-1:])

    def settled(self) -> dict:
        """The node's books once nothing is under way: two reports from now on agree, and no frame is in
        flight."""
        n_before = len(self.node.stats())

        def agreed() -> dict | None:
            last = self.node.stats()[n_before:][-2:]
            before, now = in_books(last[:1]), in_books(last[1:])
            return now if len(last) == 2 and before == now and not now["in_flight"] else None

        return until(agreed, "books without a frame in flight", log=self.node.tail)

    def send(self, image, **fields):
        """Publishes one image, stamped now: an image file or an array. Returns the stamp."""
        stamp = self.peer.stamp()
        if isinstance(image, bytes):
            self.camera.publish(images.compressed(image, stamp, **fields))
        else:
            self.camera.publish(images.image(image, stamp, **fields))
        return stamp

    def answers(
        self, image, *outputs: str, camera_info: CameraInfo | None = None, every_secs: float = 1, **fields
    ) -> dict:
        """Shows an image until all `outputs`, or all that are listened to, have answered one of its frames:
        by output.

        It is shown again and again because both ways are best effort; `camera_info` goes before each frame.
        """
        stamps, outputs = [], outputs or tuple(self.inboxes)

        def show():
            if camera_info:
                self.camera_info.publish(camera_info)
                # Not needed, but it spares most frames of coming before their calibration.
                time.sleep(0.05)
            stamps.append(self.send(image, **fields))

        def answered() -> dict | None:
            for stamp in stamps:
                found = {output: self.inboxes[output].find(stamp) for output in outputs}
                if all(message is not None for message in found.values()):
                    return found
            return None

        return repeat(
            show,
            answered,
            f"{' and '.join(outputs)} for an image",
            every_secs=every_secs,
            log=self.node.tail,
        )

    def ask(self, image, output: str = "features", **fields):
        """Shows one image and returns the node's answer to it."""
        return self.answers(image, output, **fields)[output]

    def feed(
        self,
        image,
        condition,
        what: str,
        *,
        every_secs: float = 0.05,
        patience_secs: float = PATIENCE_SECS,
        **fields,
    ):
        """Shows an image again and again until `condition()` is truthy, and returns that."""
        return repeat(
            lambda: self.send(image, **fields),
            condition,
            what,
            every_secs=every_secs,
            patience_secs=patience_secs,
            log=self.node.tail,
        )


def in_books(periods: list[dict]) -> dict:
    """The books of a report with what is in flight; zeros when there is none."""
    fates = ("published", "displaced", "refused", "unwanted")
    counts = periods[0]["counts"] if periods else dict.fromkeys(("received", *fates), 0)
    return counts | {"in_flight": counts["received"] - sum(counts[fate] for fate in fates)}
