"""A peer that knows only the installed message types: `installed_peer.py ask NODE`, `publish` or `read`.

`ask` shows images to a node and prints what it answers; `publish` sends messages that `read` prints. As
JSON.
"""

import json
import sys

import numpy as np
import pixio_node
from peer import Peer
from pixio_node.msg import Embedding, PatchFeatures
from waiting import repeat, until

TYPES = {"features": PatchFeatures, "embedding": Embedding}


def plain(message) -> dict:
    """A message as JSON can hold it, without its header."""
    fields = {
        name: getattr(message, name) for name in message.get_fields_and_field_types() if name != "header"
    }
    return {
        name: np.asarray(value).tolist()
        if hasattr(value, "__len__") and not isinstance(value, str)
        else value
        for name, value in fields.items()
    }


def ask(peer: Peer, node: str) -> dict:
    import images
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import Image
    from vision_msgs.msg import LabelInfo

    inboxes = {name: peer.inbox(kind, f"{node}/{name}") for name, kind in TYPES.items()}
    labels = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer.node.create_subscription(LabelInfo, f"{node}/segmentation/label_info", labels.append, latched)
    camera = peer.publisher(Image, "/camera/image_raw")

    repeat(
        lambda: camera.publish(images.image(images.photograph("chelsea", 320, 240), peer.stamp())),
        lambda: all(map(len, inboxes.values())) and labels,
        "features, an embedding and names of classes",
        every_secs=0.2,
    )
    names = [entry.class_name for entry in labels[0].class_map]
    return {name: plain(inbox.messages[0]) for name, inbox in inboxes.items()} | {"labels": names}


def publish(peer: Peer) -> dict:
    features = PatchFeatures(
        model="m",
        revision="r",
        layer=3,
        normalized=True,
        image_height=32,
        image_width=48,
        grid_height=2,
        grid_width=3,
        channels=4,
        image_from_grid=[16.0, 0.0, 7.5, 0.0, 16.0, 7.5],
        dtype="float32",
        data=np.arange(24, dtype="<f4").tobytes(),
    )
    embedding = Embedding(
        model="m",
        revision="r",
        n_cls_tokens=2,
        channels=3,
        pooled=[0.5, 1.5, -2.0],
        class_tokens=[float(i) for i in range(6)],
    )
    sent = {"features": features, "embedding": embedding}
    publishers = {name: peer.publisher(TYPES[name], f"/sent/{name}") for name in sent}
    until(lambda: all(publisher.get_subscription_count() for publisher in publishers.values()), "the reader")

    def send():
        for name, publisher in publishers.items():
            publisher.publish(sent[name])

    repeat(
        send,
        lambda: not any(publisher.get_subscription_count() for publisher in publishers.values()),
        "the reader's end",
        every_secs=0.2,
    )
    return {name: plain(message) for name, message in sent.items()}


def read(peer: Peer) -> dict:
    inboxes = {name: peer.inbox(kind, f"/sent/{name}", reliable=True) for name, kind in TYPES.items()}
    until(lambda: all(map(len, inboxes.values())), "both messages")
    return {name: plain(inbox.messages[0]) for name, inbox in inboxes.items()}


def main():
    role, *arguments = sys.argv[1:]
    peer = Peer(role)
    try:
        found = {"ask": ask, "publish": publish, "read": read}[role](peer, *arguments)
    finally:
        peer.close()
    print(json.dumps(found | {"package": pixio_node.__file__}))


if __name__ == "__main__":
    main()
