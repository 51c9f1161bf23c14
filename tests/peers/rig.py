"""One node, the camera that feeds it and inboxes for what it sends."""

import time

import numpy as np
import pictures
from node_process import Node
from peer import Inbox, Peer, until
from pixio_node.msg import Embedding, PatchFeatures
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

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


# The others wait for a calibration or a basis.
ANSWERED_AT_ONCE = ("features", "embedding", "depth/image", "segmentation/image")


class Rig:
    """A camera at `/camera/image_raw`, the node behind it, and the outputs named in `listen`."""

    def __init__(self, peer: Peer, listen=("features",), transport: str = "raw", camera: str = "/camera/image_raw",
                 reliable_inboxes: bool = False, options=(), extra_remaps=(), **node_options):
        self.peer = peer
        self._reliable = reliable_inboxes
        self._compressed = transport == "compressed"
        self.camera = (peer.publisher(CompressedImage, f"{camera}/compressed") if self._compressed
                       else peer.publisher(Image, camera))
        self.camera_info = peer.publisher(CameraInfo, f"{camera.rsplit('/', 1)[0]}/camera_info")
        self.node = Node(options=(*options, "--image-transport", transport),
                         remaps=(f"image:={camera}", *extra_remaps), **node_options)
        self.inboxes: dict[str, Inbox] = {name: self.listen(name) for name in listen}
        # Endpoints of nodes that have gone may still be in the graph for a while.
        self._n_before = self.camera.get_subscription_count()
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

        Each side finds the other in its own time, up to a second apart, and only the node's counts show when it has.
        """
        until(lambda: self.camera.get_subscription_count() > self._n_before, 10, "the node's subscription")
        until(lambda: all(inbox.matched() for inbox in self.inboxes.values()), 10, "the node's publishers")
        listened = [inbox for name, inbox in self.inboxes.items() if name in ANSWERED_AT_ONCE]
        start = self.counts()["received"]
        until(lambda: self._probe() and self.counts()["received"] > start and all(map(len, listened)), 15,
              f"an answer to the first frames\n{self.node.tail()}")
        time.sleep(0.5)
        self.base = self.counts()
        for inbox in self.inboxes.values():
            inbox.clear()

    def _probe(self) -> bool:
        """One frame that the estimate of the principal components leaves out because it is even."""
        grey = np.full((24, 32, 3), 128, np.uint8)
        self.send(pictures.file_bytes(grey) if self._compressed else grey, frame_id="probe")
        time.sleep(0.1)
        return True

    def counts(self) -> dict:
        """The node's books as of its last report, a fifth of a second old at most; zeros before the first."""
        periods = self.node.stats()
        return periods[-1]["counts"] if periods else dict.fromkeys(("received", "published", "unwanted"), 0)

    def send(self, picture, **fields):
        """Publishes one picture, stamped now: a picture file or an array. Returns the stamp."""
        stamp = self.peer.stamp()
        if isinstance(picture, bytes):
            self.camera.publish(pictures.compressed(picture, stamp, **fields))
        else:
            self.camera.publish(pictures.image(picture, stamp, **fields))
        return stamp

    def ask(self, picture, output: str = "features", timeout_secs: float = 10, **fields):
        """Publishes one picture and returns the node's answer to it."""
        stamp = self.send(picture, **fields)
        answer = self.inboxes[output].answer(stamp, timeout_secs)
        assert answer is not None, f"no {output} for the picture\n{self.node.tail()}"
        return answer
